"""Whether a request's answer may come from the response cache, and be kept there."""

from collections.abc import Mapping
from typing import Any

from starlette.types import Scope

from assistant_runtime.api.context import header
from assistant_runtime.tool_loop.options import FIELD


def caching(scope: Scope, payload: dict[str, Any]) -> tuple[bool, bool]:
    """Give both answers, and remove `assistant.cache` from the validated payload: no later part needs it.

    `Cache-Control` counts first, then `assistant.cache`, then whether the request asks for variety.
    """
    wish = _wish(payload)
    directives = {each.strip() for each in (header(scope, b"cache-control") or b"").lower().split(b",")}
    keep = b"no-store" not in directives and (not wants_variety(payload) if wish is None else wish)
    return keep and directives.isdisjoint({b"no-cache", b"max-age=0"}), keep


def wants_variety(payload: Mapping[str, Any]) -> bool:
    """Tell whether a request asks by itself for answers that differ; one that says nothing of sampling does not."""
    temperature, top_p, count = payload.get("temperature"), payload.get("top_p"), payload.get("n")
    if count is not None and count > 1:
        return True
    if temperature is not None:
        return bool(temperature > 0)
    return top_p is not None and 0 < top_p < 1


def _wish(payload: dict[str, Any]) -> bool | None:
    options = payload.get(FIELD)
    if not options or "cache" not in options:
        return None
    left = {name: value for name, value in options.items() if name != "cache"}
    if left:
        payload[FIELD] = left
    else:
        del payload[FIELD]
    wish: bool | None = options["cache"]
    return wish
