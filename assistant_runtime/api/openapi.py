"""The OpenAPI document: FastAPI's own, and the chat route, which is a plain Starlette endpoint."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from assistant_runtime.api.schemas import ChatCompletion, ChatRequest, ErrorAnswer

REF = "#/components/schemas/{model}"

ERRORS = {
    "400": "The request is malformed; `param` names the field.",
    "401": "No API key, or not a valid one.",
    "404": "The provider does not have the model.",
    "413": "The request is larger than MAX_REQUEST_BYTES.",
    "429": "Too many requests, here or at the provider; see Retry-After.",
    "502": "The provider can't be reached, or failed.",
    "503": "The provider is overloaded, or none is configured.",
    "504": "The provider did not answer in time.",
}


def install_openapi(app: FastAPI, *, authenticated: bool) -> None:
    """Make `app` describe every route it has."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app, authenticated=authenticated)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]  # FastAPI's documented way to extend the document


def _document(app: FastAPI, *, authenticated: bool) -> dict[str, Any]:
    document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    components = document.setdefault("components", {})
    models: list[tuple[type[BaseModel], Any]] = [
        (ChatRequest, "validation"),
        (ChatCompletion, "validation"),
        (ErrorAnswer, "validation"),
    ]
    _, schemas = models_json_schema(models, ref_template=REF)
    components.setdefault("schemas", {}).update(schemas["$defs"])
    document["paths"]["/v1/chat/completions"] = {"post": _chat()}
    if authenticated:
        components["securitySchemes"] = {"apiKey": {"type": "http", "scheme": "bearer"}}
        for path, operations in document["paths"].items():
            if path.startswith("/v1/"):
                for operation in operations.values():
                    operation["security"] = [{"apiKey": []}]
    return document


def _chat() -> dict[str, Any]:
    answers: dict[str, Any] = {
        "200": {
            "description": "The answer; as server-sent events when `stream` is true.",
            "content": {
                "application/json": {"schema": _ref(ChatCompletion)},
                "text/event-stream": {
                    "schema": {"type": "string"},
                    "example": 'data: {"choices":[{"delta":{"content":"Paris"}}]}\n\ndata: [DONE]\n\n',
                },
            },
        }
    }
    for status, description in ERRORS.items():
        answers[status] = {
            "description": description,
            "content": {"application/json": {"schema": _ref(ErrorAnswer)}},
        }
    return {
        "tags": ["chat"],
        "summary": "Answer a conversation",
        "operationId": "create_chat_completion",
        "requestBody": {"required": True, "content": {"application/json": {"schema": _ref(ChatRequest)}}},
        "responses": answers,
    }


def _ref(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": REF.format(model=model.__name__)}
