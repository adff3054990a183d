"""Read what a provider says went wrong, in whatever shape it says so.

OpenAI's shape is `{"error": {"message", "type", "param", "code"}}`. Others nest it, write it as a list or a text, or
have names of their own; each form that was found is a row of tests/runtime/test_dialect_table.py.
"""

from collections.abc import Mapping
from typing import Any

from assistant_runtime import json_text

MESSAGES = ("message", "msg", "error_msg", "errorMessage", "status_msg", "detail", "reason", "title", "error")
"""Names under which a message is found, the best first."""

CODES = ("code", "error_code", "err_code", "status_code", "errorCode")
ENVELOPES = ("error", "errors", "message", "base_resp", "detail", "data")
"""What an error may be wrapped in."""

MAX_DEPTH = 6
"""Of envelopes within envelopes."""

MAX_DETAILS = 3
"""Of a list of faults, those that are reported."""


def error_in(payload: Any) -> dict[str, Any]:
    """Give the error that an answer is, in OpenAI's shape: `message`, `type`, `param`, `code` and what else it has.

    `message` is always text, empty where nothing was said; the others are None where there is none.
    """
    found = _unwrapped(payload, MAX_DEPTH)
    error = {**found, "message": _message(found)}
    error["param"] = _text(found.get("param")) or _violated(found)
    codes = (found.get(name) for name in CODES)
    error["code"] = next((code for code in codes if isinstance(code, str | int) and code != ""), None)
    error["type"] = _text(found.get("type")) or _text(found.get("status")) or None
    return error


def failed(payload: Mapping[str, Any]) -> bool:
    """Whether a body that came with 200 is an error: it says so, or has a code and a message and no answer."""
    if payload.get("error") or payload.get("object") == "error" or payload.get("type") == "error":
        return True
    if payload.get("errors") and not payload.get("choices"):
        return True
    if payload.get("choices"):
        return False
    status = payload.get("base_resp")
    if isinstance(status, dict) and status.get("status_code"):
        return True
    coded = any(payload.get(name) not in (None, 0, "0", "", 200, "200") for name in CODES)
    said = any(isinstance(payload.get(name), str | list | dict) and payload.get(name) for name in MESSAGES)
    return said and (coded or "choices" not in payload or payload.get("success") is False)


def _unwrapped(payload: Any, depth: int) -> dict[str, Any]:
    """Give the innermost object that holds a message."""
    if isinstance(payload, list):
        return _faults([each for each in payload if isinstance(each, dict)], depth)
    if isinstance(payload, str):
        return _decoded(payload, depth) or {"message": payload}
    if not isinstance(payload, dict) or depth == 0:
        return {}
    for name in ENVELOPES:
        inner = payload.get(name)
        if isinstance(inner, dict | list) and inner and (found := _unwrapped(inner, depth - 1)):
            return {key: value for key, value in payload.items() if key != name and value is not None} | found
    return _nested(payload, depth)


def _nested(error: dict[str, Any], depth: int) -> dict[str, Any]:
    """Look behind a gateway's own words: what the provider said is in `metadata.raw`, or is JSON in the message."""
    metadata = error.get("metadata")
    raw = metadata.get("raw") if isinstance(metadata, dict) else None
    if raw and (behind := _unwrapped(raw, depth - 1)):
        said = f"{_message(error)}: {_message(behind)}".strip(": ")
        return {**error, **behind, "message": said}
    message = error.get("message")
    if isinstance(message, str) and (within := _decoded(message, depth)):
        return {**error, **within}
    return error


def _decoded(text: str, depth: int) -> dict[str, Any] | None:
    """Give the error that a text holds as JSON."""
    if depth == 0 or not text.lstrip().startswith(("{", "[")):
        return None
    try:
        decoded = json_text.loads(text.encode("utf-8", "replace"))
    except ValueError:
        return None
    found = _unwrapped(decoded, depth - 1)
    return found if _message(found) else None


def _faults(faults: list[dict[str, Any]], depth: int) -> dict[str, Any]:
    """Join a list of faults, as validators report them: each with its place and what is wrong there."""
    if not faults:
        return {}
    first = faults[0]
    if "loc" not in first:
        return _unwrapped(first, depth - 1)
    said = [f"{_place(each)}: {each.get('msg') or each.get('type')}" for each in faults[:MAX_DETAILS]]
    return {"message": "; ".join(said), "param": _place(first), "code": first.get("type")}


def _place(fault: Mapping[str, Any]) -> str:
    loc = fault.get("loc")
    parts = loc if isinstance(loc, list) else [loc]
    return ".".join(str(part) for part in parts if part not in ("body", None))


def _message(error: Mapping[str, Any]) -> str:
    for name in MESSAGES:
        if found := _text(error.get(name)):
            return found
    return ""


def _violated(error: Mapping[str, Any]) -> str | None:
    """Give the field that Google's `details` name."""
    details = error.get("details")
    for detail in details if isinstance(details, list) else ():
        violations = detail.get("fieldViolations") if isinstance(detail, dict) else None
        for violation in violations if isinstance(violations, list) else ():
            if isinstance(violation, dict) and violation.get("field"):
                return str(violation["field"])
    return None


def _text(value: Any) -> str:
    return json_text.whole(value.strip()) if isinstance(value, str) else ""
