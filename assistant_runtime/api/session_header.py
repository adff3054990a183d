"""X-Session-Id: the session of a chat, for clients that can send a header and no field of ours."""

from typing import Any

from starlette.types import Scope

from assistant_runtime.api.context import header
from assistant_runtime.errors import ApiError
from assistant_runtime.tool_loop.options import FIELD, SESSION_ID

NAME = "X-Session-Id"


def with_session(payload: dict[str, Any], scope: Scope) -> dict[str, Any]:
    """Give the request with the session that its header names, as if the field named it.

    Raises
    ------
    ApiError
        400: that is no session's id, or the field names another session.
    """
    given = header(scope, b"x-session-id")
    if given is None:
        return payload
    session = given.decode("latin-1")
    if not SESSION_ID.fullmatch(session):
        raise _refused("send the `id` of a session of /v1/sessions")
    options = payload.get(FIELD) or {}
    if options.get("session") not in {None, session}:
        raise _refused(f"{FIELD}.session names another session; send one of the two")
    return payload | {FIELD: {**options, "session": session}}


def _refused(remedy: str) -> ApiError:
    return ApiError(400, f"{NAME}: {remedy}", code="invalid_value", param=NAME)
