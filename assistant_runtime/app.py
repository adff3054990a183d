"""Put the application together: the one place that knows which parts there are.

Nothing here lives at module level: two applications in one process share nothing.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import structlog
from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.routing import Route

from assistant_runtime.api.chat import ChatCompletions
from assistant_runtime.api.embeddings import EmbeddingsEndpoint, record_embeddings
from assistant_runtime.api.health import health_router, metrics_router
from assistant_runtime.api.middleware import BodyLimit, ErrorAnswers, Gate, RequestRecord
from assistant_runtime.api.models import models_router
from assistant_runtime.api.openapi import install_openapi
from assistant_runtime.children import ChildProcess
from assistant_runtime.errors import ApiError
from assistant_runtime.lifecycle import Lifecycle
from assistant_runtime.providers.base import Provider
from assistant_runtime.providers.embeddings import Embeddings
from assistant_runtime.providers.health import ProviderWatch
from assistant_runtime.providers.openai_compatible import OpenAICompatibleProvider
from assistant_runtime.providers.routing import Routing
from assistant_runtime.security.api_keys import ApiKeys
from assistant_runtime.security.rate_limit import RateLimit
from assistant_runtime.settings import Settings
from assistant_runtime.stores import Backend, CacheStore, Check, RateLimitStore
from assistant_runtime.stores.embedded import EmbeddedStores
from assistant_runtime.stores.memory import MemoryCache, MemoryRateLimits
from assistant_runtime.stores.response_cache import ResponseCache
from assistant_runtime.telemetry import Metrics
from assistant_runtime.turn import Turns

DESCRIPTION = "An OpenAI-compatible API in front of OpenAI-compatible providers."

EXPOSED_HEADERS = (
    "retry-after",
    "x-cache",
    "x-provider",
    "x-request-id",
    "x-ratelimit-limit-requests",
    "x-ratelimit-remaining-requests",
    "x-ratelimit-reset-requests",
)
"""What a browser's script may read."""


@dataclass(frozen=True, slots=True)
class Stores:
    """The stores in use, and what keeps them."""

    limits: RateLimitStore
    cache: CacheStore
    check: Check
    backend: Backend | None = None


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
    metrics = Metrics(enabled=settings.metrics_collection_enabled)
    providers = [OpenAICompatibleProvider(provider) for provider in settings.providers_in_order]
    watch = ProviderWatch(providers)
    stores = choose_stores(settings)
    routing = Routing(providers, watch, fallback=settings.enable_provider_fallback)
    turns = Turns(routing, _response_cache(settings, stores), metrics, watch)
    app = FastAPI(
        title="Assistant runtime",
        version=version("ai-assistant-operator"),
        description=DESCRIPTION,
        lifespan=_lifespan(providers, watch, stores, metrics, _children(settings)),
    )
    # First, because routes are tried in order and this is the hot one.
    app.router.routes.insert(0, Route("/v1/chat/completions", ChatCompletions(turns), methods=["POST"]))
    embeddings = Embeddings(routing, settings.embedding_model, record_embeddings(metrics, routing.is_known))
    app.router.routes.insert(1, Route("/v1/embeddings", EmbeddingsEndpoint(embeddings), methods=["POST"]))
    app.include_router(models_router(watch))
    app.include_router(health_router({"provider": watch, "redis": stores.check}, lifecycle))
    if settings.metrics_collection_enabled:
        app.include_router(metrics_router(metrics))
    _add_middleware(app, settings, stores, metrics, lifecycle)
    _add_error_handlers(app)
    install_openapi(app, authenticated=bool(settings.api_keys))
    return app


def choose_stores(settings: Settings) -> Stores:
    """Pick the stores: Redis where there is one, this process otherwise."""
    if settings.redis_url is None:
        return Stores(MemoryRateLimits(), MemoryCache(), EmbeddedStores())
    from assistant_runtime.stores.redis import (  # noqa: PLC0415 - the SDK is imported only where it is used
        RedisCache,
        RedisConnection,
        RedisRateLimits,
    )
    from assistant_runtime.stores.redis_client import redis_client  # noqa: PLC0415

    connection = RedisConnection(redis_client(settings))
    return Stores(RedisRateLimits(connection), RedisCache(connection), connection, connection)


def _response_cache(settings: Settings, stores: Stores) -> ResponseCache | None:
    if not settings.redis_cache_enabled:
        return None
    return ResponseCache(stores.cache, settings.hmac_key, settings.cache_ttl, compression=settings.cache_compression)


def _add_middleware(app: FastAPI, settings: Settings, stores: Stores, metrics: Metrics, lifecycle: Lifecycle) -> None:
    """Wrap the routes, innermost first."""
    keys = ApiKeys((key.get_secret_value() for key in settings.api_keys), settings.hmac_key)
    limit = RateLimit(
        stores.limits,
        MemoryRateLimits(),
        limit=settings.rate_limit_requests,
        window=settings.rate_limit_window,
    )
    app.add_middleware(BodyLimit, max_bytes=settings.max_request_bytes)
    app.add_middleware(
        Gate,
        keys=keys,
        limit=limit if settings.rate_limit_enabled else None,
        metrics=metrics,
        behind_proxy=settings.behind_proxy,
    )
    app.add_middleware(ErrorAnswers, debug=settings.debug)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=("GET", "POST"),
            # Clients send headers of their own, as OpenAI's do; the origin and the key are what is checked.
            allow_headers=("*",),
            expose_headers=EXPOSED_HEADERS,
        )
    app.add_middleware(RequestRecord, metrics=metrics, lifecycle=lifecycle)


def _add_error_handlers(app: FastAPI) -> None:
    """Give the frameworks' own errors the shape of ours."""

    async def http_error(_: Request, error: Exception) -> Response:
        status = getattr(error, "status_code", 500)
        code = {404: "not_found", 405: "method_not_allowed"}.get(status)
        answer = ApiError(status, str(getattr(error, "detail", "")), code=code)
        headers = {**(getattr(error, "headers", None) or {}), "content-type": "application/json"}
        return Response(answer.body, status, headers)

    app.add_exception_handler(HTTPException, http_error)


def _children(settings: Settings) -> list[ChildProcess]:
    """Give the processes that belong to this one."""
    if not settings.gradio_enabled:
        return []
    return [
        ChildProcess("chat_page", [sys.executable, "-m", "assistant_runtime", "page"], {"PORT": str(settings.port)})
    ]


def _lifespan(
    providers: Sequence[Provider],
    watch: ProviderWatch,
    stores: Stores,
    metrics: Metrics,
    children: Sequence[ChildProcess],
) -> Any:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for provider in providers:
                await stack.enter_async_context(provider)
            background = [watch.run(), metrics.watch_event_loop(), *(child.run() for child in children)]
            if stores.backend is not None:
                await stores.backend.probe()
                stack.push_async_callback(stores.backend.aclose)
                background.append(stores.backend.run())
            stack.push_async_callback(_cancel, [_supervised(each) for each in background])
            yield

    return lifespan


def _supervised(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Run work in the background; if it ends by a bug, that is logged rather than forgotten."""

    def report(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            structlog.get_logger(__name__).error("background_task_failed", exc_info=task.exception())

    task = asyncio.create_task(work)
    task.add_done_callback(report)
    return task


async def _cancel(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
