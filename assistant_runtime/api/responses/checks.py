"""What the readers of a request have in common: errors that name the place."""

from collections.abc import Mapping
from typing import Any

from assistant_runtime.errors import ApiError


def text_field(item: Any, name: str, where: str) -> str:
    """Give a field that must be text; raises ApiError 400."""
    if not isinstance(item, Mapping):
        raise bad(where, "must be an object")
    value = item.get(name)
    if not isinstance(value, str):
        raise bad(f"{where}.{name}", "must be text")
    return value


def bad(param: str, message: str) -> ApiError:
    """Give the error for a field at fault."""
    return ApiError(400, f"{param}: {message}", code="invalid_value", param=param)
