"""POST /v1/embeddings: as the provider gives them."""

from collections.abc import Callable

from assistant_runtime.api.endpoint import Call, JsonEndpoint
from assistant_runtime.api.schemas import EmbeddingsRequest
from assistant_runtime.errors import ProviderError
from assistant_runtime.providers.base import Completion
from assistant_runtime.providers.embeddings import Embeddings, Observer
from assistant_runtime.providers.routing import Candidate
from assistant_runtime.security.spending import spend
from assistant_runtime.telemetry import OTHER_MODEL, Metrics, ModelCall

OPERATION = "embeddings"
"""OpenTelemetry's name of it."""


class EmbeddingsEndpoint(JsonEndpoint):
    """The endpoint.

    Parameters
    ----------
    embeddings
        Asks the provider.
    """

    model = EmbeddingsRequest

    def __init__(self, embeddings: Embeddings) -> None:
        self._embeddings = embeddings

    async def serve(self, call: Call) -> None:
        """Give the vectors of a request's texts."""
        candidate, completion = await self._embeddings.answer(call.payload, call.context.request_id)
        call.context.facts["provider"] = candidate.provider.name
        await call.send_json(completion.body, {"x-provider": candidate.provider.name})


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
