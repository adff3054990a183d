"""JSON as it is sent: strict and fast where it can be, lenient where a sender is not strict.

Some servers send lone surrogates, characters cut in two, `-Infinity` or `NaN`. What only passes through the runtime is
never decoded and encoded again; this is for what has to be read.
"""

import json
from typing import Any

import orjson

TOO_DEEP = "JSON that is nested too deeply"

MAX_DEPTH = 100
"""Of what others send. Nothing sensible comes near, and whatever walks it later has room enough: orjson writes 254."""


def loads(data: bytes) -> Any:
    """Decode JSON; `NaN` and `Infinity` become None, and bytes that are no UTF-8 become replacement characters.

    Raises
    ------
    ValueError
        It is no JSON, however leniently it is read.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return _lenient(data)


def loads_bounded(data: bytes) -> Any:
    """Decode JSON as `loads` does, but nothing that is nested deeper than MAX_DEPTH.

    Raises
    ------
    ValueError
        It is no JSON, or is nested too deeply.
    """
    value = loads(data)
    # Counting bytes costs next to nothing, and clears almost all that is sent.
    if data.count(b"{") + data.count(b"[") > MAX_DEPTH and _is_deep(value):
        raise ValueError(TOO_DEEP)
    return value


def dumps(value: Any) -> bytes:
    """Encode JSON; a lone surrogate is written as an escape, as it came."""
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        return json.dumps(value, separators=(",", ":")).encode()


def whole(text: str) -> str:
    """Join surrogates that arrived apart, and replace those that stay alone: no store takes them."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def sane(value: Any) -> Any:
    """Make whole every text in a JSON value, for what is going to be stored."""
    if isinstance(value, str):
        return whole(value)
    if isinstance(value, list):
        return [sane(each) for each in value]
    if isinstance(value, dict):
        return {name: sane(each) for name, each in value.items()}
    return value


def _lenient(data: bytes) -> Any:
    try:
        return json.loads(data.decode("utf-8", "replace"), parse_constant=lambda _: None, strict=False)
    except RecursionError as error:
        raise ValueError(TOO_DEEP) from error


def _is_deep(value: Any) -> bool:
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(MAX_DEPTH):
        inner = (each.values() if isinstance(each, dict) else each for each in level)
        level = [each for values in inner for each in values if isinstance(each, dict | list)]
        if not level:
            return False
    return True
