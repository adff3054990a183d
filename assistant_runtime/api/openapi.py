"""The OpenAPI document: FastAPI's own, and the routes that are plain Starlette endpoints."""

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from assistant_runtime.api import session_header
from assistant_runtime.api.responses.request import ResponsesRequest
from assistant_runtime.api.schemas import (
    ChatCompletion,
    ChatRequest,
    CompletionRequest,
    EmbeddingsAnswer,
    EmbeddingsRequest,
    ErrorAnswer,
    ResponseAnswer,
    TextCompletion,
)

REF = "#/components/schemas/{model}"

SESSION_HEADER = {
    "name": session_header.NAME,
    "in": "header",
    "schema": {"type": "string", "examples": ["sess_0f8fad5bd9cb469fa16570867728950e"]},
    "description": "Names the session, like `assistant.session`. Other programs' ids have no effect.",
}

IDEMPOTENCY_HEADER = {
    "name": "Idempotency-Key",
    "in": "header",
    "schema": {"type": "string", "examples": ["0b7e1c5e-6a53-4a0e-9d1c-6a1f5d1d7c11"]},
    "description": "Identifies this request: a repeat gets the same answer and calls no model.",
}

STREAM_EXAMPLE = 'data: {"choices":[{"delta":{"content":"Paris"}}]}\n\ndata: [DONE]\n\n'

TEXT_EXAMPLE = 'data: {"choices":[{"index":0,"text":" Paris"}]}\n\ndata: [DONE]\n\n'

RESPONSE_EXAMPLE = (
    'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","sequence_number":4,"delta":"Paris"}'
    "\n\n"
)

ERRORS = {
    "400": "The request is malformed; `param` names the field.",
    "401": "The API key is missing or invalid.",
    "404": "It does not exist, or no provider has the model.",
    "408": "The request did not arrive in time.",
    "409": "The request conflicts with the current state.",
    "413": "The request is larger than MAX_REQUEST_BYTES.",
    "415": "The body is not JSON, or the type of file is not supported.",
    "422": "The Idempotency-Key was used for another request.",
    "429": "Too many requests, here or at the provider; see Retry-After.",
    "502": "The provider can't be reached, or failed.",
    "503": "The provider is overloaded, none is configured, or a store does not answer.",
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
        (CompletionRequest, "validation"),
        (TextCompletion, "validation"),
        (ResponsesRequest, "validation"),
        (ResponseAnswer, "validation"),
        (EmbeddingsRequest, "validation"),
        (EmbeddingsAnswer, "validation"),
        (ErrorAnswer, "validation"),
    ]
    _, schemas = models_json_schema(models, ref_template=REF)
    components.setdefault("schemas", {}).update(schemas["$defs"])
    document["paths"] |= _token_paths()
    for path, operations in document["paths"].items():
        if path.startswith("/v1/"):
            for operation in operations.values():
                operation["responses"] = _with_our_errors(operation["responses"])
    if authenticated:
        components["securitySchemes"] = {"apiKey": {"type": "http", "scheme": "bearer"}}
        for path, operations in document["paths"].items():
            if path.startswith("/v1/"):
                for operation in operations.values():
                    operation["security"] = [{"apiKey": []}]
    return document


def _token_paths() -> dict[str, Any]:
    """Give the operations that tokens go through: their endpoints read bodies by themselves, so FastAPI knows none."""
    return {
        "/v1/chat/completions": {
            "post": _operation(
                "create_chat_completion",
                "chat",
                "Create a chat completion",
                ChatRequest,
                ChatCompletion,
                stream_example=STREAM_EXAMPLE,
                parameters=[SESSION_HEADER, IDEMPOTENCY_HEADER],
            )
        },
        "/v1/completions": {
            "post": _operation(
                "create_completion",
                "chat",
                "Complete a text",
                CompletionRequest,
                TextCompletion,
                stream_example=TEXT_EXAMPLE,
                parameters=[IDEMPOTENCY_HEADER],
            )
        },
        "/v1/responses": {
            "post": _operation(
                "create_response",
                "responses",
                "Create a response",
                ResponsesRequest,
                ResponseAnswer,
                stream_example=RESPONSE_EXAMPLE,
                parameters=[SESSION_HEADER, IDEMPOTENCY_HEADER],
            )
        },
        "/v1/embeddings": {
            "post": _operation(
                "create_embeddings", "embeddings", "Create embeddings", EmbeddingsRequest, EmbeddingsAnswer
            )
        },
    }


def _with_our_errors(responses: dict[str, Any]) -> dict[str, Any]:
    """Describe the errors that every route of the API can answer, in place of FastAPI's own."""
    common = {status: _error(ERRORS[status]) for status in ("400", "401", "404", "409", "413", "415", "429", "503")}
    return {**common, **{status: answer for status, answer in responses.items() if status != "422"}}


def _error(description: str) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": _ref(ErrorAnswer)}}}


def _operation(
    name: str,
    tag: str,
    summary: str,
    asked: type[BaseModel],
    answer: type[BaseModel],
    *,
    stream_example: str = "",
    parameters: Sequence[dict[str, Any]] = (),
) -> dict[str, Any]:
    """Describe a POST of one of our models that is answered with another, or with a stream as the example has it."""
    content: dict[str, Any] = {"application/json": {"schema": _ref(answer)}}
    if stream_example:
        content["text/event-stream"] = {"schema": {"type": "string"}, "example": stream_example}
    stream = "; as server-sent events when `stream` is true" if stream_example else ""
    answers: dict[str, Any] = {"200": {"description": f"The answer{stream}.", "content": content}}
    answers |= {status: _error(description) for status, description in ERRORS.items()}
    return {
        "tags": [tag],
        "summary": summary,
        "operationId": name,
        "parameters": list(parameters),
        "requestBody": {"required": True, "content": {"application/json": {"schema": _ref(asked)}}},
        "responses": answers,
    }


def _ref(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": REF.format(model=model.__name__)}
