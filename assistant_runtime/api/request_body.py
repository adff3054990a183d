"""A request's body: read whole, decoded once, and validated with an error that names the field."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import orjson
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.types import Receive

from assistant_runtime.errors import ApiError
from assistant_runtime.settings.values import field_path

INEXACT = 2.0**63
"""From here on the parser may have made a float of an integer."""


async def read_body(receive: Receive) -> bytes | None:
    """Read the request's body; None if the client left before its end."""
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return parts[0] if len(parts) == 1 else b"".join(parts)


def parse(body: bytes, model: type[BaseModel]) -> dict[str, Any]:
    """Decode and validate a request by its model; what is returned is the client's own JSON.

    Raises
    ------
    ApiError
        400, naming the field.
    """
    try:
        payload = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ApiError(400, f"The body is not valid JSON: {error}", code="invalid_json") from None
    try:
        # In one list more than it is sent with, because a cache key is made of it in a list.
        orjson.dumps([payload])
    except orjson.JSONEncodeError:
        raise ApiError(400, "The body is nested too deeply.", code="invalid_json") from None
    if not isinstance(payload, dict):
        raise ApiError(400, "The body must be a JSON object.", code="invalid_type")
    try:
        model.model_validate(payload)
    except ValidationError as error:
        raise invalid_request(error.errors(include_input=False, include_url=False)[0], payload) from None
    if any(type(value) is float and abs(value) >= INEXACT for value in payload.values()):
        _restore_integers(payload, body)
    return payload


def _restore_integers(payload: dict[str, Any], body: bytes) -> None:
    """Write integers of more than 64 bits, such as a seed, as the client did: the parser makes floats of them."""
    exact = json.loads(body)
    for name, value in exact.items():
        if type(value) is int and type(payload[name]) is float:
            payload[name] = orjson.Fragment(str(value))


def invalid_request(detail: Any, payload: Any) -> ApiError:
    """Turn pydantic's first finding about `payload` into OpenAI's error."""
    kind = detail["type"]
    code = "invalid_value"
    if kind == "missing":
        code = "missing_required_parameter"
    elif kind.endswith("_type"):
        code = "invalid_type"
    loc = detail["loc"] if kind == "missing" else list(_present(detail["loc"], payload))
    param = field_path(loc)
    return ApiError(400, f"{param}: {detail['msg']}", code=code, param=param)


def invalid_parameters(error: RequestValidationError) -> ApiError:
    """Turn FastAPI's first finding about a request into OpenAI's error."""
    detail = error.errors()[0]
    place, *loc = detail["loc"]
    if detail["type"] == "json_invalid":
        return ApiError(400, f"The body is not valid JSON: {detail['ctx']['error']}", code="invalid_json")
    if place == "body" and isinstance(error.body, bytes):
        message = "Send the body as JSON, with the header Content-Type: application/json."
        return ApiError(415, message, code="unsupported_media_type")
    if place == "body":
        return invalid_request({**detail, "loc": loc}, error.body)
    return ApiError(400, f"{field_path(loc)}: {detail['msg']}", code="invalid_value", param=field_path(loc))


def _present(loc: Sequence[int | str], payload: Any) -> Iterator[int | str]:
    """Give the leading parts of `loc` that are in the request; pydantic appends the name of the type it tried."""
    for part in loc:
        try:
            payload = payload[part]
        except (KeyError, IndexError, TypeError):
            return
        yield part
