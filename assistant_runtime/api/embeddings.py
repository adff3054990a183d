"""POST /v1/embeddings: as the provider gives them, or by the local model where no provider's is set."""

import base64
import time
from array import array
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from assistant_runtime.api.endpoint import Call, JsonEndpoint
from assistant_runtime.api.schemas import EmbeddingsRequest
from assistant_runtime.errors import ApiError, ProviderError, not_allowed
from assistant_runtime.providers.base import Completion, Payer, Usage
from assistant_runtime.providers.embeddings import Embeddings, Observer
from assistant_runtime.providers.routing import DEFAULT_MODEL, Candidate
from assistant_runtime.rag.local_embedder import LOCAL_DIMENSIONS, LOCAL_MODEL, LocalEmbedder
from assistant_runtime.telemetry import OTHER_MODEL, Metrics, ModelCall

OPERATION = "embeddings"
"""OpenTelemetry's name of it."""

LOCAL_PROVIDER = "local"

MAX_CHARACTERS = 500_000
"""That the local model embeds for one request: three minutes of one processor."""

PASSAGES = frozenset({"passage", "document", "search_document"})
"""Values of `input_type`, by which several APIs tell what is searched from what it is searched by."""


class EmbeddingsEndpoint(JsonEndpoint):
    """The endpoint.

    Parameters
    ----------
    embeddings
        Asks the provider.
    local
        The local model; None: there is none.
    """

    model = EmbeddingsRequest

    def __init__(self, embeddings: Embeddings, local: "LocalEmbeddings | None") -> None:
        self._embeddings = embeddings
        self._local = local

    async def serve(self, call: Call) -> None:
        """Give the vectors of a request's texts."""
        named = call.payload.get("model")
        unset = named in {None, "", DEFAULT_MODEL} and not self._embeddings.model
        if self._local is not None and (unset or named == LOCAL_MODEL):
            allowed = call.context.principal.models
            if allowed is not None and LOCAL_MODEL not in allowed:
                raise not_allowed(LOCAL_MODEL)
            call.context.facts["provider"] = LOCAL_PROVIDER
            await call.send_json(
                await self._local.answer(call.payload, call.context.account), {"x-provider": LOCAL_PROVIDER}
            )
            return
        candidate, completion = await self._embeddings.answer(
            call.payload, call.context.request_id, call.context.account
        )
        call.context.facts["provider"] = candidate.provider.name
        await call.send_json(completion.body, {"x-provider": candidate.provider.name})


class LocalEmbeddings:
    """The local model, as a provider of embeddings.

    Parameters
    ----------
    embedder
        The model.
    metrics
        Where calls are recorded.
    """

    def __init__(self, embedder: LocalEmbedder, metrics: Metrics) -> None:
        self._embedder = embedder
        self._metrics = metrics

    async def answer(self, payload: Mapping[str, Any], account: Payer) -> bytes:
        """Answer a validated request.

        Raises
        ------
        ApiError
            400: it asks for what this model can't do.
        ProviderError
            The model failed.
        """
        texts = _texts(payload)
        started = time.perf_counter()
        try:
            is_query = payload.get("input_type") not in PASSAGES
            vectors, tokens = await self._embedder.counted(texts, account, is_query=is_query)
        except ProviderError as error:
            failed = ModelCall(LOCAL_PROVIDER, LOCAL_MODEL, "", error.code, operation=OPERATION)
            self._metrics.operation(failed, time.perf_counter() - started, None)
            raise
        usage = Usage(tokens, 0)
        call = ModelCall(LOCAL_PROVIDER, LOCAL_MODEL, LOCAL_MODEL, operation=OPERATION)
        self._metrics.operation(call, time.perf_counter() - started, usage)
        written = _in_base64 if payload.get("encoding_format") == "base64" else list
        data = [
            {"object": "embedding", "index": index, "embedding": written(vector)}
            for index, vector in enumerate(vectors)
        ]
        counted = {"prompt_tokens": tokens, "total_tokens": tokens}
        return orjson.dumps({"object": "list", "data": data, "model": LOCAL_MODEL, "usage": counted})


def _texts(payload: Mapping[str, Any]) -> list[str]:
    given = payload["input"]
    texts = [given] if isinstance(given, str) else given
    if not all(isinstance(text, str) for text in texts):
        raise _refused("input", f"{LOCAL_MODEL} takes texts, not tokens.")
    if sum(map(len, texts)) > MAX_CHARACTERS:
        raise _refused("input", f"{LOCAL_MODEL} takes at most {MAX_CHARACTERS} characters at once: send fewer texts.")
    if payload.get("dimensions") not in {None, LOCAL_DIMENSIONS}:
        raise _refused(
            "dimensions", f"{LOCAL_MODEL} has {LOCAL_DIMENSIONS} dimensions: omit the field, or send this number."
        )
    return list(texts)


def _refused(param: str, message: str) -> ApiError:
    return ApiError(400, f"{param}: {message}", code="invalid_value", param=param)


def _in_base64(vector: list[float]) -> str:
    return base64.b64encode(array("f", vector)).decode()


def record_embeddings(metrics: Metrics, is_known: Callable[[Candidate], bool]) -> Observer:
    """Give the observer that records calls for embeddings; models that no provider lists are counted as one."""

    def record(
        account: Payer, candidate: Candidate, seconds: float, outcome: Completion | ProviderError | None
    ) -> None:
        provider, model = candidate.provider.name, candidate.model if is_known(candidate) else OTHER_MODEL
        if outcome is None:
            # The provider may charge for what it had begun.
            account.spend(model, None)
            return
        if isinstance(outcome, ProviderError):
            call = ModelCall(provider, model, "", outcome.code, operation=OPERATION)
            metrics.operation(call, seconds, None)
            return
        answered = outcome.model if model == candidate.model else OTHER_MODEL
        metrics.operation(ModelCall(provider, model, answered, operation=OPERATION), seconds, outcome.usage)
        account.spend(model, outcome.usage)

    return record
