"""The reranker in the spec: it puts passages and search results in order."""

from typing import Annotated

from pydantic import Field

from assistant_operator.spec.base import (
    Backend,
    External,
    ManagedServer,
    Resources,
    SecretKeyRef,
    Storage,
    certificates_need_tls,
    one_mode,
)
from assistant_operator.spec.rules import Rule
from assistant_operator.spec.values import URL, Size


class RerankerStorage(Storage):
    """The volume of a reranker's pod."""

    size: Size = "5Gi"
    """Capacity of the volume."""


class ManagedReranker(ManagedServer):
    """A reranker that the operator runs: a server of your choice that answers at /v1/rerank as Jina's API does."""

    replicas: Annotated[int, Field(ge=1, le=100)] = 1
    """Pods, each with the model."""
    args: Annotated[list[Annotated[str, Field(max_length=1024)]], Field(max_length=64)] | None = None
    """Arguments of the image's program. Default: the image's own."""
    health_path: Annotated[str, Field(max_length=256, pattern="^/[^ ]*$")] = "/health"
    """Path that answers 200 when the model is loaded."""
    resources: Resources = Resources(
        requests={"cpu": "500m", "memory": "1Gi"}, limits={"cpu": "1000m", "memory": "2Gi"}
    )
    """Compute resources of each pod."""
    storage: RerankerStorage = RerankerStorage()
    """Volume of each pod, for models. It stays when the AIAssistant is deleted, unless `deletionPolicy` is Delete."""


class ExternalReranker(External):
    """A reranker that runs elsewhere, such as Jina's own."""

    rules = (*External.rules, certificates_need_tls("url", "external.url"))

    url: URL | None = None
    """Root of the server, such as https://api.jina.ai, to which /v1/rerank is added."""
    api_key_from: SecretKeyRef | None = None
    """Secret key that holds the API key. Default: none is sent."""


class Reranker(Backend):
    """The reranker: order among passages and search results."""

    rules = (
        one_mode("managed", "external"),
        Rule(
            cel="!self.enabled || has(self.external) || (has(self.managed) && has(self.managed.image.repository))",
            message=(
                "give managed.image (a server that answers at /v1/rerank as Jina's API does; docs/backends.md names "
                "some) or external, because there is no image of such a server with a model that everybody may use"
            ),
            holds=lambda reranker: (
                not reranker.enabled
                or reranker.external is not None
                or bool(reranker.managed and reranker.managed.image.repository)
            ),
        ),
    )

    enabled: bool = False
    """Whether passages and search results are put in the reranker's order."""
    model: Annotated[str, Field(min_length=1, max_length=256)] = "jina-reranker-v1-base-en"
    """Name of the model, sent with each request, and given to a managed server as MODEL_NAME."""
    managed: ManagedReranker | None = None
    """Settings of the reranker that the operator runs."""
    external: ExternalReranker | None = None
    """A reranker that runs elsewhere."""

    @property
    def settings(self) -> ManagedReranker:
        """Settings of the server that the operator runs: those given, or the defaults."""
        return self.managed or _DEFAULTS


_DEFAULTS = ManagedReranker()
"""Made once: a pass asks for them many times."""
