"""GET /v1/models."""

from fastapi import APIRouter

from assistant_runtime.api.schemas import Model, ModelList
from assistant_runtime.providers.health import ProviderWatch


def models_router(watch: ProviderWatch) -> APIRouter:
    """Give the route that lists models."""
    router = APIRouter(tags=["models"])

    @router.get("/v1/models", summary="Models of every provider, as last listed")
    async def models() -> ModelList:
        return ModelList(data=[Model.model_validate(entry) for entry in watch.models()])

    return router
