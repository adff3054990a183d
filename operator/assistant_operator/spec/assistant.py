"""The AIAssistant resource as pydantic models: the single source of its schema, defaults and validation.

`crds/` is generated from these models, so a field's description here is what `kubectl explain` prints. A field is only
here if it has an effect. Names follow Kubernetes' own (`image`, `resources`, `storageClassName`, `podTemplate`).
"""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel, to_snake

from assistant_operator.names import MAX_LENGTH
from assistant_operator.spec.base import Image, Mode, Model, Overlay, Resources, map_list
from assistant_operator.spec.capacity import Capacity
from assistant_operator.spec.firecrawl import Firecrawl
from assistant_operator.spec.milvus import Milvus
from assistant_operator.spec.mongodb import MongoDB
from assistant_operator.spec.multi_writer import MultiWriter
from assistant_operator.spec.postgresql import PostgreSQL
from assistant_operator.spec.providers import Providers
from assistant_operator.spec.redis import Redis
from assistant_operator.spec.reranker import Reranker
from assistant_operator.spec.retention import Retention
from assistant_operator.spec.retrieval import Retrieval
from assistant_operator.spec.rules import Rule
from assistant_operator.spec.searxng import SearXNG
from assistant_operator.spec.security import Security, TokenBudget, Tokens
from assistant_operator.spec.sessions import Sessions
from assistant_operator.spec.tools import Agent, Tools
from assistant_operator.spec.tracing import Tracing
from assistant_operator.spec.ui import UI
from assistant_operator.spec.values import (
    Amount,
    Host,
    ObjectName,
    TimeToLive,
    Window,
)


class Cache(Model):
    """The exact response cache, in Redis where there is one."""

    enabled: bool = True
    """Whether an identical request of the same client is answered from the cache."""
    ttl: TimeToLive = "1h"
    """How long an answer is kept."""
    compression: bool = True
    """Whether cached answers are compressed (zstd)."""


class RateLimit(Model):
    """The limits on each client's requests and tokens, exact across the runtime's pods."""

    enabled: bool = True
    """Whether requests are limited."""
    requests: Annotated[int, Field(ge=1, le=100_000)] = 100
    """Requests that one client may send within the window."""
    window: Window = "60s"
    """Length of the window."""
    tokens_per_minute: Tokens | None = None
    """Tokens that one client may spend in any 60 seconds. Default: without limit."""
    max_parallel_requests: Annotated[int, Field(ge=1, le=100_000)] = 500
    """Requests of one client that a pod answers at once; more get 429."""


class IssuerRef(Model):
    """A cert-manager issuer."""

    name: ObjectName
    """Name of the issuer."""
    kind: Literal["Issuer", "ClusterIssuer"] = "ClusterIssuer"
    """Kind of the issuer."""


class IngressTLS(Model):
    """TLS of the Ingress."""

    rules = (
        Rule(
            cel="has(self.secretName) || has(self.issuerRef)",
            message="spec.ingress.tls: give secretName (a TLS Secret that exists) or issuerRef (a cert-manager issuer)",
            holds=lambda tls: bool(tls.secret_name or tls.issuer_ref),
        ),
    )

    secret_name: ObjectName | None = None
    """TLS Secret to serve. Default, with an issuer: <name>-tls."""
    issuer_ref: IssuerRef | None = None
    """cert-manager issuer that fills the Secret, named in the Ingress's annotation."""


class Ingress(Model):
    """An Ingress in front of the assistant's API."""

    rules = (
        Rule(
            cel="!self.enabled || has(self.host)",
            message="spec.ingress.host: an enabled Ingress needs the DNS name to serve, such as assistant.example.com",
            holds=lambda ingress: not ingress.enabled or bool(ingress.host),
        ),
    )

    enabled: bool = False
    """Whether an Ingress is created."""
    class_name: ObjectName | None = None
    """IngressClass that serves it. Default: the cluster's default class."""
    host: Host | None = None
    """DNS name that it serves."""
    annotations: Annotated[dict[str, str], Field(max_length=64)] = {}
    """Annotations for the ingress controller."""
    tls: IngressTLS | None = None
    """TLS. Default: plain HTTP."""


class PodDisruptionBudget(Model):
    """How many runtime pods a voluntary disruption, such as a node drain, may take at once."""

    rules = (
        Rule(
            cel="!(has(self.minAvailable) && has(self.maxUnavailable))",
            message="spec.podDisruptionBudget: give minAvailable or maxUnavailable, not both",
            holds=lambda budget: budget.min_available is None or budget.max_unavailable is None,
        ),
    )

    min_available: Amount | None = None
    """Pods that must stay available."""
    max_unavailable: Amount | None = None
    """Pods that may be unavailable. Default, with neither given: 1."""


class Logging(Model):
    """Logs of the runtime."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """Least severity that is logged."""
    format: Literal["json", "console"] = "json"
    """One JSON object a line, or text for people."""


IMAGES = (
    "image",
    "ui.image",
    "redis.managed.image",
    "mongodb.managed.image",
    "postgresql.managed.image",
    "milvus.managed.image",
    "searxng.managed.image",
    "firecrawl.managed.image",
    "firecrawl.managed.browser.image",
    "firecrawl.managed.redis.image",
    "firecrawl.managed.postgresql.image",
    "reranker.managed.image",
)
"""Where the spec may name an image, as the path of its fields."""


def _unpinned(path: str) -> str:
    """Return the CEL expression that holds where the image at `path` is given as `latest` without a digest."""
    parts = ["self", *path.split(".")]
    given = [f"has({'.'.join(parts[: end + 1])})" for end in range(2, len(parts))]
    image = ".".join(parts)
    return " && ".join([*given, f"has({image}.tag)", f"{image}.tag == 'latest'", f"!has({image}.digest)"])


def _image_at(spec: "AIAssistantSpec", path: str) -> Image | None:
    block: Any = spec
    for field in path.split("."):
        block = getattr(block, to_snake(field), None)
    image: Image | None = block
    return image


def _images_pinned(spec: "AIAssistantSpec") -> bool:
    images = [image for path in IMAGES if (image := _image_at(spec, path))]
    return spec.environment != "production" or all(image.tag != "latest" or image.digest for image in images)


class AIAssistantSpec(Model):
    """What is asked for."""

    rules = (
        Rule(
            cel="has(self.providers) && has(self.providers.items) && size(self.providers.items) > 0",
            message=(
                "spec.providers.items: name at least one server that speaks OpenAI's API, such as "
                "{name: openai, baseURL: https://api.openai.com/v1, model: gpt-4o-mini, "
                "apiKeyFrom: {name: openai, key: api-key}}"
            ),
            holds=lambda spec: spec.providers is not None,
        ),
        Rule(
            cel="!self.ui.enabled || !has(self.ui.host) || self.ingress.enabled",
            message="spec.ui.host: the page has a DNS name only with an Ingress; set spec.ingress.enabled too",
            holds=lambda spec: not spec.ui.enabled or not spec.ui.host or spec.ingress.enabled,
        ),
        Rule(
            cel=(
                "!has(self.retrieval.embeddingProvider) || self.retrieval.embeddingProvider != 'provider' || "
                "(has(self.providers) && has(self.providers.embeddingModel))"
            ),
            message="spec.providers.embeddingModel: name the model that retrieval.embeddingProvider: provider asks for",
            holds=lambda spec: (
                spec.retrieval.embedding_provider != "provider"
                or (spec.providers is not None and spec.providers.embedding_model is not None)
            ),
        ),
        Rule(
            cel="self.agents.all(a, a.handoffs.all(h, self.agents.exists(b, b.name == h)))",
            message="spec.agents.handoffs: must be names of spec.agents",
            holds=lambda spec: (
                {name for agent in spec.agents for name in agent.handoffs} <= {agent.name for agent in spec.agents}
            ),
        ),
        Rule(
            cel=f"self.environment != 'production' || !({' || '.join(f'({_unpinned(path)})' for path in IMAGES)})",
            message=(
                "image.tag: with spec.environment production, pin a version or a digest instead of `latest`, "
                "or set spec.environment to staging or development"
            ),
            holds=_images_pinned,
        ),
    )

    environment: Literal["development", "staging", "production"] = "production"
    """Where the assistant runs. `production` refuses images tagged `latest`."""
    providers: Providers | None = None
    """The servers that answer chat requests. At least one is needed."""
    image: Image = Image()
    """Image of the runtime."""
    replicas: Annotated[int, Field(ge=0, le=1000)] = 3
    """Runtime pods. `kubectl scale` sets this field."""
    resources: Resources = Resources(
        requests={"cpu": "500m", "memory": "512Mi"}, limits={"cpu": "1000m", "memory": "1Gi"}
    )
    """Compute resources of each runtime pod."""
    pod_template: Overlay = {}
    """Overlay on the pods' template (metadata and spec), merged as Kubernetes merges: scheduling, sidecars, env."""
    suspend: bool = False
    """Whether every pod is stopped. Volumes, credentials and Services stay, and `false` brings the pods back."""
    deletion_policy: Literal["Retain", "Delete"] = "Retain"
    """Fate of volumes and generated credentials on deletion; a successor of the same name adopts retained ones."""
    cache: Cache = Cache()
    """Answers to identical requests, kept for a while."""
    rate_limit: RateLimit = RateLimit()
    """Limit on each client's requests."""
    token_budget: TokenBudget = TokenBudget()
    """Limit on each client's tokens."""
    security: Security = Security()
    """Who may call the assistant."""
    capacity: Capacity = Capacity()
    """How much one runtime pod takes on."""
    sessions: Sessions = Sessions()
    """How much the sessions of a client may hold."""
    retention: Retention = Retention()
    """How long sessions, stored responses, audit records, usage and jobs are kept."""
    retrieval: Retrieval = Retrieval()
    """Documents, and how their passages are found."""
    logging: Logging = Logging()
    """Logs of the runtime."""
    tracing: Tracing = Tracing()
    """Traces of the runtime."""
    redis: Redis = Redis()
    """Redis: the response cache, rate limits and the hot state of sessions. On by default."""
    multi_writer: MultiWriter = MultiWriter()
    """Several models that write and check one text (/v1/writers). Off by default."""
    milvus: Milvus = Milvus()
    """Milvus: the vectors of clients' documents. On by default."""
    searxng: SearXNG = SearXNG()
    """SearXNG: web search as a tool of the model. On by default."""
    firecrawl: Firecrawl = Firecrawl()
    """Firecrawl: web pages as Markdown, as tools of the model. Off by default."""
    reranker: Reranker = Reranker()
    """Reranker: puts search results and passages in order. Off by default."""
    tools: Tools = Tools()
    """Tools that the runtime runs for the model."""
    agents: Annotated[list[Agent], Field(max_length=16, json_schema_extra=map_list("name"))] = []
    """Agents that every client may ask for as the model agent/NAME."""
    ui: UI = UI()
    """Chat page for people, in pods of its own. Off by default."""
    mongodb: MongoDB = MongoDB()
    """MongoDB: conversations, the audit log, and the jobs of several writers. On by default."""
    postgresql: PostgreSQL = PostgreSQL()
    """PostgreSQL: users, API keys and usage. Off by default."""
    ingress: Ingress = Ingress()
    """Ingress in front of the assistant's API: /v1, /docs, /openapi.json and /health. Off by default."""
    pod_disruption_budget: PodDisruptionBudget = PodDisruptionBudget()
    """Disruption budget of the runtime pods. A workload with one pod has none; the others' take one pod at a time."""


class Condition(Model):
    """One observation, as metav1.Condition."""

    type: Annotated[str, Field(max_length=316)]
    """Ready, Reconciling, Stalled, or <Component>Ready."""
    status: Literal["True", "False", "Unknown"]
    """Whether it holds."""
    reason: Annotated[str, Field(max_length=1024)]
    """Machine-readable reason; docs/conditions.md lists them."""
    message: Annotated[str, Field(max_length=32768)]
    """What was seen and, where something is wrong, what to do."""
    last_transition_time: Annotated[str, Field(json_schema_extra={"format": "date-time"})]
    """When `status` last changed."""
    observed_generation: Annotated[int, Field(ge=0, json_schema_extra={"format": "int64"})]
    """Generation of the spec that was looked at."""


class ComponentStatus(Model):
    """One part of the stack."""

    name: str
    """Component, such as runtime or redis."""
    mode: Mode
    """Who runs it: this operator (Managed), another one (OperatorRef), or somebody elsewhere (External)."""
    ready: bool
    """Whether it serves."""
    message: str
    """What was seen."""


class AIAssistantStatus(Model):
    """What was seen."""

    observed_generation: Annotated[int, Field(json_schema_extra={"format": "int64"})] | None = None
    """Generation of the spec that this status describes."""
    phase: str | None = None
    """Summary for people: Pending, Progressing, Ready, Suspended, ScaledToZero or Stalled."""
    url: str | None = None
    """Where the assistant answers."""
    replicas: Annotated[int, Field(json_schema_extra={"format": "int32"})] | None = None
    """Runtime pods that exist."""
    ready_replicas: Annotated[int, Field(json_schema_extra={"format": "int32"})] | None = None
    """Runtime pods that are ready."""
    selector: str | None = None
    """Label selector of the runtime pods, for the scale subresource."""
    version: str | None = None
    """Runtime image that the newest spec asks for."""
    conditions: Annotated[
        list[Condition],
        Field(json_schema_extra=map_list("type")),
    ] = []
    """Ready always; Reconciling and Stalled only while True; one <Component>Ready for each component."""
    components: Annotated[
        list[ComponentStatus],
        Field(json_schema_extra=map_list("name")),
    ] = []
    """The parts of the stack."""


class Metadata(BaseModel):
    """The part of the object's metadata that is used."""

    model_config = ConfigDict(alias_generator=to_camel, frozen=True)

    name: str
    namespace: str = "default"
    uid: str = ""
    generation: int = 0


NAME_RULE = Rule(
    cel=f"self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$') && size(self.metadata.name) <= {MAX_LENGTH}",
    message=(
        f"metadata.name: must be at most {MAX_LENGTH} characters, begin with a letter and hold only lower-case "
        "letters, digits and dashes, because Services, StatefulSets and labels are named after it"
    ),
    holds=lambda assistant: bool(
        re.fullmatch("[a-z]([-a-z0-9]*[a-z0-9])?", assistant.metadata.name)
        and len(assistant.metadata.name) <= MAX_LENGTH
    ),
)


class AIAssistant(BaseModel):
    """An AI assistant and everything that it needs, as one resource."""

    model_config = ConfigDict(frozen=True)

    metadata: Metadata
    spec: AIAssistantSpec

    @model_validator(mode="after")
    def _check_name(self) -> Self:
        if not NAME_RULE.holds(self):
            raise ValueError(NAME_RULE.message)
        return self

    @property
    def name(self) -> str:
        """Name of the resource, after which every object of the stack is named."""
        return self.metadata.name

    @property
    def namespace(self) -> str:
        """Namespace of the resource and of the whole stack."""
        return self.metadata.namespace

    @property
    def url(self) -> str:
        """Where the assistant answers: its Ingress, else its Service within the cluster."""
        ingress = self.spec.ingress
        if not ingress.enabled:
            return f"http://{self.name}.{self.namespace}.svc"
        return f"{'https' if ingress.tls else 'http'}://{ingress.host}"

    @property
    def providers(self) -> Providers:
        """The providers, which the spec's rules promise to be there."""
        assert self.spec.providers is not None  # noqa: S101 - the model's first rule
        return self.spec.providers
