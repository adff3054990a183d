"""The keys' budgets of tokens.

The rule: a model is asked while tokens are left. An estimate of what it will take is reserved before, or all that is
left; afterwards the reservation becomes what the provider counted. So a budget is exceeded at most by what the asks in
flight take beyond their estimates. While Redis is down, each process counts by itself from an empty start.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from assistant_runtime.errors import ApiError, StoreUnavailableError
from assistant_runtime.security.principal import Principal
from assistant_runtime.stores.budgets import NO_LIMIT, BudgetStore, Period, Reserved, seconds_left

BYTES_PER_TOKEN = 4
"""Of English text, by most tokenisers; JSON around it makes the estimate a little too high."""

EXPECTED_ANSWER = 1024
"""Tokens; longer than most answers, so that the estimate is rather too high."""


@dataclass(frozen=True, slots=True)
class Reservation:
    """Tokens that are held for a request."""

    key_id: str
    period: Period
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
    daily, monthly
        Tokens of a key that has no budget of its own; 0: without limit.
    clock
        The time.
    """

    def __init__(
        self,
        store: BudgetStore,
        fallback: BudgetStore,
        *,
        daily: int,
        monthly: int,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._store = store
        self._fallback = fallback
        self._daily = daily or NO_LIMIT
        self._monthly = monthly or NO_LIMIT
        self._clock = clock

    def limits(self, principal: Principal) -> tuple[int, int] | None:
        """Give a key's budgets for a day and for a month, NO_LIMIT without one; None: it has neither."""
        daily = self._daily if principal.budget_daily is None else principal.budget_daily
        monthly = self._monthly if principal.budget_monthly is None else principal.budget_monthly
        return None if daily == NO_LIMIT and monthly == NO_LIMIT else (daily, monthly)

    async def reserve(self, principal: Principal, amount: int) -> Reservation:
        """Hold tokens of a key that has a budget.

        Raises
        ------
        ApiError
            429, with `Retry-After` in seconds: nothing is left.
        """
        daily, monthly = self.limits(principal) or (NO_LIMIT, NO_LIMIT)
        now = self._clock()
        period, store = Period.of(now), self._store
        try:
            got = await store.reserve(principal.key_id, period, amount, daily, monthly)
        except StoreUnavailableError:
            store = self._fallback
            got = await store.reserve(principal.key_id, period, amount, daily, monthly)
        if not got.amount:
            raise _exceeded(now, got, daily, monthly)
        return Reservation(principal.key_id, period, got.amount, store, _headers(now, got, daily, monthly))

    async def settle(self, reservation: Reservation, difference: int) -> None:
        """Correct what a reservation counted by so many tokens; raises StoreUnavailableError."""
        if difference:
            await reservation.store.settle(reservation.key_id, reservation.period, difference)


def _exceeded(now: datetime, got: Reserved, daily: int, monthly: int) -> ApiError:
    in_month = monthly != NO_LIMIT and got.month >= monthly
    name, limit = ("month", monthly) if in_month else ("day", daily)
    wait = seconds_left(now, monthly=in_month)
    return ApiError(
        429,
        f"The key's budget of {limit} tokens for this {name} is spent. The next {name} begins in {wait} s (UTC).",
        error_type="rate_limit_error",
        code="token_budget_exceeded",
        headers=_headers(now, got, daily, monthly) | {"retry-after": str(wait)},
    )


def _headers(now: datetime, got: Reserved, daily: int, monthly: int) -> dict[str, str]:
    """Tell how the budget stands that has the fewest tokens left, with those that are held counted as spent."""
    budgets = [(daily - got.day, daily, False), (monthly - got.month, monthly, True)]
    left, limit, in_month = min(budget for budget in budgets if budget[1] != NO_LIMIT)
    return {
        "x-ratelimit-limit-tokens": str(limit),
        "x-ratelimit-remaining-tokens": str(max(0, left)),
        "x-ratelimit-reset-tokens": f"{seconds_left(now, monthly=in_month)}s",
    }
