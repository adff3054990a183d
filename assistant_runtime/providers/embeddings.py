"""Embeddings: passed to a provider for clients, and computed for the runtime's own documents and queries.

Both ask the same candidates in the same way as a chat; vectors of another model would not compare, so the model is
never swapped when a provider fails.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import orjson

from assistant_runtime import json_text
from assistant_runtime.errors import ApiError, ProviderError
from assistant_runtime.providers.base import Completion, Payer
from assistant_runtime.providers.routing import DEFAULT_MODEL, Candidate, Routing, first_answer
from assistant_runtime.providers.sse import bad_event

BATCH_TEXTS = 64
"""Texts in one request: well below the limits of common servers (OpenAI 2048, text-embeddings-inference 32 to 1024),
and enough that the round trip does not count."""

Observer = Callable[[Payer, Candidate, float, "Completion | ProviderError | None"], None]
"""Told of every call: who pays, who was asked, for how many seconds, and what came back; None: the client left."""


class Embeddings:
    """Turns texts into vectors.

    Parameters
    ----------
    routing
        Who is asked.
    model
        Model for requests that name none or `default`; empty: there is no default.
    observe
        Told of every call.
    """

    def __init__(self, routing: Routing, model: str, observe: Observer) -> None:
        self._routing = routing
        self._model = model
        self._observe = observe

    @property
    def model(self) -> str:
        """The default model; empty where none is set."""
        return self._model

    async def answer(self, payload: Mapping[str, Any], request_id: str, account: Payer) -> tuple[Candidate, Completion]:
        """Pass a client's request on; its JSON stays as it is but for the model's name.

        Raises
        ------
        ApiError
            400: no model is named, and none is the default. 403: the account does not pay for it. 404: there is no such
            model. 429: nothing is left.
        ProviderError
            No candidate answered.
        """
        return await self._answer(payload, request_id, account, self._candidates(payload.get("model"), account.models))

    async def _answer(
        self, payload: Mapping[str, Any], request_id: str, account: Payer, candidates: Sequence[Candidate]
    ) -> tuple[Candidate, Completion]:
        await account.hold(payload)

        async def ask(candidate: Candidate) -> Completion:
            body = orjson.dumps({**payload, "model": candidate.model})
            started = time.perf_counter()
            try:
                completion = await candidate.provider.embeddings(body, request_id)
            except asyncio.CancelledError:
                self._observe(account, candidate, time.perf_counter() - started, None)
                raise
            except ProviderError as error:
                self._observe(account, candidate, time.perf_counter() - started, error)
                raise
            self._observe(account, candidate, time.perf_counter() - started, completion)
            return completion

        return await first_answer(candidates, ask)

    async def embed(self, texts: Sequence[str], account: Payer) -> list[list[float]]:
        """Give each text's vector, in the order of the texts.

        Raises
        ------
        ApiError
            400: no model is named, and none is the default.
        ProviderError
            No candidate answered, or not with one vector a text.
        """
        vectors: list[list[float]] = []
        for start in range(0, len(texts), BATCH_TEXTS):
            batch = list(texts[start : start + BATCH_TEXTS])
            payload = {"model": None, "input": batch, "encoding_format": "float"}
            # The model is the runtime's choice here, and no client's.
            _, completion = await self._answer(payload, "", account, self._candidates(None, None))
            vectors += _vectors(completion.body, len(batch))
        return vectors

    def _candidates(self, model: str | None, allowed: Collection[str] | None) -> tuple[Candidate, ...]:
        """Give who is asked; lists decide only if the default model is in one, because many leave embeddings out."""
        named = self._named(model)
        default = self._routing.candidates(self._model, by_lists=False) if self._model else ()
        by_lists = any(self._routing.is_known(candidate) for candidate in default)
        return self._routing.candidates(named, by_lists=by_lists, allowed=allowed)

    def _named(self, model: str | None) -> str:
        named = self._model if model in {None, "", DEFAULT_MODEL} else model
        if not named:
            raise ApiError(
                400,
                "model: name an embedding model, or set EMBEDDING_MODEL for requests that name none.",
                code="missing_required_parameter",
                param="model",
            )
        return named


def _vectors(body: bytes, count: int) -> list[list[float]]:
    # Models that overflow give NaN, which is read as None here.
    data = json_text.loads(body).get("data")
    entries = [entry for entry in data if isinstance(entry, dict)] if isinstance(data, list) else []
    by_index = {entry.get("index", position): entry.get("embedding") for position, entry in enumerate(entries)}
    vectors = [by_index.get(index) for index in range(count)]
    if len(entries) != count or not all(_is_vector(vector) for vector in vectors):
        raise bad_event(f"something else than {count} embeddings")
    return vectors  # type: ignore[return-value]  # each was just seen to be a vector


def _is_vector(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(number, int | float) for number in value)
