"""Which providers are asked for a model, in which order, and what to do when one fails.

Names: none or `default` is each provider's own default model; `<provider>/<model>` is that provider's model and
nobody else's; any other name goes to the preferred provider as it is. A model that a client named is never swapped for
another: fallback goes only to providers that have that very model.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from assistant_runtime.errors import ApiError, ProviderError
from assistant_runtime.providers.base import Provider

DEFAULT_MODEL = "default"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A provider, and the model to ask it for."""

    provider: Provider
    model: str


class ModelLists(Protocol):
    """Knows which models a provider has."""

    def has_model(self, provider: str, model: str) -> bool:
        """Whether the provider is known to have the model."""


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
    """

    def __init__(self, providers: Sequence[Provider], models: ModelLists, *, fallback: bool) -> None:
        self._providers = tuple(providers)
        self._by_name = {provider.name: provider for provider in providers}
        self._models = models
        self._fallback = fallback

    def candidates(self, model: str | None) -> tuple[Candidate, ...]:
        """Give who is asked, in order.

        Raises
        ------
        ApiError
            503 without any provider.
        """
        if not self._providers:
            raise ApiError(
                503,
                "No provider is configured. Set OPENAI_COMPATIBLE_BASE_URL and OPENAI_COMPATIBLE_DEFAULT_MODEL.",
                error_type="upstream_error",
                code="no_provider",
            )
        everyone = tuple(self._all_candidates(model or DEFAULT_MODEL))
        return everyone if self._fallback else everyone[:1]

    def is_known(self, candidate: Candidate) -> bool:
        """Whether the model is the provider's default or in its list, and so safe as a metric's label."""
        name, model = candidate.provider.name, candidate.model
        return model == candidate.provider.default_model or self._models.has_model(name, model)

    def _all_candidates(self, model: str) -> list[Candidate]:
        if model == DEFAULT_MODEL:
            return [Candidate(provider, provider.default_model) for provider in self._providers]
        prefix, _, name = model.partition("/")
        if name and prefix in self._by_name:
            provider = self._by_name[prefix]
            return [Candidate(provider, provider.default_model if name == DEFAULT_MODEL else name)]
        preferred, *others = (Candidate(provider, model) for provider in self._providers)
        return [preferred, *(candidate for candidate in others if self.is_known(candidate))]


async def first_answer(
    candidates: Sequence[Candidate], ask: Callable[[Candidate], Awaitable[T]]
) -> tuple[Candidate, T]:
    """Ask one candidate after the other until one answers.

    Raises
    ------
    ProviderError
        Nobody answered: the first candidate's error, its text followed by the others'. A request that is at fault
        itself ends the search at once.
    """
    failures: list[ProviderError] = []
    for candidate in candidates:
        try:
            return candidate, await ask(candidate)
        except ProviderError as error:
            failures.append(error)
            if not error.fallback:
                raise
    first = failures[0]
    first.message = "; then ".join(failure.message for failure in failures)
    raise first
