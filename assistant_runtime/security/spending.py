"""The keys' limits of tokens: in a minute, and the budgets of a day and a month.

The rule: a model is asked while tokens are left. An estimate of what it will take is reserved before, or all that is
left; afterwards the reservation becomes what the provider counted. So a limit is exceeded at most by what the asks in
flight take beyond their estimates. Counts of a day and a month outlive Redis: where they are missing, because Redis
evicted them or is down, counting goes on from the usage ledger, or from nothing where there is no database.
"""

import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from assistant_runtime.errors import ApiError, StoreUnavailableError
from assistant_runtime.security.principal import Principal
from assistant_runtime.stores.budgets import (
    NO_LIMIT,
    NOTHING,
    BudgetStore,
    Counted,
    Period,
    Reserved,
    TokenLimits,
    UncountedError,
    seconds_left,
)

History = Callable[[str, datetime], Awaitable[Counted]]
"""Gives what a key has spent in the day and month of a time; raises StoreUnavailableError."""

BYTES_PER_TOKEN = 4
"""Of English text, by most tokenisers; JSON around it makes the estimate a little too high."""

EXPECTED_ANSWER = 1024
"""Tokens; longer than most answers, so that the estimate is rather too high."""


@dataclass(frozen=True, slots=True)
class Reservation:
    """Tokens that are held for a request."""

    key_id: str
    period: Period
    second: int
    """The second that the minute's limit counts them in."""
    limits: TokenLimits
    amount: int
    store: BudgetStore
    """Where they are held, and will be settled."""
    headers: Mapping[str, str]
    """How the key's budget stands, in the names that OpenAI's clients know."""


class Budgets:
    """The budgets of every key.

    Parameters
    ----------
    store
        Counts for all replicas.
    fallback
        Counts for this process while `store` is down.
    history
        Gives what a key has spent by the usage ledger; None: there is no database.
    daily, monthly, per_minute
        Tokens of a key that has no limit of its own; 0: without limit.
    clock
        The time.
    """

    def __init__(
        self,
        store: BudgetStore,
        fallback: BudgetStore,
        history: History | None = None,
        *,
        daily: int,
        monthly: int,
        per_minute: int = 0,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._store = store
        self._fallback = fallback
        self._history = history
        self._daily = daily or NO_LIMIT
        self._monthly = monthly or NO_LIMIT
        self._per_minute = per_minute or NO_LIMIT
        self._clock = clock

    def limits(self, principal: Principal) -> TokenLimits | None:
        """Give a key's limits; None: it has none."""
        daily = self._daily if principal.budget_daily is None else principal.budget_daily
        monthly = self._monthly if principal.budget_monthly is None else principal.budget_monthly
        minute = self._per_minute if principal.tokens_per_minute is None else principal.tokens_per_minute
        if daily == monthly == minute == NO_LIMIT:
            return None
        return TokenLimits(minute, daily, monthly)

    async def reserve(self, principal: Principal, amount: int) -> Reservation:
        """Hold tokens of a key that has a limit.

        Raises
        ------
        ApiError
            429, with `Retry-After` in seconds: nothing is left.
        """
        limits = self.limits(principal) or TokenLimits()
        now = self._clock()
        period, store = Period.of(now), self._store
        try:
            got = await self._taken(store, principal.key_id, now, amount, limits)
        except StoreUnavailableError:
            store = self._fallback
            got = await self._taken(store, principal.key_id, now, amount, limits)
        if not got.amount:
            raise _exceeded(now, got, limits)
        headers = _headers(now, got, limits)
        return Reservation(principal.key_id, period, got.second, limits, got.amount, store, headers)

    async def _taken(self, store: BudgetStore, key: str, now: datetime, amount: int, limits: TokenLimits) -> Reserved:
        """Take tokens, beginning with what the ledger knows where the store counts nothing."""
        period = Period.of(now)
        if self._history is None:
            return await store.reserve(key, period, amount, limits)
        try:
            return await store.reserve(key, period, amount, limits, None)
        except UncountedError:
            known = await self._known(self._history, key, now)
        return await store.reserve(key, period, amount, limits, known)

    @staticmethod
    async def _known(history: History, key: str, now: datetime) -> Counted:
        try:
            return await history(key, now)
        except StoreUnavailableError:
            # Rather too little counted than nobody served.
            return NOTHING

    async def settle(self, reservation: Reservation, difference: int) -> None:
        """Correct what a reservation counted by so many tokens; raises StoreUnavailableError."""
        if difference:
            held = reservation
            await held.store.settle(held.key_id, held.period, held.second, difference, held.limits)


def _exceeded(now: datetime, got: Reserved, limits: TokenLimits) -> ApiError:
    in_month = limits.monthly != NO_LIMIT and got.month >= limits.monthly
    in_day = limits.daily != NO_LIMIT and got.day >= limits.daily
    code = "token_budget_exceeded"
    if in_month or in_day:
        name, limit = ("month", limits.monthly) if in_month else ("day", limits.daily)
        wait = seconds_left(now, monthly=in_month)
        told = f"The key's budget of {limit} tokens for this {name} is spent. The next {name} begins in {wait} s (UTC)."
    else:
        code, wait = "rate_limit_exceeded", max(1, math.ceil(got.wait))
        told = f"The key's limit of {limits.minute} tokens per minute (TPM) is reached. Try again in {wait} s."
    headers = _headers(now, got, limits) | {"retry-after": str(wait)}
    return ApiError(429, told, error_type="rate_limit_error", code=code, headers=headers)


def _headers(now: datetime, got: Reserved, limits: TokenLimits) -> dict[str, str]:
    """Tell how the limit stands that has the fewest tokens left, with those that are held counted as spent."""
    every = (
        (limits.minute - got.minute, limits.minute, f"{got.reset:.3f}s"),
        (limits.daily - got.day, limits.daily, f"{seconds_left(now, monthly=False)}s"),
        (limits.monthly - got.month, limits.monthly, f"{seconds_left(now, monthly=True)}s"),
    )
    left, limit, reset = min(each for each in every if each[1] != NO_LIMIT)
    return {
        "x-ratelimit-limit-tokens": str(limit),
        "x-ratelimit-remaining-tokens": str(max(0, left)),
        "x-ratelimit-reset-tokens": reset,
    }
