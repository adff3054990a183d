"""Pure ASGI middleware: one audit record for each request to the API, with what was noted while it was answered."""

from starlette.types import ASGIApp, Receive, Scope, Send

from assistant_runtime.api.context import context_of
from assistant_runtime.security.audit import AuditLog, begin_notes
from assistant_runtime.security.client_address import client_address

MAX_PATH = 512
"""Characters of a path that are recorded."""


class AuditTrail:
    """Record who asked for what, and what came of it.

    Parameters
    ----------
    log
        The audit log.
    behind_proxy
        Whether the proxy's headers tell the client's address.
    """

    def __init__(self, app: ASGIApp, log: AuditLog, *, behind_proxy: bool) -> None:
        self._app = app
        self._log = log
        self._behind_proxy = behind_proxy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, and record it."""
        if scope["type"] != "http" or not scope["path"].startswith("/v1/"):
            await self._app(scope, receive, send)
            return
        notes = begin_notes()
        try:
            await self._app(scope, receive, send)
        finally:
            context = context_of(scope)
            facts = {
                "request_id": context.request_id,
                "tenant": context.tenant,
                "key_id": context.principal.key_id,
                "address": client_address(scope, behind_proxy=self._behind_proxy),
                "method": scope["method"],
                "path": scope["path"][:MAX_PATH],
                "status": context.status,
            }
            self._log.add("request", {**facts, "notes": notes} if notes else facts)
