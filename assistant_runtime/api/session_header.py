"""X-Session-Id: the session of a chat, for clients that can send a header and no field of ours.

Other programs send a header of this name with ids of their own, to every provider. Those mean nothing here.
"""

from typing import Any

from starlette.types import Scope

from assistant_runtime.api.context import header
from assistant_runtime.errors import ApiError
from assistant_runtime.stores.conversations import SESSION_ID
from assistant_runtime.tool_loop.options import FIELD

NAME = "X-Session-Id"


def with_session(payload: dict[str, Any], scope: Scope) -> dict[str, Any]:
    """Give the request with the session that its header names, as if the field named it.

    Raises
    ------
    ApiError
        400: the field names another session.
    """
    given = header(scope, b"x-session-id")
    if given is None:
        return payload
    session = given.decode("latin-1")
    if not SESSION_ID.fullmatch(session):
        return payload
    options = payload.get(FIELD) or {}
    if options.get("session") not in {None, session}:
        raise ApiError(
            400,
            f"{NAME}: {FIELD}.session names another session; send one of the two",
            code="invalid_value",
            param=NAME,
        )
    return payload | {FIELD: {**options, "session": session}}
