"""POST /v1/embeddings: a Starlette endpoint, as the chat's is."""

from collections.abc import Callable

from starlette.types import Receive, Scope, Send

from assistant_runtime.api.client_watch import ClientWatch
from assistant_runtime.api.context import context_of, encoded
from assistant_runtime.api.request_body import parse, read_body
from assistant_runtime.api.schemas import EmbeddingsRequest
from assistant_runtime.errors import ProviderError
from assistant_runtime.providers.base import Completion
from assistant_runtime.providers.embeddings import Embeddings, Observer
from assistant_runtime.providers.routing import Candidate
from assistant_runtime.security.spending import spend
from assistant_runtime.telemetry import OTHER_MODEL, Metrics, ModelCall

OPERATION = "embeddings"
"""OpenTelemetry's name of it."""


class EmbeddingsEndpoint:
    """The endpoint, as an ASGI application.

    Parameters
    ----------
    embeddings
        Asks the provider.
    """

    def __init__(self, embeddings: Embeddings) -> None:
        self._embeddings = embeddings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, for as long as its client is there."""
        context = context_of(scope)
        body = await read_body(receive)
        if body is None:
            context.facts["client_gone"] = True
            return
        payload = parse(body, EmbeddingsRequest)
        async with ClientWatch(receive) as client:
            candidate, completion = await self._embeddings.answer(payload, context.request_id)
            context.facts["provider"] = candidate.provider.name
            headers = {
                "content-type": "application/json",
                "content-length": str(len(completion.body)),
                "x-provider": candidate.provider.name,
            }
            await send({"type": "http.response.start", "status": 200, "headers": encoded(headers)})
            await send({"type": "http.response.body", "body": completion.body})
        if client.gone:
            context.facts["client_gone"] = True


def record_embeddings(metrics: Metrics, is_known: Callable[[Candidate], bool]) -> Observer:
    """Give the observer that records calls for embeddings; models that no provider lists are counted as one."""

    def record(candidate: Candidate, seconds: float, outcome: Completion | ProviderError) -> None:
        provider, model = candidate.provider.name, candidate.model if is_known(candidate) else OTHER_MODEL
        if isinstance(outcome, ProviderError):
            call = ModelCall(provider, model, "", outcome.code, operation=OPERATION)
            metrics.operation(call, seconds, None)
            return
        answered = outcome.model if model == candidate.model else OTHER_MODEL
        metrics.operation(ModelCall(provider, model, answered, operation=OPERATION), seconds, outcome.usage)
        spend(model, outcome.usage)

    return record
