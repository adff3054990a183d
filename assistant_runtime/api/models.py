"""/v1/models: everything that a chat may name as its model, providers' models and agents alike."""

from collections.abc import Collection

from fastapi import APIRouter, Request

from assistant_runtime.agents.base import MODEL_PREFIX
from assistant_runtime.agents.directory import Directory
from assistant_runtime.api.context import context_of
from assistant_runtime.api.schemas import Model, ModelList
from assistant_runtime.errors import ModelNotFoundError
from assistant_runtime.providers.health import ProviderWatch
from assistant_runtime.providers.routing import DEFAULT_MODEL

OWNER = "assistant"
"""Of what is no provider's model."""


def _allowed(name: str, allowed: Collection[str]) -> bool:
    """Whether a model is among those that a key may ask, with its provider's name or without."""
    provider, _, model = name.partition("/")
    return name in allowed or (bool(model) and provider != MODEL_PREFIX.rstrip("/") and model in allowed)


def models_router(watch: ProviderWatch, agents: Directory) -> APIRouter:
    """Give the routes that list models."""
    router = APIRouter(tags=["models"])

    async def known(request: Request) -> list[Model]:
        listed = [Model.model_validate(entry) for entry in watch.models()]
        names = [f"{MODEL_PREFIX}{name}" for name in await agents.names(context_of(request.scope).principal)]
        own = [DEFAULT_MODEL, *names] if listed else names
        every = [Model(id=name, created=0, owned_by=OWNER) for name in own] + listed
        allowed = context_of(request.scope).principal.models
        return every if allowed is None else [each for each in every if _allowed(each.id, allowed)]

    @router.get("/v1/models", summary="List models: `default`, agents, and every provider's models")
    async def models(request: Request) -> ModelList:
        return ModelList(data=await known(request))

    @router.get("/v1/models/{model:path}", summary="Get a listed model")
    async def model(request: Request, model: str) -> Model:
        found = next((each for each in await known(request) if each.id == model), None)
        if found is None:
            raise ModelNotFoundError(model)
        return found

    return router
