"""Firecrawl in the spec: pages as Markdown for the assistant's tools."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from assistant_operator.spec.base import (
    Backend,
    External,
    Image,
    ManagedServer,
    Model,
    Overlay,
    Resources,
    SecretKeyRef,
    Storage,
    certificates_need_tls,
    one_mode,
)
from assistant_operator.spec.rules import Rule
from assistant_operator.spec.values import URL, Size

Replicas = Annotated[int, Field(ge=1, le=100)]


class FirecrawlBrowser(Model):
    """The browser that loads pages for Firecrawl."""

    image: Image = Image()
    """Image of Firecrawl's browser service."""
    replicas: Replicas = 1
    """Pods with a browser."""
    resources: Resources = Resources(
        requests={"cpu": "250m", "memory": "512Mi"}, limits={"cpu": "1000m", "memory": "2Gi"}
    )
    """Compute resources of each pod."""
    pod_template: Overlay = {}
    """Overlay on the pods' template (metadata and spec), merged as Kubernetes merges: scheduling, sidecars."""


class FirecrawlRedis(ManagedServer):
    """Firecrawl's own Redis, for its limits and its older queues."""

    resources: Resources = Resources(
        requests={"cpu": "100m", "memory": "128Mi"}, limits={"cpu": "500m", "memory": "512Mi"}
    )
    """Compute resources of the server."""


class FirecrawlPostgreSQLStorage(Storage):
    """The volume of Firecrawl's PostgreSQL."""

    size: Size = "4Gi"
    """Capacity of the volume."""


class FirecrawlPostgreSQL(ManagedServer):
    """Firecrawl's own PostgreSQL, for its queue of pages."""

    resources: Resources = Resources(
        requests={"cpu": "100m", "memory": "256Mi"}, limits={"cpu": "500m", "memory": "1Gi"}
    )
    """Compute resources of the server."""
    storage: FirecrawlPostgreSQLStorage = FirecrawlPostgreSQLStorage()
    """Volume of the server. It stays when the AIAssistant is deleted, unless `deletionPolicy` is Delete."""


class FirecrawlWorker(Model):
    """Workers of Firecrawl, which run its image."""

    replicas: Replicas = 1
    """Pods, each with one worker."""
    resources: Resources = Resources(
        requests={"cpu": "250m", "memory": "512Mi"}, limits={"cpu": "1000m", "memory": "2Gi"}
    )
    """Compute resources of each pod."""
    pod_template: Overlay = {}
    """Overlay on the pods' template (metadata and spec), merged as Kubernetes merges: scheduling, sidecars, env."""


class ManagedFirecrawl(Model):
    """A Firecrawl that the operator runs, with the servers that it needs beside it."""

    image: Image = Image()
    """Image of Firecrawl's API and its workers."""
    replicas: Replicas = 1
    """Pods of the API."""
    resources: Resources = Resources(
        requests={"cpu": "250m", "memory": "512Mi"}, limits={"cpu": "1000m", "memory": "1Gi"}
    )
    """Compute resources of each pod of the API."""
    pod_template: Overlay = {}
    """Overlay on the API's pods (metadata and spec), merged as Kubernetes merges: scheduling, sidecars, env."""
    worker: FirecrawlWorker = FirecrawlWorker()
    """Workers that finish crawls."""
    nuq_worker: FirecrawlWorker = FirecrawlWorker()
    """Workers that load and convert the pages of crawls, from Firecrawl's queue in PostgreSQL (NuQ)."""
    browser: FirecrawlBrowser = FirecrawlBrowser()
    """The browser that loads pages."""
    redis: FirecrawlRedis = FirecrawlRedis()
    """Firecrawl's own Redis."""
    postgresql: FirecrawlPostgreSQL = FirecrawlPostgreSQL()
    """Firecrawl's own PostgreSQL."""


class ExternalFirecrawl(External):
    """A Firecrawl that runs elsewhere, or Firecrawl's cloud."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="has(self.url) != has(self.urlFrom) || (self.mode == 'cloud' && !has(self.url))",
            message="external: give url or urlFrom, and not both; only mode cloud has a URL of its own",
            holds=lambda server: (
                bool(server.url) != bool(server.url_from) or (server.mode == "cloud" and not server.url)
            ),
        ),
        Rule(
            cel="self.mode != 'cloud' || has(self.apiKeyFrom)",
            message="external.apiKeyFrom: mode cloud needs the Secret key that holds Firecrawl's API key",
            holds=lambda server: server.mode != "cloud" or server.api_key_from is not None,
        ),
        certificates_need_tls("url", "external.url"),
    )

    mode: Literal["docker", "cloud"] = "docker"
    """`docker` for a server of your own, `cloud` for Firecrawl's."""
    url: URL | None = None
    """Root of the server, such as https://firecrawl.example.com. Default, with mode cloud: https://api.firecrawl.dev."""
    api_key_from: SecretKeyRef | None = None
    """Secret key that holds the API key. Default: none is sent."""


class Firecrawl(Backend):
    """Firecrawl: pages as Markdown."""

    rules = (one_mode("managed", "external"),)

    enabled: bool = False
    """Whether the assistant can read pages by Firecrawl."""
    managed: ManagedFirecrawl | None = None
    """Settings of the Firecrawl that the operator runs."""
    external: ExternalFirecrawl | None = None
    """A Firecrawl that runs elsewhere."""

    @property
    def settings(self) -> ManagedFirecrawl:
        """Settings of the server that the operator runs: those given, or the defaults."""
        return self.managed or _DEFAULTS


_DEFAULTS = ManagedFirecrawl()
"""Made once: a pass asks for them many times."""
