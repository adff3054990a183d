"""GET /health, /ready and /metrics: what Kubernetes and Prometheus ask."""

from collections.abc import Mapping

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST

from assistant_runtime.api.schemas import Health, Readiness
from assistant_runtime.checks import Check
from assistant_runtime.lifecycle import Lifecycle
from assistant_runtime.telemetry import Metrics

SERVING = frozenset({"up", "embedded"})
"""Statuses of a dependency that does its work."""


def readiness(checks: Mapping[str, Check], lifecycle: Lifecycle) -> Readiness:
    """Ask every dependency, from memory: required ones decide, optional ones degrade."""
    results = {name: check.check() for name, check in checks.items()}
    down = {name for name, result in results.items() if result["status"] not in SERVING}
    missing = {name for name in down if results[name]["required"]}
    degraded = sorted((down - missing) | {name for name, result in results.items() if result.get("degraded")})
    if lifecycle.draining:
        return Readiness(status="draining", checks=results, degraded=degraded)
    if missing:
        return Readiness(status="not_ready", checks=results, degraded=degraded)
    return Readiness(status="degraded" if degraded else "ready", checks=results, degraded=degraded)


def health_router(checks: Mapping[str, Check], lifecycle: Lifecycle) -> APIRouter:
    """Give the routes of the probes."""
    router = APIRouter(tags=["operation"])

    @router.get("/health", summary="Alive; checks no dependency")
    async def health() -> Health:
        return Health()

    @router.get(
        "/ready",
        summary="Ready to serve, dependency by dependency",
        responses={
            503: {"model": Readiness, "description": "A required dependency is down, or the runtime is shutting down."}
        },
    )
    async def ready(response: Response) -> Readiness:
        state = readiness(checks, lifecycle)
        response.status_code = 200 if state.status in {"ready", "degraded"} else 503
        return state

    return router


def metrics_router(metrics: Metrics) -> APIRouter:
    """Give the route that Prometheus scrapes."""
    router = APIRouter(tags=["operation"])

    @router.get(
        "/metrics",
        summary="Metrics in Prometheus's text format",
        response_class=Response,
        responses={200: {"content": {"text/plain": {"example": 'http_requests_total{method="GET"} 1.0'}}}},
    )
    async def exposition() -> Response:
        return Response(metrics.exposition(), media_type=CONTENT_TYPE_LATEST)

    return router
