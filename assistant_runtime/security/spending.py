"""What a request spends: counted for its key, held against the key's budget, and written to the usage ledger.

The rule of budgets: a request is admitted while tokens are left, and reserves an estimate of what it will take, or all
that is left. When it is answered, the reservation becomes what the provider counted. A provider that tells no usage
is counted as estimated. So a budget is exceeded at most by what the requests in flight take beyond
their estimates. While Redis is down, each process counts by itself from an empty start.
"""

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime

from assistant_runtime.errors import ApiError, StoreUnavailableError
from assistant_runtime.providers.base import Usage
from assistant_runtime.security.principal import Principal
from assistant_runtime.stores.budgets import NO_LIMIT, BudgetStore, Period, Reserved, seconds_left

BYTES_PER_TOKEN = 4
"""Of English text, by most tokenisers; JSON around it makes the estimate a little too high."""

EXPECTED_ANSWER = 1024
"""Tokens; longer than most answers, so that the estimate is rather too high."""

SPENDING_PATHS = ("/v1/chat/", "/v1/responses", "/v1/embeddings", "/v1/rerank", "/v1/writers", "/v1/agents")
"""Where a POST asks a provider."""


@dataclass(slots=True)
class Spent:
    """What one request has spent so far, model by model."""

    models: list[tuple[str, int, int]] = field(default_factory=list)
    """Model, tokens of input and of output."""
    untold: bool = False
    """Whether a provider answered without telling its tokens."""

    @property
    def tokens(self) -> int:
        """All of them."""
        return sum(given + taken for _, given, taken in self.models)


_SPENT: ContextVar[Spent | None] = ContextVar("spent", default=None)


def spend(model: str, usage: Usage | None) -> None:
    """Note what an answer of a provider took, for the request that is being answered."""
    spent = _SPENT.get()
    if spent is None:
        return
    spent.untold = spent.untold or usage is None
    spent.models.append((model, usage.input_tokens if usage else 0, usage.output_tokens if usage else 0))


def begin_spending() -> Spent:
    """Begin to note what this task's request takes."""
    spent = Spent()
    _SPENT.set(spent)
    return spent


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

    async def reserve(self, principal: Principal, body_bytes: int) -> Reservation | None:
        """Hold tokens for a request; None: the key has no budget.

        Raises
        ------
        ApiError
            429, with `Retry-After` in seconds: nothing is left.
        """
        daily = self._daily if principal.budget_daily is None else principal.budget_daily
        monthly = self._monthly if principal.budget_monthly is None else principal.budget_monthly
        if daily == NO_LIMIT and monthly == NO_LIMIT:
            return None
        now = self._clock()
        period, amount = Period.of(now), body_bytes // BYTES_PER_TOKEN + EXPECTED_ANSWER
        store = self._store
        try:
            got = await store.reserve(principal.key_id, period, amount, daily, monthly)
        except StoreUnavailableError:
            store = self._fallback
            got = await store.reserve(principal.key_id, period, amount, daily, monthly)
        if not got.amount:
            raise _exceeded(now, got, daily, monthly)
        return Reservation(principal.key_id, period, got.amount, store, _headers(now, got, daily, monthly))

    async def settle(self, reservation: Reservation, spent: Spent) -> None:
        """Count what a request took in place of what was held for it; raises StoreUnavailableError."""
        taken = max(reservation.amount, spent.tokens) if spent.untold else spent.tokens
        if taken != reservation.amount:
            await reservation.store.settle(reservation.key_id, reservation.period, taken - reservation.amount)


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
