"""What the runtime asks of a provider.

A provider is given the request's body as bytes, already naming the provider's own model: the runtime does not
understand most fields of a chat request, and whatever it would decode and encode again it could also change.
"""

from collections.abc import AsyncGenerator, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, Self


@dataclass(slots=True)
class Usage:
    """Tokens that a provider counted for one answer."""

    input_tokens: int
    output_tokens: int


class Payer(Protocol):
    """Pays for what a model is asked; whoever asks one is handed an account."""

    @property
    def models(self) -> Collection[str] | None:
        """The models that it pays for, by the names that a client may give them; None: all."""

    async def hold(self, asked: Any) -> None:
        """Hold what this ask is expected to take; raises ApiError 429 where nothing is left."""

    def spend(self, model: str, usage: Usage | None) -> None:
        """Count what a model took; None: nobody counted, as where the client left before the end."""


@dataclass(slots=True)
class Completion:
    """An answer that was not streamed: the provider's bytes, and what was read from them."""

    body: bytes
    model: str
    usage: Usage | None
    whole: bool = True
    """Every choice came to its end; an answer that did not is passed on, and not kept."""


@dataclass(frozen=True, slots=True)
class ModelList:
    """The models that a provider lists, as it describes them."""

    models: tuple[Mapping[str, Any], ...] = ()
    remark: str = ""
    """What whoever set the provider up should look at, though it answers."""


@dataclass(slots=True)
class StreamSummary:
    """What a stream has told so far."""

    model: str = ""
    usage: Usage | None = None
    only_usage: bool = False
    """The last event told the tokens and nothing else."""
    finished: bool = False
    """A choice gave its finish_reason: the answer is whole."""
    done: bool = False
    """The provider sent `[DONE]`."""


@dataclass(slots=True)
class CompletionStream:
    """A stream whose first event has arrived.

    `rest` yields the provider's bytes in whole events, and raises ProviderError when the stream breaks.
    """

    first: bytes
    rest: AsyncGenerator[bytes, None]
    summary: StreamSummary

    async def aclose(self) -> None:
        """Close the provider's connection at once, unless the answer was read to its end."""
        await self.rest.aclose()


class Provider(Protocol):
    """An OpenAI-compatible API; `async with` opens and closes its connections."""

    name: str
    base_url: str
    default_model: str
    weight: int
    """Share of the requests among neighbours that have one; 0: none, strictly in order."""
    retries: int
    """How often a request is sent again before its first token."""
    any_model: bool
    """Whether it is asked for models that its list lacks."""

    async def __aenter__(self) -> Self:
        """Open what requests need."""

    async def __aexit__(self, *_: object) -> None:
        """Close every connection."""

    async def complete(self, body: bytes, request_id: str, *, text: bool = False) -> Completion:
        """Answer a chat request at once, or complete a text; raises ProviderError."""

    async def stream(self, body: bytes, request_id: str, *, hide_usage: bool, text: bool = False) -> CompletionStream:
        """Answer a chat request, or complete a text, as a stream, once its first event is there; raises ProviderError.

        With `hide_usage`, an event that tells the tokens and nothing else is noted and left out.
        """

    async def embeddings(self, body: bytes, request_id: str) -> Completion:
        """Answer an embeddings request; raises ProviderError."""

    async def models(self) -> ModelList:
        """List the provider's models; empty where it has no list. Raises ProviderError."""
