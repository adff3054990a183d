"""SearXNG in the spec: web search for the assistant's tools."""

from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from assistant_operator.spec.base import (
    Backend,
    External,
    Image,
    Model,
    Overlay,
    Resources,
    certificates_need_tls,
    one_mode,
)
from assistant_operator.spec.values import URL


class ManagedSearXNG(Model):
    """A SearXNG that the operator runs: stateless pods behind a Service."""

    image: Image = Image()
    """Image of SearXNG."""
    replicas: Annotated[int, Field(ge=1, le=100)] = 1
    """Pods that search."""
    resources: Resources = Resources(
        requests={"cpu": "50m", "memory": "128Mi"}, limits={"cpu": "500m", "memory": "512Mi"}
    )
    """Compute resources of each pod."""
    settings: Overlay = {}
    """Merged into settings.yml, as SearXNG documents it: `engines`, `search`, `outgoing` and so on."""
    pod_template: Overlay = {}
    """Overlay on the pods' template (metadata and spec), merged as Kubernetes merges: scheduling, sidecars."""

    @model_validator(mode="after")
    def _no_secret_key(self) -> Self:
        # The API server can't see into free-form settings.
        server: Any = self.settings.get("server")
        if isinstance(server, dict) and "secret_key" in server:
            raise ValueError(
                "spec.searxng.managed.settings.server.secret_key: leave it out, it is generated; "
                "to choose it, write it into the Secret <name>-searxng, key secret-key"
            )
        return self


class ExternalSearXNG(External):
    """A SearXNG that runs elsewhere. Its settings must have `json` among `search.formats`."""

    rules = (*External.rules, certificates_need_tls("url", "external.url"))

    url: URL | None = None
    """Root of the server, such as https://searxng.example.com."""


class SearXNG(Backend):
    """SearXNG: web search."""

    rules = (one_mode("managed", "external"),)

    enabled: bool = True
    """Whether the assistant can search the web by SearXNG."""
    managed: ManagedSearXNG | None = None
    """Settings of the SearXNG that the operator runs."""
    external: ExternalSearXNG | None = None
    """A SearXNG that runs elsewhere."""

    @property
    def settings(self) -> ManagedSearXNG:
        """Settings of the server that the operator runs: those given, or the defaults."""
        return self.managed or _DEFAULTS


_DEFAULTS = ManagedSearXNG()
"""Made once: a pass asks for them many times."""
