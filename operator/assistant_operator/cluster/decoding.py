"""What the API server writes, read so that no object and no answer can end the reading.

Whoever may create an object decides how deep it nests: the API server stores 10,000 levels, a JSON decoder reads some
1,000 and a JSON encoder some 250. Nothing that the operator reads nests deeper than `DEEPEST`, so what lies below is
dropped where it would stop the rest from being read.
"""

import re
from typing import Any

import orjson

from assistant_operator.rooms.manifests import Object

DEEPEST = 100
"""Levels of an answer that are read: more than any object needs, and than an overlay of the spec may have."""

_TOKENS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{}]', re.DOTALL)
"""Whole strings, so that a bracket within one is not taken for another level; and brackets."""


class UnreadableError(ValueError):
    """An answer that is not what the API server writes: it lacks what every object has, or is too large."""


def decode(raw: bytes) -> Any:
    """Return the value of a JSON text, without what lies below `DEEPEST` where it is too deep to be read whole.

    Raises
    ------
    orjson.JSONDecodeError
        It is no JSON.
    """
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        return orjson.loads(_cut(raw))


def decode_object(raw: bytes) -> Object:
    """Return the value of a JSON text that is an object.

    Raises
    ------
    orjson.JSONDecodeError, UnreadableError
        It is no JSON, or another value.
    """
    found = decode(raw)
    if not isinstance(found, dict):
        raise UnreadableError(f"the answer is no object but {raw[:100]!r}")
    return found


def encode(value: Any) -> bytes:
    """Return a value as compact JSON, without what lies below `DEEPEST` where it is too deep to be written whole."""
    try:
        written = orjson.dumps(value)
    except orjson.JSONEncodeError:
        written = orjson.dumps(_shallow(value, DEEPEST))
    # orjson shortens the buffer that it wrote to, which keeps the memory around it; what is kept is better a copy.
    return bytes(memoryview(written))


def is_readable(body: Any) -> bool:
    """Tell whether a value has what every object of a namespace has, in the form that the API server gives it."""
    metadata = body.get("metadata") if isinstance(body, dict) else None
    return (
        isinstance(metadata, dict)
        and all(isinstance(metadata.get(field), str) for field in ("name", "namespace", "uid"))
        and is_version(metadata.get("resourceVersion"))
        and isinstance(metadata.get("labels") or {}, dict)
    )


def is_version(value: Any) -> bool:
    """Tell whether a value is a resource version: https://kep.k8s.io/5504 has them be numbers."""
    return isinstance(value, str) and value.isascii() and value.isdecimal()


def _cut(raw: bytes) -> bytes:
    """Return a JSON text with null in place of every value that begins below `DEEPEST`."""
    kept: list[bytes] = []
    depth = start = 0
    for token in _TOKENS.finditer(raw):
        sign = raw[token.start()]
        if sign in b"[{":
            depth += 1
            if depth == DEEPEST + 1:
                kept += (raw[start : token.start()], b"null")
        elif sign in b"]}":
            if depth == DEEPEST + 1:
                start = token.end()
            depth -= 1
    kept.append(raw[start:])
    return b"".join(kept)


def _shallow(value: Any, levels: int) -> Any:
    if isinstance(value, dict):
        return {key: _shallow(child, levels - 1) for key, child in value.items()} if levels else None
    if isinstance(value, list):
        return [_shallow(child, levels - 1) for child in value] if levels else None
    return value
