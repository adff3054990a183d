"""The AIAssistant resource as pydantic models: the single source of its schema, defaults and validation.

`crds/` is generated from these models, so a field's description here is what `kubectl explain` prints. A field is only
here if it has an effect. Names follow Kubernetes' own (`image`, `resources`, `storageClassName`, `podTemplate`).
"""

import re
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

from assistant_operator import labels
from assistant_operator.names import MAX_LENGTH
from assistant_operator.spec.base import Image, Model, Overlay, Resources, map_list
from assistant_operator.spec.cache import Cache
from assistant_operator.spec.capacity import Capacity
from assistant_operator.spec.disruption import PodDisruptionBudget
from assistant_operator.spec.firecrawl import Firecrawl
from assistant_operator.spec.images import IMAGES, images_pinned, unpinned
from assistant_operator.spec.ingress import Ingress
from assistant_operator.spec.logs import Logging
from assistant_operator.spec.milvus import Milvus
from assistant_operator.spec.mongodb import MongoDB
from assistant_operator.spec.multi_writer import MultiWriter
from assistant_operator.spec.postgresql import PostgreSQL
from assistant_operator.spec.providers import Providers
from assistant_operator.spec.rate_limit import RateLimit
from assistant_operator.spec.redis import Redis
from assistant_operator.spec.reranker import Reranker
from assistant_operator.spec.retention import Retention
from assistant_operator.spec.retrieval import Retrieval
from assistant_operator.spec.rules import Rule
from assistant_operator.spec.searxng import SearXNG
from assistant_operator.spec.security import Security, TokenBudget
from assistant_operator.spec.sessions import Sessions
from assistant_operator.spec.tools import Agent, Tools
from assistant_operator.spec.tracing import Tracing
from assistant_operator.spec.ui import UI
from assistant_operator.spec.values import AnnotationValue, LabelValue


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
            cel=f"self.commonLabels.all(key, !(key in {list(labels.template('', ''))}))",
            message="spec.commonLabels: leave out the labels that the operator sets itself, as app.kubernetes.io/name",
            holds=lambda spec: not set(spec.common_labels) & set(labels.template("", "")),
        ),
        Rule(
            cel=f"self.environment != 'production' || !({' || '.join(f'({unpinned(path)})' for path in IMAGES)})",
            message=(
                "image.tag: with spec.environment production, pin a version or a digest instead of `latest`, "
                "or set spec.environment to staging or development"
            ),
            holds=images_pinned,
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
    common_labels: Annotated[dict[str, LabelValue], Field(max_length=32)] = {}
    """Labels of every object and pod of the stack, for policies and costs; volume claims keep what they have."""
    common_annotations: Annotated[dict[str, AnnotationValue], Field(max_length=32)] = {}
    """Annotations of every object and pod of the stack."""
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
