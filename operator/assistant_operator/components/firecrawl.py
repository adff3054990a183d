"""Firecrawl: its API, its workers and its browser, with a Redis and a PostgreSQL of their own.

API and workers run one image, each kind in pods of its own, as Firecrawl's example for Kubernetes has it:
https://github.com/firecrawl/firecrawl/tree/main/examples/kubernetes. Without RabbitMQ, which is left out, its queue
works by PostgreSQL alone; only its /extract needs it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from assistant_operator import labels, names
from assistant_operator.rooms import manifests
from assistant_operator.rooms.binding import Binding, Bindings
from assistant_operator.rooms.component import Component, Workload
from assistant_operator.rooms.connection import ANYWHERE, Connection, to_binding
from assistant_operator.rooms.credentials import Credential, single
from assistant_operator.rooms.facts import Facts
from assistant_operator.rooms.manifests import Object, env, secret_env
from assistant_operator.rooms.probes import http, probes
from assistant_operator.servers import postgresql, redis
from assistant_operator.servers.base import Server
from assistant_operator.servers.postgresql import Database
from assistant_operator.spec.assistant import AIAssistant
from assistant_operator.spec.base import KeyRef, SecretKeyRef
from assistant_operator.spec.firecrawl import ExternalFirecrawl, FirecrawlWorker, ManagedFirecrawl
from assistant_operator.spec.values import quantity

NAME = "firecrawl"
PORT = 3002
CLOUD_URL = "https://api.firecrawl.dev"

_BROWSER = "firecrawl-browser"
_BROWSER_PORT = 3000
_NODE_USER_ID = 1000
"""User `node` of the images that Firecrawl's are built on."""
_CERTIFICATES = "/etc/firecrawl/certificates"
_SEARXNG_AUTHORITY = "searxng.crt"
_GRACE_SECONDS = 90
"""In Kubernetes the API takes requests for another minute after SIGTERM, until every proxy sees it unready."""


@dataclass(frozen=True)
class _Program:
    """A program in Firecrawl's image, which runs in pods of its own."""

    part: str
    script: str
    port_variable: str
    port: int
    liveness: str
    readiness: str
    settings: Callable[[ManagedFirecrawl], ManagedFirecrawl | FirecrawlWorker]
    """Replicas, resources and overlay of its pods."""


_PROGRAMS = (
    _Program(
        NAME,
        "dist/src/index.js",
        "PORT",
        PORT,
        "/v0/health/liveness",
        "/v0/health/readiness",
        lambda firecrawl: firecrawl,
    ),
    _Program(
        "firecrawl-worker",
        "dist/src/services/queue-worker.js",
        "WORKER_PORT",
        3005,
        "/liveness",
        "/liveness",
        lambda firecrawl: firecrawl.worker,
    ),
    _Program(
        "firecrawl-nuq-worker",
        "dist/src/services/worker/nuq-worker.js",
        "NUQ_WORKER_PORT",
        3006,
        "/health",
        "/health",
        lambda firecrawl: firecrawl.nuq_worker,
    ),
)


def _settings(assistant: AIAssistant) -> ManagedFirecrawl:
    return assistant.spec.firecrawl.settings


def _name(assistant: AIAssistant, part: str = NAME) -> str:
    return names.child(assistant.name, part)


def _key(assistant: AIAssistant, key: str) -> SecretKeyRef:
    return SecretKeyRef(name=_name(assistant), key=key)


def _redis(assistant: AIAssistant) -> Server:
    return Server(assistant, "firecrawl-redis", _settings(assistant).redis, image="redis")


def _redis_options(assistant: AIAssistant) -> tuple[str, ...]:
    """Return lines of its configuration: full, it refuses writes and loses no job.

    Half of its memory is for data. Killed for want of memory, it would read the same data again, and again be killed.
    """
    limit = (_settings(assistant).redis.resources.limits or {}).get("memory")
    data = (f"maxmemory {int(quantity(limit)) // 2}",) if limit else ()
    return (*data, "maxmemory-policy noeviction")


def _database(assistant: AIAssistant) -> Database:
    # Firecrawl's image fills the database of this name, and its timetable works in no other.
    settings = _settings(assistant).postgresql
    return Database(
        assistant,
        "firecrawl-postgresql",
        settings,
        image="firecrawl-postgresql",
        database="postgres",
        user="postgres",
    )


def _credentials(assistant: AIAssistant) -> list[Credential]:
    return [
        Credential(_name(assistant), NAME, single("bull-auth-key")),
        redis.credential(_redis(assistant)),
        postgresql.credential(_database(assistant)),
    ]


def _binding(assistant: AIAssistant) -> Binding:
    return Binding(
        url=f"http://{_name(assistant)}:{PORT}",
        settings={"DEPLOYMENT_MODE": "docker"},
        port=PORT,
        pod_labels=labels.selector(assistant.name, NAME),
    )


def _external(server: ExternalFirecrawl) -> Binding:
    return Binding(
        url=server.url or server.url_from or CLOUD_URL,
        api_key=server.api_key_from,
        ca=server.ca_from,
        settings={"DEPLOYMENT_MODE": server.mode},
    )


def _objects(assistant: AIAssistant, facts: Facts, bindings: Bindings) -> list[Object]:
    return [
        manifests.service(_name(assistant), assistant, NAME, PORT, "http"),
        *(_node(assistant, facts, bindings, program) for program in _PROGRAMS),
        manifests.service(_name(assistant, _BROWSER), assistant, _BROWSER, _BROWSER_PORT, "http"),
        _browser(assistant, facts),
        # Its queues are lost if keys are dropped to make room.
        *redis.objects(_redis(assistant), facts, *_redis_options(assistant)),
        *postgresql.objects(_database(assistant), facts),
    ]


def _deployment(assistant: AIAssistant, part: str, replicas: int, template: Object) -> Object:
    body = {
        "replicas": 0 if assistant.spec.suspend else replicas,
        "selector": {"matchLabels": labels.selector(assistant.name, part)},
        "template": template,
    }
    return manifests.new_object("apps/v1", "Deployment", _name(assistant, part), assistant, part, spec=body)


def _environment(assistant: AIAssistant, bindings: Bindings) -> list[Object]:
    redis_url = SecretKeyRef(name=_redis(assistant).name, key="url")
    database_url = SecretKeyRef(name=_database(assistant).name, key="url")
    searxng = bindings.get("searxng")
    variables = [
        manifests.pod_ip("HOST"),
        env("ENV", "production"),
        env("IS_KUBERNETES", True),
        env("FIRECRAWL_APP_HOST", _name(assistant)),
        env("FIRECRAWL_APP_PORT", PORT),
        env("HOME", manifests.SCRATCH),
        env("USE_DB_AUTHENTICATION", False),
        secret_env("BULL_AUTH_KEY", _key(assistant, "bull-auth-key")),
        secret_env("REDIS_URL", redis_url),
        secret_env("REDIS_RATE_LIMIT_URL", redis_url),
        secret_env("NUQ_DATABASE_URL", database_url),
        secret_env("NUQ_DATABASE_URL_LISTEN", database_url),
        env("PLAYWRIGHT_MICROSERVICE_URL", f"http://{_name(assistant, _BROWSER)}:{_BROWSER_PORT}/scrape"),
    ]
    if searxng:
        url = searxng.url
        variables.append(env("SEARXNG_ENDPOINT", url) if isinstance(url, str) else secret_env("SEARXNG_ENDPOINT", url))
    if _authorities(bindings):
        # Node trusts them beside those that it comes with.
        variables.append(env("NODE_EXTRA_CA_CERTS", f"{_CERTIFICATES}/{_SEARXNG_AUTHORITY}"))
    return variables


def _node(assistant: AIAssistant, facts: Facts, bindings: Bindings, program: _Program) -> Object:
    """Build the pods of one of the programs in Firecrawl's image."""
    settings, spec = _settings(assistant), program.settings(_settings(assistant))
    variables = [*_environment(assistant, bindings), env(program.port_variable, program.port)]
    secrets = manifests.secrets_of(variables)
    authorities = _authorities(bindings)
    volumes = _volumes(authorities)
    container = manifests.container(
        program.part,
        settings.image.reference(facts.images[NAME]),
        settings.image,
        spec.resources,
        command=["node", program.script],
        ports=[{"name": "http", "containerPort": program.port, "protocol": "TCP"}],
        env=variables,
        volumeMounts=manifests.mounts(volumes),
        **probes(
            alive=http(program.liveness, "http"),
            ready=http(program.readiness, "http"),
            start_period=5,
            live_period=30,
            ready_period=10,
        ),
    )
    template = manifests.pod_template(
        assistant,
        program.part,
        user_id=_NODE_USER_ID,
        containers=[container],
        volumes=list(volumes.values()),
        image=settings.image,
        config_hash=facts.config_hash([*secrets, *authorities.values()]),
        overlay=spec.pod_template,
        terminationGracePeriodSeconds=_GRACE_SECONDS,
        topologySpreadConstraints=manifests.spread(labels.selector(assistant.name, program.part)),
    )
    return _deployment(assistant, program.part, spec.replicas, template)


def _authorities(bindings: Bindings) -> dict[str, KeyRef]:
    """Return the certificates of SearXNG, where it needs its own, by the name of their file."""
    searxng = bindings.get("searxng")
    return {_SEARXNG_AUTHORITY: searxng.ca} if searxng and searxng.ca else {}


def _volumes(authorities: Mapping[str, KeyRef]) -> dict[str, Object]:
    """Build the volumes of Firecrawl's own pods, by where they are mounted."""
    found = {manifests.SCRATCH: manifests.scratch("1Gi")}
    if authorities:
        found[_CERTIFICATES] = manifests.certificates(authorities)
    return found


def _browser(assistant: AIAssistant, facts: Facts) -> Object:
    settings = _settings(assistant).browser
    volumes = {
        manifests.SCRATCH: manifests.scratch("2Gi"),
        # A browser's processes share memory here; the container runtime's own default of 64Mi ends them.
        manifests.SHARED_MEMORY: manifests.scratch("1Gi", "shm", medium="Memory"),
    }
    container = manifests.container(
        "browser",
        settings.image.reference(facts.images[_BROWSER]),
        settings.image,
        settings.resources,
        # What the image's own `pnpm start` runs: for a user that is not root, that would download pnpm at each start.
        # https://github.com/firecrawl/firecrawl/pull/4034, apps/playwright-service-ts/package.json
        command=["node", "dist/api.js"],
        ports=[{"name": "http", "containerPort": _BROWSER_PORT, "protocol": "TCP"}],
        env=[env("PORT", _BROWSER_PORT), env("HOME", manifests.SCRATCH)],
        volumeMounts=manifests.mounts(volumes),
        **probes(
            alive=http("/health", "http"),
            ready=http("/health", "http"),
            start_period=5,
            live_period=30,
            ready_period=10,
            ready_timeout=10,
        ),
    )
    template = manifests.pod_template(
        assistant,
        _BROWSER,
        user_id=_NODE_USER_ID,
        containers=[container],
        volumes=list(volumes.values()),
        image=settings.image,
        config_hash=facts.config_hash([]),
        overlay=settings.pod_template,
        topologySpreadConstraints=manifests.spread(labels.selector(assistant.name, _BROWSER)),
    )
    return _deployment(assistant, _BROWSER, settings.replicas, template)


def _workloads(assistant: AIAssistant) -> list[Workload]:
    block = "spec.firecrawl.managed"
    stores = [(_redis(assistant), f"{block}.redis.storage"), (_database(assistant), f"{block}.postgresql.storage")]
    return [
        *(Workload("Deployment", _name(assistant, part), part) for part in (*(p.part for p in _PROGRAMS), _BROWSER)),
        *(
            Workload("StatefulSet", server.name, server.component, {"volumeClaimTemplates": field})
            for server, field in stores
        ),
    ]


def _connections(assistant: AIAssistant, bindings: Bindings) -> list[Connection]:
    """Return the ways of its programs: to its own servers and each other, to SearXNG, and to pages."""
    found = [Connection(_BROWSER, host=ANYWHERE)]
    for program in _PROGRAMS:
        found += [
            Connection(program.part, part=_redis(assistant).component, port=redis.PORT),
            Connection(program.part, part=_database(assistant).component, port=postgresql.PORT),
            Connection(program.part, part=_BROWSER, port=_BROWSER_PORT),
            Connection(program.part, part=NAME, port=PORT),
            Connection(program.part, host=ANYWHERE),
        ]
        if searxng := bindings.get("searxng"):
            found += to_binding(program.part, searxng)
    return found


COMPONENT = Component(
    name=NAME,
    condition="FirecrawlReady",
    workloads=_workloads,
    enabled=lambda spec: spec.firecrawl.enabled,
    block="spec.firecrawl",
    backend=lambda spec: spec.firecrawl,
    binding=_binding,
    external=_external,
    objects=_objects,
    connections=_connections,
    credentials=_credentials,
)
