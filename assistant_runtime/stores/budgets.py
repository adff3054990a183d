"""Tokens that each key has spent in the last minute and the running day and month, in Redis or in this process.

A reservation is one atomic step: what is left of every limit is asked and taken at once, so that two replicas never
give out the same tokens. What was reserved is corrected when the true number is known. Counts that are not there, in a
new month or because Redis evicted them, begin with what the caller knows to be spent.

The minute is a window that slides: tokens are counted by the second in which they were reserved, on Redis's own clock,
and leave when that whole second is more than a minute ago.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol, TypeVar

from assistant_runtime.errors import AssistantError
from assistant_runtime.stores import LINGER_SECONDS

if TYPE_CHECKING:
    from assistant_runtime.stores.redis import RedisConnection

KEEP_SECONDS = 40 * 24 * 3600
"""Longer than a month, so that no running count ends; and than any other key in Redis, because one that is full evicts
first what ends soonest (volatile-ttl)."""

MAX_KEYS = 10_000
"""Keys whose counts this process keeps at once."""

MINUTE = 60

MINUTE_KEPT = MINUTE + 2 + LINGER_SECONDS

NO_LIMIT = -1

K = TypeVar("K")
N = TypeVar("N")

RESERVE = """
local left, minute, daily, monthly = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local day, month = 0, 0
if daily >= 0 or monthly >= 0 then
  if redis.call('EXISTS', KEYS[1]) == 0 then
    if ARGV[7] == '' then return {-1, 0, 0, 0, 0, 0, 0} end
    redis.call('HSET', KEYS[1], ARGV[1], ARGV[7], 'month', ARGV[8])
    redis.call('EXPIRE', KEYS[1], ARGV[6])
  end
  day = tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or 0)
  month = tonumber(redis.call('HGET', KEYS[1], 'month') or 0)
  if daily >= 0 then left = math.min(left, daily - day) end
  if monthly >= 0 then left = math.min(left, monthly - month) end
end
local second, used, wait, reset = 0, 0, 0, 0
if minute >= 0 then
  local clock = redis.call('TIME')
  second = tonumber(clock[1])
  local now, counted, gone = second + clock[2] / 1000000, {}, {}
  local all = redis.call('HGETALL', KEYS[2])
  for i = 1, #all, 2 do
    local at, tokens = tonumber(all[i]), tonumber(all[i + 1])
    if at < second - 60 then
      gone[#gone + 1] = all[i]
    else
      used = used + tokens
      counted[#counted + 1] = {at, tokens}
    end
  end
  if #gone > 0 then redis.call('HDEL', KEYS[2], unpack(gone)) end
  table.sort(counted, function(one, other) return one[1] < other[1] end)
  local over = used - minute
  for _, entry in ipairs(counted) do
    if over < 0 then break end
    over = over - entry[2]
    wait = entry[1] + 61 - now
  end
  if #counted > 0 then reset = counted[#counted][1] + 61 - now end
  left = math.min(left, minute - used)
end
if left > 0 then
  local taken = string.format('%.0f', left)
  if daily >= 0 or monthly >= 0 then
    redis.call('HINCRBY', KEYS[1], ARGV[1], taken)
    redis.call('HINCRBY', KEYS[1], 'month', taken)
    redis.call('EXPIRE', KEYS[1], ARGV[6])
  end
  if minute >= 0 then
    redis.call('HINCRBY', KEYS[2], second, taken)
    redis.call('EXPIRE', KEYS[2], ARGV[9])
    reset = 61
  end
else
  left = 0
end
local ms = function(seconds) return math.ceil(seconds * 1000) end
return {left, used + left, day + left, month + left, ms(wait), ms(reset), second}
"""

SETTLE = """
if ARGV[4] == '1' and redis.call('EXISTS', KEYS[1]) == 1 then
  redis.call('HINCRBY', KEYS[1], ARGV[1], ARGV[2])
  redis.call('HINCRBY', KEYS[1], 'month', ARGV[2])
  redis.call('EXPIRE', KEYS[1], ARGV[3])
end
if redis.call('HEXISTS', KEYS[2], ARGV[5]) == 1 and redis.call('HINCRBY', KEYS[2], ARGV[5], ARGV[2]) < 0 then
  redis.call('HSET', KEYS[2], ARGV[5], 0)
end
return 1
"""


@dataclass(frozen=True, slots=True)
class TokenLimits:
    """The limits of a key; NO_LIMIT where it has none."""

    minute: int = NO_LIMIT
    daily: int = NO_LIMIT
    monthly: int = NO_LIMIT

    @property
    def any(self) -> bool:
        """Whether there is one."""
        return self.minute >= 0 or self.budgeted

    @property
    def budgeted(self) -> bool:
        """Whether day and month are counted."""
        return self.daily >= 0 or self.monthly >= 0


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
class Counted:
    """Tokens that a key has spent in the running day and month."""

    day: int = 0
    month: int = 0


NOTHING = Counted()


@dataclass(frozen=True, slots=True)
class Reserved:
    """What a reservation got; counts are tokens that are spent or reserved, with these."""

    amount: int
    """Tokens; 0: nothing is left."""
    minute: int
    day: int
    month: int
    wait: float
    """Seconds until tokens of the minute are left again; 0 where there are."""
    reset: float
    """Seconds until the minute's whole limit is there again."""
    second: int
    """The second that the minute counts these tokens in."""


class UncountedError(AssistantError):
    """A store counts nothing for a key in this month: it begins, or the count was evicted."""


class BudgetStore(Protocol):
    """Counts tokens. Every method raises StoreUnavailableError."""

    async def reserve(
        self, key: str, period: Period, amount: int, limits: TokenLimits, known: Counted | None = NOTHING
    ) -> Reserved:
        """Take `amount` tokens, or what is left of them.

        Where nothing is counted for the month, counting begins at `known`.

        Raises
        ------
        UncountedError
            Nothing is counted, and `known` is None; nothing was taken.
        """

    async def settle(self, key: str, period: Period, second: int, difference: int, limits: TokenLimits) -> None:
        """Add to what is counted, or take away from it."""


class MemoryBudgets:
    """Counts in this process.

    Parameters
    ----------
    clock
        Seconds, for the minute.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._spent: OrderedDict[tuple[str, str], dict[str, int]] = OrderedDict()
        self._seconds: OrderedDict[str, dict[int, int]] = OrderedDict()

    async def reserve(
        self, key: str, period: Period, amount: int, limits: TokenLimits, known: Counted | None = NOTHING
    ) -> Reserved:
        """Take `amount` tokens, or what is left of them."""
        if limits.budgeted and (key, period.month) not in self._spent:
            if known is None:
                raise UncountedError
            _kept(self._spent, (key, period.month)).update({period.day: known.day, "month": known.month})
        now = self._clock()
        spent, window = _kept(self._spent, (key, period.month)), self._window(key, now)
        used, day, month = sum(window.values()), spent.get(period.day, 0), spent.get("month", 0)
        pairs = ((limits.minute, used), (limits.daily, day), (limits.monthly, month))
        left = max(0, min([amount, *(limit - taken for limit, taken in pairs if limit >= 0)]))
        wait = _wait(window, used - limits.minute, now) if limits.minute >= 0 else 0.0
        if left:
            window[int(now)] = window.get(int(now), 0) + left
            await self.settle(key, period, -1, left, limits)
        reset = max(window) + MINUTE + 1 - now if window else 0.0
        return Reserved(left, used + left, day + left, month + left, wait, reset, int(now))

    async def settle(self, key: str, period: Period, second: int, difference: int, limits: TokenLimits) -> None:
        """Add to what is counted, or take away from it."""
        window = _kept(self._seconds, key)
        if second in window:
            window[second] = max(0, window[second] + difference)
        if limits.budgeted and (key, period.month) in self._spent:
            spent = _kept(self._spent, (key, period.month))
            for name in (period.day, "month"):
                spent[name] = spent.get(name, 0) + difference

    def _window(self, key: str, now: float) -> dict[int, int]:
        """Give the tokens of the last minute by second, in order."""
        window = _kept(self._seconds, key)
        for second in [each for each in window if each < int(now) - MINUTE]:
            del window[second]
        return window


def _wait(window: dict[int, int], over: int, now: float) -> float:
    """Give the seconds until fewer tokens are counted than the limit; `over`: how many more there are now."""
    wait = 0.0
    for second, tokens in window.items():
        if over < 0:
            break
        over -= tokens
        wait = second + MINUTE + 1 - now
    return wait


def _kept(counts: OrderedDict[K, dict[N, int]], key: K) -> dict[N, int]:
    """Give a key's counts, and forget those that were used longest ago where there are too many."""
    found = counts.setdefault(key, {})
    counts.move_to_end(key)
    if len(counts) > MAX_KEYS:
        counts.popitem(last=False)
    return found


class RedisBudgets:
    """Counts that all replicas share, exactly: for each API key one Redis key a month, and one for the last minute.

    Parameters
    ----------
    connection
        The Redis.
    """

    def __init__(self, connection: "RedisConnection") -> None:
        from assistant_runtime.stores.redis import Script  # noqa: PLC0415 - imported only where it is used

        self._connection = connection
        self._reserve = Script(RESERVE)
        self._settle = Script(SETTLE)

    async def reserve(
        self, key: str, period: Period, amount: int, limits: TokenLimits, known: Counted | None = NOTHING
    ) -> Reserved:
        """Take `amount` tokens, or what is left of them."""
        wanted = (period.day, amount, limits.minute, limits.daily, limits.monthly)
        begin = ("", "") if known is None else (known.day, known.month)
        arguments = (*wanted, KEEP_SECONDS, *begin, MINUTE_KEPT)
        got = await self._connection.evaluate(self._reserve, _names(key, period), *arguments)
        if got[0] < 0:
            raise UncountedError
        amount, minute, day, month, wait, reset, second = (int(number) for number in got)
        return Reserved(amount, minute, day, month, wait / 1000, reset / 1000, second)

    async def settle(self, key: str, period: Period, second: int, difference: int, limits: TokenLimits) -> None:
        """Add to what is counted, or take away from it."""
        arguments = (period.day, difference, KEEP_SECONDS, int(limits.budgeted), second)
        await self._connection.evaluate(self._settle, _names(key, period), *arguments)


def _names(key: str, period: Period) -> tuple[str, str]:
    """Give the names in Redis; what is in braces leads both to one server of a Cluster."""
    return f"assistant:budget:{{{key}}}:{period.month}", f"assistant:tokens:{{{key}}}"


def seconds_left(now: datetime, *, monthly: bool) -> int:
    """Give the seconds until a new day, or a new month, begins (UTC)."""
    today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    following = (today.replace(day=1) + timedelta(days=32)).replace(day=1) if monthly else today + timedelta(days=1)
    return max(1, int((following - now).total_seconds()))
