"""Put the application together: the one place that knows which parts there are.

Nothing here lives at module level: two applications in one process share nothing.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from assistant_runtime.agents.directory import Directory
from assistant_runtime.api.agents import agents_router
from assistant_runtime.api.application import Application
from assistant_runtime.api.chat import ChatCompletions
from assistant_runtime.api.completions import Completions
from assistant_runtime.api.docs_page import install_docs
from assistant_runtime.api.documents import documents_router, search_router
from assistant_runtime.api.embeddings import EmbeddingsEndpoint, LocalEmbeddings, record_embeddings
from assistant_runtime.api.health import health_router, metrics_router
from assistant_runtime.api.middleware import BodyLimit, ErrorAnswers, Gate, RequestRecord, ShortWay
from assistant_runtime.api.models import models_router
from assistant_runtime.api.once import Once
from assistant_runtime.api.openapi import install_openapi
from assistant_runtime.api.own_machine import OwnMachine
from assistant_runtime.api.request_body import invalid_parameters
from assistant_runtime.api.rerank import rerank_router
from assistant_runtime.api.responses.endpoint import Responses
from assistant_runtime.api.responses.memory import ResponseMemory
from assistant_runtime.api.responses.routes import responses_router
from assistant_runtime.api.responses.stored import StoredResponses
from assistant_runtime.api.saturation import Saturation
from assistant_runtime.api.sessions import sessions_router
from assistant_runtime.checks import Check
from assistant_runtime.children import ChildProcess
from assistant_runtime.ending import end
from assistant_runtime.errors import ApiError
from assistant_runtime.in_flight import counts_of_workers
from assistant_runtime.lifecycle import Lifecycle
from assistant_runtime.memory import MemoryShares
from assistant_runtime.parts import Part, lifespan_of
from assistant_runtime.providers.embeddings import Embeddings
from assistant_runtime.providers.health import ProviderWatch
from assistant_runtime.providers.openai_compatible import OpenAICompatibleProvider
from assistant_runtime.providers.reranker import Reranker, reranker_of
from assistant_runtime.providers.routing import Routing
from assistant_runtime.rag.embedder import Embedder, embedder_of
from assistant_runtime.rag.library import Library, library_of
from assistant_runtime.rag.local_embedder import LocalEmbedder
from assistant_runtime.retention import JOBS_AT_ONCE, Lifetime, Retention, lifetimes
from assistant_runtime.security.choice import Security, choose_security
from assistant_runtime.security.key_ring import key_ring_of
from assistant_runtime.security.parallel import ParallelRequests
from assistant_runtime.settings import Settings
from assistant_runtime.settings.ui import page_environment
from assistant_runtime.settings.values import is_loopback, one_address
from assistant_runtime.stores import Backend
from assistant_runtime.stores.choice import Stores, choose_stores
from assistant_runtime.stores.kept_answers import MemoryAnswers
from assistant_runtime.stores.response_cache import ResponseCache
from assistant_runtime.supervisor import Supervisor, Work
from assistant_runtime.telemetry import Metrics, metrics_server
from assistant_runtime.tool_loop.loop import ToolLoop
from assistant_runtime.tool_loop.runner import Environment, Limits
from assistant_runtime.tools.catalogue import toolsets
from assistant_runtime.tools.toolbox import Toolbox
from assistant_runtime.tracing import OpenTelemetryTracing
from assistant_runtime.turn import Turns

FIRST_PROBE_SECONDS = 1.5
"""A process is to be ready within two seconds, whatever hangs."""

CLOSE_SECONDS = 3.0
"""For the goodbye to a server, which one that hangs does not answer; the grace period is for answers."""

if TYPE_CHECKING:
    from assistant_runtime.writers.store import JobStore

DESCRIPTION = "An OpenAI-compatible API in front of OpenAI-compatible providers."

EXPOSED_HEADERS = (
    "idempotent-replayed",
    "retry-after",
    "x-agent-version",
    "x-cache",
    "x-ignored-params",
    "x-provider",
    "x-request-id",
    "x-ratelimit-limit-parallel-requests",
    "x-ratelimit-limit-requests",
    "x-ratelimit-limit-tokens",
    "x-ratelimit-remaining-parallel-requests",
    "x-ratelimit-remaining-requests",
    "x-ratelimit-remaining-tokens",
    "x-ratelimit-reset-requests",
    "x-ratelimit-reset-tokens",
    "x-session-version",
)
"""What a browser's script may read."""


@dataclass(frozen=True, slots=True)
class Core:
    """What the other parts stand on."""

    settings: Settings
    metrics: Metrics
    watch: ProviderWatch
    saturation: Saturation
    supervisor: Supervisor
    stores: Stores
    security: Security
    turns: Turns
    embeddings: Embeddings
    embedder: Embedder | None
    part: Part


def create_app(settings: Settings, lifecycle: Lifecycle | None = None) -> FastAPI:
    """Build the application.

    Parameters
    ----------
    settings
        What to build.
    lifecycle
        Shared with the server that takes the signals.
    """
    lifecycle = lifecycle or Lifecycle()
    core = _core(settings)
    reranker = reranker_of(settings)
    memory = MemoryShares()
    retrieval, library = _retrieval(settings, core.embedder, reranker, memory)
    found = toolsets(settings, reranker if settings.jina_reranker_tool_enabled else None, library, memory)
    loop, assistant = _assistant(core, Toolbox(list(found)))
    parts = [
        core.part,
        _metrics_part(settings, core.metrics),
        _stores_part(core.stores),
        _security_part(core.security),
        _retention(settings, core.stores, core.security),
        retrieval,
        assistant,
        _local_model(settings),
        _page(settings),
        _writers(core),
    ]
    app = Application(
        title="Assistant runtime",
        version=version("ai-assistant-operator"),
        description=DESCRIPTION,
        # Theirs load a program from another site.
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan_of(parts, core.supervisor),
        # Traces and metrics are ours: FastAPI's own would come on top as soon as anything sets a global provider.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    routes = _add_routes(app, core, loop, parts, lifecycle)
    _add_middleware(app, core, lifecycle, routes)
    _add_error_handlers(app)
    install_openapi(app, authenticated=core.security.authentication.required)
    install_docs(app)
    return app


def _core(settings: Settings) -> Core:
    tracing = choose_tracing(settings)
    metrics = Metrics(enabled=settings.metrics_collection_enabled, tracing=tracing, shared=settings.workers > 1)
    providers = [OpenAICompatibleProvider(provider) for provider in settings.providers_in_order]
    watch = ProviderWatch(providers)
    saturation = Saturation(
        settings.max_concurrent_requests, settings.max_event_loop_lag_seconds, counts_of_workers(settings.workers)
    )
    supervisor = Supervisor(metrics)
    stores = choose_stores(settings)
    routing = Routing(
        providers,
        watch,
        fallback=settings.enable_provider_fallback,
        breaker_failures=settings.provider_breaker_failures,
        breaker_seconds=settings.provider_breaker_seconds,
        configured=settings.named_models,
    )
    embeddings = Embeddings(routing, settings.embedding_model, record_embeddings(metrics, routing.is_known))
    return Core(
        settings,
        metrics,
        watch,
        saturation,
        supervisor,
        stores,
        choose_security(settings, stores, metrics.record_refused),
        Turns(routing, _response_cache(settings, stores), metrics, watch),
        embeddings,
        embedder_of(settings, embeddings),
        Part(
            resources=[*([tracing.running()] if tracing else ()), *providers],
            background={**watch.works(), "event-loop": lambda: metrics.watch_event_loop(saturation.note_lag)},
            checks={"provider": watch, "capacity": saturation, "background": supervisor},
        ),
    )


def _add_routes(
    app: FastAPI, core: Core, loop: ToolLoop, parts: Sequence[Part], lifecycle: Lifecycle
) -> Sequence[BaseRoute]:
    """Route to every part, and give the parts' routes; the hot endpoints first, because routes are tried in order."""
    stored = StoredResponses(core.stores.conversations, core.stores.history)
    memory = ResponseMemory(core.stores.conversations, core.settings.session_history_messages)
    once = _once(core)
    responses = Responses(core.turns, loop, memory, stored, once)
    local = LocalEmbeddings(core.embedder, core.metrics) if isinstance(core.embedder, LocalEmbedder) else None
    hot = [
        Route("/v1/chat/completions", ChatCompletions(core.turns, loop, once), methods=["POST"]),
        Route("/v1/completions", Completions(core.turns, once), methods=["POST"]),
        Route("/v1/embeddings", EmbeddingsEndpoint(core.embeddings, local), methods=["POST"]),
        Route("/v1/responses", responses, methods=["POST"]),
    ]
    app.router.routes[:0] = hot
    app.add_middleware(ShortWay, routes=hot)
    checks = {name: check for part in parts for name, check in part.checks.items()}
    routers = [
        *(router for part in parts for router in part.routers),
        responses_router(stored),
        health_router(checks, lifecycle),
    ]
    settings = core.settings
    if settings.metrics_collection_enabled and settings.prometheus_enabled and settings.prometheus_port is None:
        routers.append(metrics_router(core.metrics))
    for router in routers:
        app.include_router(router)
    return [route for router in routers for route in router.routes]


def _once(core: Core) -> Once | None:
    """Give what answers requests of one Idempotency-Key once, where answers are kept for that."""
    seconds = core.settings.idempotency_ttl
    return Once(core.stores.answers, MemoryAnswers(), seconds) if seconds else None


def choose_tracing(settings: Settings) -> OpenTelemetryTracing | None:
    """Give the tracing, where an endpoint is set."""
    if settings.otel_exporter_otlp_endpoint is None:
        return None
    headers = settings.otel_exporter_otlp_headers
    return OpenTelemetryTracing(
        settings.otel_exporter_otlp_endpoint,
        settings.otel_service_name,
        headers.get_secret_value() if headers else "",
        settings.otel_exporter_otlp_certificate,
    )


def _metrics_part(settings: Settings, metrics: Metrics) -> Part:
    """Serve the metrics on a port of their own, where one is named; for several workers, who started them does."""
    if settings.metrics_port is None or settings.workers > 1:
        return Part()
    return Part(resources=[metrics_server(metrics, one_address(settings.host), settings.metrics_port)])


def _response_cache(settings: Settings, stores: Stores) -> ResponseCache | None:
    if not settings.redis_cache_enabled:
        return None
    return ResponseCache(
        stores.cache, key_ring_of(settings).key("cache"), settings.cache_ttl, compression=settings.cache_compression
    )


def _add_middleware(app: FastAPI, core: Core, lifecycle: Lifecycle, routes: Sequence[BaseRoute]) -> None:
    """Wrap the routes, innermost first."""
    settings, security = core.settings, core.security
    app.add_middleware(BodyLimit, max_bytes=settings.max_request_bytes)
    app.add_middleware(
        Gate,
        authentication=security.authentication,
        limit=security.limit,
        accounts=security.accounts,
        metrics=core.metrics,
        saturation=core.saturation,
        parallel=ParallelRequests(settings.max_parallel_requests),
        behind_proxy=settings.behind_proxy,
    )
    if is_loopback(settings.host) and not settings.behind_proxy and not security.authentication.required:
        app.add_middleware(OwnMachine, origins=settings.cors_origins)
    app.add_middleware(ErrorAnswers, debug=settings.debug)
    if security.audit is not None:
        from assistant_runtime.api.audit import AuditTrail  # noqa: PLC0415 - imported only where it is used

        app.add_middleware(AuditTrail, log=security.audit, behind_proxy=settings.behind_proxy)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=("GET", "POST", "PUT", "PATCH", "DELETE"),
            # Clients send headers of their own, as OpenAI's do; the origin and the key are what is checked.
            allow_headers=("*",),
            expose_headers=EXPOSED_HEADERS,
        )
    app.add_middleware(RequestRecord, metrics=core.metrics, lifecycle=lifecycle, routes=routes)


def _add_error_handlers(app: FastAPI) -> None:
    """Give the frameworks' own errors the shape of ours."""

    async def http_error(_: Request, error: Exception) -> Response:
        status = getattr(error, "status_code", 500)
        code = {404: "not_found", 405: "method_not_allowed"}.get(status)
        answer = ApiError(status, str(getattr(error, "detail", "")), code=code)
        headers = {**(getattr(error, "headers", None) or {}), "content-type": "application/json"}
        return Response(answer.body, status, headers)

    async def bad_request(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101 - what it is registered for
        raise invalid_parameters(error)

    app.add_exception_handler(HTTPException, http_error)
    app.add_exception_handler(RequestValidationError, bad_request)


def _stores_part(stores: Stores) -> Part:
    """Give the connections that the stores are kept over, and the sessions' routes."""
    return Part(
        routers=[sessions_router(stores.conversations, stores.history)],
        resources=[_connected(stores.backends)],
        background={name: work for backend in stores.backends for name, work in backend.works().items()},
        checks=stores.checks,
    )


def _retention(settings: Settings, stores: Stores, security: Security) -> Part:
    """Delete what has expired, where it is kept."""
    return Part(background={"retention": Retention(lifetimes(settings, stores, security.audit)).run})


def _security_part(security: Security) -> Part:
    """Give what administrators ask for, and what goes on meanwhile: the ledger, the audit log, an issuer's keys."""
    background: dict[str, Work] = {"audit": security.audit.run} if security.audit is not None else {}
    checks: dict[str, Check] = {}
    if security.tokens is not None:
        background["oidc"] = security.tokens.run
        checks["oidc"] = security.tokens
    if security.managed is None or security.ledger is None:
        return Part(background=background, checks=checks)
    from assistant_runtime.api.keys import keys_router  # noqa: PLC0415 - imported only where it is used
    from assistant_runtime.api.users import users_router  # noqa: PLC0415

    routers = [keys_router(security.managed), users_router(security.managed)]
    return Part(routers=routers, background=background | {"usage": security.ledger.run}, checks=checks)


@asynccontextmanager
async def _connected(backends: Sequence[Backend]) -> AsyncIterator[None]:
    """Ask every server once before anyone else does, and close the connections in the end."""
    if backends:
        probes = [asyncio.create_task(backend.open()) for backend in backends]  # noqa: TID251 - ended below
        _, hanging = await asyncio.wait(probes, timeout=FIRST_PROBE_SECONDS)
        await end(*hanging)
    try:
        yield
    finally:
        await asyncio.gather(*map(_close, backends))


async def _close(backend: Backend) -> None:
    """Close a server's connections, as far as its client does so in time."""
    try:
        async with asyncio.timeout(CLOSE_SECONDS):
            await backend.aclose()
    except Exception as error:  # noqa: BLE001 - the process ends, and its connections with it
        structlog.get_logger(__name__).warning("store_not_closed", store=backend.name, detail=type(error).__name__)


def _assistant(core: Core, toolbox: Toolbox) -> tuple[ToolLoop, Part]:
    """Give what answers with tools and agents, and what that needs."""
    settings = core.settings
    agents = Directory(settings.configured_agents(), core.stores.agents)
    limits = Limits(
        calls=settings.max_tools_per_query,
        call_seconds=settings.tool_execution_timeout,
        total_seconds=settings.tool_total_timeout,
        total_bytes=settings.tool_total_bytes,
    )
    environment = Environment(limits, core.metrics, key_ring_of(settings).key("fences"))
    loop = ToolLoop(core.turns, toolbox, agents, environment, core.stores.history)
    routers = [agents_router(agents), models_router(core.watch, agents)]
    return loop, Part(routers=routers, resources=[toolbox], background=toolbox.works(), checks=toolbox.checks())


def _local_model(settings: Settings) -> Part:
    """Give the small model of the extra `local`, where it is asked for."""
    if settings.local_model_port is None:
        return Part()
    command = [sys.executable, "-m", "assistant_runtime.local_model", str(settings.local_model_port)]
    return Part(background={"local-model": ChildProcess("local_model", command).run})


def _page(settings: Settings) -> Part:
    """Give the chat page, where it is served beside the API."""
    if not settings.gradio_enabled:
        return Part()
    command = [sys.executable, "-m", "assistant_runtime", "page"]
    return Part(background={"chat-page": ChildProcess("chat_page", command, page_environment(settings)).run})


@asynccontextmanager
async def _closing(embedder: Embedder) -> AsyncIterator[None]:
    try:
        yield
    finally:
        await embedder.aclose()


def _retrieval(
    settings: Settings, embedder: Embedder | None, reranker: Reranker | None, memory: MemoryShares
) -> tuple[Part, Library | None]:
    """Give documents and their search, and reranking; their routes say so where something is missing for them."""
    library, milvus = library_of(settings, embedder, reranker, memory)
    routers = [
        documents_router(library),
        search_router(library, settings.retrieval_limit),
        rerank_router(reranker, embedder),
    ]
    resources: list[AbstractAsyncContextManager[Any]] = [reranker] if reranker else []
    if embedder is not None:
        resources.append(_closing(embedder))
    checks: dict[str, Check] = {"reranker": reranker} if reranker else {}
    background: dict[str, Work] = {"reranker": reranker.watch} if reranker else {}
    if library is None or milvus is None:
        return Part(routers=routers, resources=resources, background=background, checks=checks), None
    checks["milvus"] = milvus
    background |= milvus.works()
    return Part(routers=routers, resources=[*resources, library], background=background, checks=checks), library


def _writers(core: Core) -> Part:
    """Give the writing jobs, where they are served."""
    settings = core.settings
    if not settings.multi_writer_enabled:
        return Part()
    from assistant_runtime.api.writers import writers_router  # noqa: PLC0415 - imported only where it is used
    from assistant_runtime.writers.asking import asking  # noqa: PLC0415
    from assistant_runtime.writers.runner import Runner  # noqa: PLC0415

    store = _writing_jobs(core.stores)
    runner = Runner(store, asking(core.turns, core.security.accounts), settings.writer_jobs_at_once)
    expiry = Retention([Lifetime("jobs", settings.retention_jobs_days, JOBS_AT_ONCE, store.expire)])
    background = {"writing-jobs": runner.run, "retention-of-jobs": expiry.run}
    return Part(routers=[writers_router(store, runner, settings)], background=background)


def _writing_jobs(stores: Stores) -> "JobStore":
    """Pick where writing jobs are kept: MongoDB where there is one, this process otherwise."""
    if stores.mongodb is None:
        from assistant_runtime.writers.store import MemoryJobs  # noqa: PLC0415 - imported only where it is used

        return MemoryJobs()
    from assistant_runtime.writers.mongodb_store import MongoJobs  # noqa: PLC0415

    return MongoJobs(stores.mongodb)
