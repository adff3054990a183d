"""Tokens that each key has spent in the running day and month, in Redis for all replicas or in this process.

A reservation is one atomic step: what is left is asked and taken at once, so that two replicas never give out the same
tokens. What was reserved is corrected when the true number is known.
"""

from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from assistant_runtime.stores.redis import RedisConnection

KEEP_SECONDS = 40 * 24 * 3600
"""Longer than a month, so that no running count ends."""

MAX_KEYS = 10_000
"""Keys whose counts this process keeps at once."""

NO_LIMIT = -1

RESERVE = """
local day = tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or 0)
local month = tonumber(redis.call('HGET', KEYS[1], 'month') or 0)
local amount, daily, monthly = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local left = amount
if daily >= 0 then left = math.min(left, daily - day) end
if monthly >= 0 then left = math.min(left, monthly - month) end
if left <= 0 then return {0, day, month} end
redis.call('HINCRBY', KEYS[1], ARGV[1], string.format('%.0f', left))
redis.call('HINCRBY', KEYS[1], 'month', string.format('%.0f', left))
redis.call('EXPIRE', KEYS[1], ARGV[5])
return {left, day + left, month + left}
"""

SETTLE = """
redis.call('HINCRBY', KEYS[1], ARGV[1], ARGV[2])
redis.call('HINCRBY', KEYS[1], 'month', ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[3])
return 1
"""


@dataclass(frozen=True, slots=True)
class Period:
    """The day and the month (UTC) that a reservation counts for, also if it is settled after their end."""

    day: str
    month: str

    @classmethod
    def of(cls, now: datetime) -> "Period":
        """Give the period of a time."""
        return cls(f"{now.astimezone(UTC):%d}", f"{now.astimezone(UTC):%Y-%m}")


@dataclass(frozen=True, slots=True)
class Reserved:
    """What a reservation got."""

    amount: int
    """Tokens; 0: nothing is left."""
    day: int
    """Tokens that are spent or reserved in the day, with these."""
    month: int


class BudgetStore(Protocol):
    """Counts tokens. Every method raises StoreUnavailableError."""

    async def reserve(self, key: str, period: Period, amount: int, daily: int, monthly: int) -> Reserved:
        """Take `amount` tokens, or what is left of them; a budget of -1 is without limit."""

    async def settle(self, key: str, period: Period, difference: int) -> None:
        """Add to what is counted, or take away from it."""


class MemoryBudgets:
    """Counts in this process."""

    def __init__(self) -> None:
        self._spent: OrderedDict[tuple[str, str], dict[str, int]] = OrderedDict()

    async def reserve(self, key: str, period: Period, amount: int, daily: int, monthly: int) -> Reserved:
        """Take `amount` tokens, or what is left of them."""
        spent = self._of(key, period)
        day, month = spent.get(period.day, 0), spent.get("month", 0)
        left = min([amount, *(limit - used for limit, used in ((daily, day), (monthly, month)) if limit >= 0)])
        if left <= 0:
            return Reserved(0, day, month)
        await self.settle(key, period, left)
        return Reserved(left, day + left, month + left)

    async def settle(self, key: str, period: Period, difference: int) -> None:
        """Add to what is counted, or take away from it."""
        spent = self._of(key, period)
        for name in (period.day, "month"):
            spent[name] = spent.get(name, 0) + difference

    def _of(self, key: str, period: Period) -> dict[str, int]:
        spent = self._spent.setdefault((key, period.month), {})
        self._spent.move_to_end((key, period.month))
        if len(self._spent) > MAX_KEYS:
            self._spent.popitem(last=False)
        return spent


class RedisBudgets:
    """Counts that all replicas share, exactly; one Redis key for each API key and month.

    Parameters
    ----------
    connection
        The Redis.
    """

    def __init__(self, connection: "RedisConnection") -> None:
        self._connection = connection
        self._reserve = connection.client.register_script(RESERVE)
        self._settle = connection.client.register_script(SETTLE)

    async def reserve(self, key: str, period: Period, amount: int, daily: int, monthly: int) -> Reserved:
        """Take `amount` tokens, or what is left of them."""
        arguments = [period.day, amount, daily, monthly, KEEP_SECONDS]
        got = await self._connection.call(lambda: self._reserve([_name(key, period)], arguments))
        return Reserved(*(int(number) for number in got))

    async def settle(self, key: str, period: Period, difference: int) -> None:
        """Add to what is counted, or take away from it."""
        arguments = [period.day, difference, KEEP_SECONDS]
        await self._connection.call(lambda: self._settle([_name(key, period)], arguments))


def _name(key: str, period: Period) -> str:
    return f"assistant:budget:{key}:{period.month}"


def seconds_left(now: datetime, *, monthly: bool) -> int:
    """Give the seconds until a new day, or a new month, begins (UTC)."""
    today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    following = (today.replace(day=1) + timedelta(days=32)).replace(day=1) if monthly else today + timedelta(days=1)
    return max(1, int((following - now).total_seconds()))
