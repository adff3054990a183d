"""Which providers are asked for a model, in which order, and what to do when one fails.

Names: none or `default` is each provider's own default model; `<provider>/<model>` is that provider's model and
nobody else's, whatever its list says; any other name goes to the providers that list it. A model that a client named is
never swapped for another: fallback goes only to providers that have that very model. A name that no provider can have
is refused here, because many servers answer to any name with whatever model they run.

Neighbours in the order that have a weight are of equal preference: chance decides who of them is asked first. Falling
back costs no wait; only when everyone failed are those asked again that may do better.
"""

import asyncio
import math
import random
import re
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Protocol, TypeVar

from assistant_runtime.errors import ApiError, ModelNotFoundError, ProviderError, not_allowed
from assistant_runtime.providers.base import Provider
from assistant_runtime.providers.breaker import Breaker

DEFAULT_MODEL = "default"

FIRST_PAUSE_SECONDS = 0.25
"""Before the first retry, at most; doubled before each further one."""

RETRY_BUDGET_SECONDS = 10.0
"""All pauses of one request together: a client waits for its first token, and one that is told to come back can."""

RETRIED = frozenset({"provider_unreachable", "provider_disconnected", "provider_error", "provider_rate_limited"})
"""What may be over in a moment. A timeout has used up the client's patience, and nonsense stays nonsense."""

SECONDS = re.compile(r"[0-9]+(\.[0-9]+)?")
"""Of Retry-After, which is whole by HTTP and a fraction by some APIs."""

NEVER_OPEN = Breaker(0, 0.0)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A provider, and the model to ask it for."""

    provider: Provider
    model: str
    pool: str = ""
    """The providers of equal preference, by name and address: their answers are each other's."""
    breaker: Breaker = NEVER_OPEN


class ModelLists(Protocol):
    """Knows which models a provider has."""

    def has_model(self, provider: str, model: str) -> bool:
        """Whether the provider is known to have the model."""

    def may_have_model(self, provider: str, model: str) -> bool:
        """Whether the provider may have the model, for all that is known."""

    def refresh(self) -> None:
        """Ask for the lists anew: a model may just have come."""


class Routing:
    """Turn a model's name into candidates.

    Parameters
    ----------
    providers
        The preferred one first.
    models
        Who has which model.
    fallback
        Whether any but the first candidate is asked.
    breaker_failures
        Failures in a row after which a provider is left alone; 0: never.
    breaker_seconds
        For how long, at first.
    configured
        Models that the settings name: providers are asked for them, also if no list has them.
    """

    def __init__(
        self,
        providers: Sequence[Provider],
        models: ModelLists,
        *,
        fallback: bool,
        breaker_failures: int = 0,
        breaker_seconds: float = 0.0,
        configured: Iterable[str] = (),
    ) -> None:
        self._providers = tuple(providers)
        self._breakers = {each.name: Breaker(breaker_failures, breaker_seconds) for each in providers}
        self._pools = _pools(providers)
        self._weighted = any(provider.weight for provider in providers)
        self._by_name = {provider.name: provider for provider in providers}
        self._models = models
        self._fallback = fallback
        self._configured = frozenset(configured)

    def candidates(
        self, model: str | None, *, by_lists: bool = True, allowed: Collection[str] | None = None
    ) -> tuple[Candidate, ...]:
        """Give who is asked, in order.

        Parameters
        ----------
        model
            As the client named it.
        by_lists
            Whether a model that is in nobody's list is refused; otherwise its provider decides.
        allowed
            Names of the models that may be asked; None: all.

        Raises
        ------
        ApiError
            503 without any provider; 404 for a model that nobody has; 403 for one that is not allowed.
        """
        if not self._providers:
            raise ApiError(
                503,
                "No provider is configured. Set OPENAI_COMPATIBLE_BASE_URL and OPENAI_COMPATIBLE_DEFAULT_MODEL.",
                error_type="upstream_error",
                code="no_provider",
            )
        everyone = self._all_candidates(model or DEFAULT_MODEL, by_lists=by_lists)
        if allowed is not None:
            everyone = _allowed(everyone, model or DEFAULT_MODEL, allowed)
        if self._weighted:
            everyone = _spread(everyone)
        return tuple(everyone if self._fallback else everyone[:1])

    def is_known(self, candidate: Candidate) -> bool:
        """Whether the model is the provider's default or in its list, and so safe as a metric's label."""
        name, model = candidate.provider.name, candidate.model
        return model == candidate.provider.default_model or self._models.has_model(name, model)

    def _all_candidates(self, model: str, *, by_lists: bool) -> list[Candidate]:
        if model == DEFAULT_MODEL:
            return [self._candidate(provider, provider.default_model) for provider in self._providers]
        prefix, _, name = model.partition("/")
        if name and prefix in self._by_name:
            provider = self._by_name[prefix]
            return [self._candidate(provider, provider.default_model if name == DEFAULT_MODEL else name)]
        everyone = [self._candidate(provider, model) for provider in self._providers]
        return [candidate for candidate in everyone if self.is_known(candidate)] or [
            self._unlisted(everyone, by_lists=by_lists and model not in self._configured)
        ]

    def _unlisted(self, everyone: Sequence[Candidate], *, by_lists: bool) -> Candidate:
        """Give the first candidate whose list, or the lack of one, leaves it open whether it has the model."""
        model = everyone[0].model
        for candidate in everyone:
            if not by_lists or self._models.may_have_model(candidate.provider.name, model):
                return candidate
        self._models.refresh()
        raise ModelNotFoundError(model)

    def _candidate(self, provider: Provider, model: str) -> Candidate:
        return Candidate(provider, model, self._pools[provider.name], self._breakers[provider.name])


def _allowed(candidates: Sequence[Candidate], model: str, allowed: Collection[str]) -> list[Candidate]:
    """Keep the candidates that are allowed, by the name that the client gave or by their own."""
    if model in allowed:
        return list(candidates)
    found = [each for each in candidates if allows(allowed, each.model, each.provider.name)]
    if not found:
        raise not_allowed(model)
    return found


def allows(allowed: Collection[str], model: str, provider: str) -> bool:
    """Whether a provider's model is among those allowed, with the provider's name before it or without."""
    return model in allowed or f"{provider}/{model}" in allowed


def _pools(providers: Sequence[Provider]) -> dict[str, str]:
    """Name each provider's pool: neighbours with a weight share one, everyone else is alone."""
    pools: dict[str, str] = {}
    for shared, group in groupby(providers, key=lambda provider: provider.weight > 0):
        members = list(group)
        together = "|".join(f"{each.name} {each.base_url}" for each in members)
        pools |= {each.name: together if shared else f"{each.name} {each.base_url}" for each in members}
    return pools


def _spread(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Order each pool by chance, so that everyone comes first as often as its weight says."""
    ordered: list[Candidate] = []
    for _, group in groupby(candidates, key=lambda candidate: candidate.pool):
        members = list(group)
        if len(members) > 1:
            # Efraimidis and Spirakis: sampling without replacement by weighted keys.
            members.sort(key=lambda it: math.log(1.0 - random.random()) / it.provider.weight, reverse=True)  # noqa: S311
        ordered += members
    return ordered


async def first_answer(
    candidates: Sequence[Candidate], ask: Callable[[Candidate], Awaitable[T]]
) -> tuple[Candidate, T]:
    """Ask one candidate after the other until one answers, and those again that may do better after a pause.

    Raises
    ------
    ProviderError
        Nobody answered: the first candidate's error, its text followed by the others'. A request that is at fault
        itself ends the search at once.
    """
    deadline = time.monotonic() + RETRY_BUDGET_SECONDS
    attempt = 0
    while True:
        failures: list[tuple[Candidate, ProviderError]] = []
        for candidate in candidates:
            try:
                return candidate, await _guarded(candidate, ask, again=attempt > 0)
            except ProviderError as error:
                failures.append((candidate, error))
                if not error.fallback:
                    raise
        left = deadline - time.monotonic()
        again = [(each, error) for each, error in failures if _may_recover(each, error, attempt, left)]
        pause = _pause(attempt, [error for _, error in again])
        if not again or pause > left:
            first = failures[0][1]
            first.message = "; then ".join(error.message for _, error in failures)
            raise first
        await asyncio.sleep(pause)
        candidates, attempt = [each for each, _ in again], attempt + 1


def _may_recover(candidate: Candidate, error: ProviderError, attempt: int, left: float) -> bool:
    """Whether asking again within `left` seconds may help."""
    return (
        error.code in RETRIED
        and candidate.provider.retries > attempt
        and (not error.retry_after or _seconds(error.retry_after) <= left)
    )


async def _guarded(candidate: Candidate, ask: Callable[[Candidate], Awaitable[T]], *, again: bool) -> T:
    breaker = candidate.breaker
    wait = breaker.enter()
    if wait:
        raise ProviderError(
            503,
            f"provider {candidate.provider.name} keeps failing and is paused for a while",
            code="provider_unavailable",
            retry_after=str(math.ceil(wait)),
        )
    probe = not breaker.closed
    try:
        answer = await ask(candidate)
    except ProviderError as error:
        # A refused request or a limit is an answer: the provider works.
        if error.at_fault:
            # Or one request that a provider can't bear, sent again and again, would keep it from everyone.
            breaker.failed(probe=probe, again=again)
        else:
            breaker.succeeded()
        raise
    except BaseException:
        breaker.abandoned(probe=probe)
        raise
    breaker.succeeded()
    return answer


def _pause(attempt: int, failures: Sequence[ProviderError]) -> float:
    """Give the seconds before the next attempt: by chance, so that clients do not come back together."""
    longest = FIRST_PAUSE_SECONDS * 2**attempt
    chance: float = longest * random.random()  # noqa: S311 - no secret
    asked = [_seconds(error.retry_after) for error in failures if error.retry_after]
    return chance + (min(asked) if asked else 0.0)


def _seconds(retry_after: str) -> float:
    """Read Retry-After; a date, which hardly any API sends, is beyond any budget."""
    return float(retry_after) if SECONDS.fullmatch(retry_after) else math.inf
