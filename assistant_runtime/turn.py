"""One assistant turn, the main flow: read this first.

A validated request becomes candidates (a provider and a model each); an answer that is cached is given at once;
otherwise one candidate after the other is asked until the first answers; what came back is recorded, cached, and
handed to the route. Tools, retrieval and sessions join here, between asking and answering.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from assistant_runtime import json_text
from assistant_runtime.errors import ProviderError, StoreUnavailableError
from assistant_runtime.providers.base import Completion, CompletionStream, Payer, Usage
from assistant_runtime.providers.dialect.adaptations import Asked
from assistant_runtime.providers.dialect.asking import Dialects, LeftOut
from assistant_runtime.providers.routing import Candidate, Routing, first_answer
from assistant_runtime.security.principal import Principal
from assistant_runtime.stores.response_cache import ResponseCache
from assistant_runtime.telemetry import OTHER_MODEL, Metrics, ModelCall

COUNTING = frozenset({"stream_options"})
"""What the runtime adds to a stream's request, to count its tokens also if the client does not ask for them."""

T = TypeVar("T")


class Reports(Protocol):
    """Wants to know how requests to providers end."""

    def report_failure(self, provider: str) -> None:
        """A request to the provider failed."""

    def report_success(self, provider: str) -> None:
        """The provider has answered."""


@dataclass(slots=True)
class Question:
    """A validated chat request.

    `payload` is the request's JSON, passed on as it is but for the model's name.
    """

    payload: dict[str, Any]
    principal: Principal
    """Who asks."""
    request_id: str
    account: Payer
    """Pays for what the model takes."""
    read_cache: bool = True
    write_cache: bool = True
    idempotency_key: str = ""
    """Names the turn in its session, so that asking again keeps it once."""
    about: Mapping[str, Any] | None = None
    """Kept with the turn, together with how its answer ended; None: nothing is."""
    text: bool = False
    """Whether it is a text to complete, and no chat."""
    own_tools: frozenset[str] = frozenset()
    """Names of the functions in the request that the runtime offers: a provider may refuse these."""

    any_model: bool = False
    """Whether the key may ask the agent that answers, whatever model that has."""
    stored_in: str = ""
    """The session that the runtime keeps this turn in by itself; whatever other session it names is the client's."""

    @property
    def allowed_models(self) -> Collection[str] | None:
        """The models that may be asked; None: all."""
        return None if self.any_model else self.account.models

    @property
    def tenant(self) -> str:
        """Whose sessions, documents and cached answers it is about."""
        return self.principal.tenant

    @property
    def model(self) -> str | None:
        """The model that the client named."""
        return self.payload.get("model")

    @property
    def wants_usage(self) -> bool:
        """Whether the client asked for a stream's tokens."""
        return bool((self.payload.get("stream_options") or {}).get("include_usage"))


@dataclass(slots=True)
class Answer:
    """An answer that was not streamed."""

    body: bytes
    provider: str
    cache: str
    """`hit`, `miss` or `bypass`."""
    left_out: tuple[LeftOut, ...] = ()
    """What the provider does not take of the request."""


@dataclass(slots=True)
class AnswerStream:
    """A streamed answer: `events` yields whole events, and raises ProviderError if the provider breaks off."""

    events: AsyncGenerator[bytes, None]
    provider: str
    source: CompletionStream
    left_out: tuple[LeftOut, ...] = ()
    """What the provider does not take of the request."""

    @property
    def complete(self) -> bool:
        """Whether the provider has said that the answer is whole."""
        return self.source.summary.done

    async def aclose(self) -> None:
        """Close the provider's connection, also if no event was taken yet."""
        await self.events.aclose()
        await self.source.aclose()


class Turns:
    """Answers questions.

    Parameters
    ----------
    routing
        Who is asked.
    cache
        The response cache; None: no caching.
    metrics
        Where calls are recorded.
    reports
        Gets to know how requests end.
    """

    def __init__(self, routing: Routing, cache: ResponseCache | None, metrics: Metrics, reports: Reports) -> None:
        self._routing = routing
        self._cache = cache
        self._metrics = metrics
        self._reports = reports
        self._dialects = Dialects()

    async def answer(self, question: Question) -> Answer:
        """Answer at once.

        Raises
        ------
        ProviderError
            No candidate answered.
        ApiError
            429: the account has nothing left.
        """
        await question.account.hold(question.payload)
        candidates = self._routing.candidates(question.model, allowed=question.allowed_models)
        key = self._cache_key(question, candidates[0])
        result, cached = await self._look_up(question, key)
        self._metrics.cache_result(result)
        if cached:
            return Answer(cached, candidates[0].provider.name, result)

        left_out: tuple[LeftOut, ...] = ()

        async def complete(candidate: Candidate) -> Completion:
            nonlocal left_out
            completion, left_out = await self._dialects.ask(
                candidate.provider.name,
                Asked(question.payload | {"model": candidate.model}, question.own_tools),
                lambda payload: candidate.provider.complete(
                    json_text.dumps(payload), question.request_id, text=question.text
                ),
            )
            return completion

        candidate, completion = await first_answer(candidates, lambda it: self._timed(question.account, it, complete))
        same = (candidate.pool, candidate.model) == (candidates[0].pool, candidates[0].model)
        # An answer to less than was asked is not kept: what is kept does not say so.
        if same and question.write_cache and completion.whole and not any(each.field for each in left_out):
            await self._write_cache(key, completion.body)
        return Answer(completion.body, candidate.provider.name, result, left_out)

    async def stream(self, question: Question) -> AnswerStream:
        """Answer as a stream; returns when the first event is there, until when another candidate may be asked.

        Raises
        ------
        ProviderError
            No candidate began to answer.
        ApiError
            429: the account has nothing left.
        """
        await question.account.hold(question.payload)
        candidates = self._routing.candidates(question.model, allowed=question.allowed_models)
        self._metrics.cache_result("bypass")

        left_out: tuple[LeftOut, ...] = ()

        async def begin(candidate: Candidate) -> tuple[CompletionStream, float]:
            nonlocal left_out
            started = time.perf_counter()
            stream, left_out = await self._begin(question, candidate)
            return stream, started

        candidate, (stream, started) = await first_answer(
            candidates, lambda it: self._watched(question.account, it, begin)
        )
        self._metrics.first_chunk(self._call(candidate, stream.summary.model), time.perf_counter() - started)
        return AnswerStream(
            self._recorded(question.account, candidate, stream, started), candidate.provider.name, stream, left_out
        )

    async def _begin(self, question: Question, candidate: Candidate) -> tuple[CompletionStream, tuple[LeftOut, ...]]:
        """Begin a stream that tells its tokens, also if the client does not ask for them: they are counted here."""
        payload, wanted = question.payload | {"model": candidate.model}, question.wants_usage
        if not wanted:
            payload["stream_options"] = {**(payload.get("stream_options") or {}), "include_usage": True}
        return await self._dialects.ask(
            candidate.provider.name,
            Asked(payload, question.own_tools, frozenset() if wanted else COUNTING),
            lambda payload: candidate.provider.stream(
                json_text.dumps(payload), question.request_id, hide_usage=not wanted, text=question.text
            ),
        )

    async def _timed(
        self, account: Payer, candidate: Candidate, ask: Callable[[Candidate], Awaitable[Completion]]
    ) -> Completion:
        started = time.perf_counter()
        completion = await self._watched(account, candidate, ask)
        self._record(candidate, started, completion.model, completion.usage)
        account.spend(self._call(candidate, "").request_model, completion.usage)
        return completion

    async def _watched(self, account: Payer, candidate: Candidate, ask: Callable[[Candidate], Awaitable[T]]) -> T:
        """Ask one candidate, recording a failure, and a client that left."""
        started = time.perf_counter()
        try:
            answer = await ask(candidate)
        except asyncio.CancelledError:
            # The provider may charge for what it had begun.
            account.spend(self._call(candidate, "").request_model, None)
            raise
        except ProviderError as error:
            self._record_failure(candidate, started, error)
            raise
        self._reports.report_success(candidate.provider.name)
        return answer

    async def _recorded(
        self, account: Payer, candidate: Candidate, stream: CompletionStream, started: float
    ) -> AsyncGenerator[bytes, None]:
        """Pass the stream on, and record how it ended."""
        summary = stream.summary
        try:
            yield stream.first
            async for events in stream.rest:
                yield events
            self._record(candidate, started, summary.model, summary.usage)
        except ProviderError as error:
            self._record_failure(candidate, started, error)
            raise
        finally:
            # However it ended, the provider charges for what it sent.
            account.spend(self._call(candidate, "").request_model, summary.usage)

    def _record(self, candidate: Candidate, started: float, model: str, usage: Usage | None) -> None:
        self._metrics.operation(self._call(candidate, model), time.perf_counter() - started, usage)

    def _record_failure(self, candidate: Candidate, started: float, error: ProviderError) -> None:
        call = self._call(candidate, "", error.code)
        self._metrics.operation(call, time.perf_counter() - started, None)
        if error.at_fault:
            self._reports.report_failure(candidate.provider.name)

    def _call(self, candidate: Candidate, response_model: str, error_type: str = "") -> ModelCall:
        if not self._routing.is_known(candidate):
            # Lenient providers answer to any name, and say it back: then both are the client's invention.
            return ModelCall(candidate.provider.name, OTHER_MODEL, OTHER_MODEL, error_type)
        return ModelCall(candidate.provider.name, candidate.model, response_model, error_type)

    def _cache_key(self, question: Question, candidate: Candidate) -> str:
        if self._cache is None:
            return ""
        return self._cache.key(question.tenant, candidate.pool, candidate.model, question.payload, text=question.text)

    async def _look_up(self, question: Question, key: str) -> tuple[str, bytes | None]:
        """Give `hit`, `miss` or `bypass`, and the answer for a hit."""
        if self._cache is None or not question.read_cache:
            return "bypass", None
        try:
            answer = await self._cache.get(key)
        except StoreUnavailableError:
            return "bypass", None
        return ("hit", answer) if answer else ("miss", None)

    async def _write_cache(self, key: str, body: bytes) -> None:
        if self._cache is not None:
            with suppress(StoreUnavailableError):
                await self._cache.put(key, body)
