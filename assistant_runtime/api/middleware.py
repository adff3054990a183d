"""Pure ASGI middleware, outermost first: RequestRecord, (CORS), ErrorAnswers, Gate, BodyLimit, ShortWay.

Pure ASGI, because a middleware that wraps the response in a task of its own turns a provider that breaks off into a
clean end, and hides a client that left.
"""

import asyncio
import time
from collections.abc import Iterable, Sequence
from typing import Any

import structlog
from starlette.routing import BaseRoute, Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from assistant_runtime.api.content_encoding import serve_decompressed
from assistant_runtime.api.context import RequestContext, context_of, encoded, header, open_context
from assistant_runtime.api.protocol import LEFT, TOO_SLOW
from assistant_runtime.api.saturation import Saturation
from assistant_runtime.errors import ApiError, ProviderError, StoreRefusedError, StoreUnavailableError
from assistant_runtime.lifecycle import Lifecycle
from assistant_runtime.security.accounts import Accounts
from assistant_runtime.security.authentication import Authentication
from assistant_runtime.security.client_address import client_address, forwarded_scheme
from assistant_runtime.security.parallel import ParallelRequests
from assistant_runtime.security.principal import Principal, scopes_for
from assistant_runtime.security.rate_limit import RateLimit
from assistant_runtime.telemetry import UNMATCHED, Metrics

API_PREFIX = "/v1/"
"""Everything below costs tokens or holds data, so that a new route is guarded without being named here."""

CLIENT_CLOSED_REQUEST = 499
"""nginx's number for a client that left before it was answered; never sent, only recorded."""

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""Any other method is a client's invention, and counted as OTHER."""


class RequestRecord:
    """Give each request an id, one log line, and its metrics.

    Parameters
    ----------
    routes
        Routes that the application holds by whole routers: a request that is refused before routing counts as its
        own route's.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, lifecycle: Lifecycle, routes: Sequence[BaseRoute]) -> None:
        self._app = app
        self._routes = routes
        self._metrics = metrics
        self._lifecycle = lifecycle
        self._log = structlog.get_logger(__name__)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, and record it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        context = open_context(scope)
        started = time.perf_counter()

        async def send_recorded(message: Message) -> None:
            if message["type"] == "http.response.start":
                context.status = message["status"]
                message["headers"] = [*message.get("headers", ()), *self._added_headers(context)]
            await send(message)

        self._metrics.request_started()
        span = self._metrics.tracing.request_started(scope["method"], scope["headers"])
        try:
            await self._app(_as_get(scope) if scope["method"] == "HEAD" else scope, receive, send_recorded)
        finally:
            self._finish(scope, context, time.perf_counter() - started, span)

    def _added_headers(self, context: RequestContext) -> list[tuple[bytes, bytes]]:
        added = [(b"x-request-id", context.request_id.encode()), *context.headers]
        if context.opened is not None:
            added += encoded(context.opened.headers)
        if self._lifecycle.draining:
            # A client that keeps its connection would keep sending to a process that is about to go.
            added.append((b"connection", b"close"))
        return added

    def _finish(self, scope: Scope, context: RequestContext, seconds: float, span: Any) -> None:
        status = context.status or CLIENT_CLOSED_REQUEST
        method = scope["method"] if scope["method"] in METHODS else "OTHER"
        endpoint = self._template(scope)
        self._metrics.request_finished(method, endpoint, status, seconds)
        self._metrics.tracing.request_finished(
            span, endpoint, status, {"request_id": context.request_id} | context.facts
        )
        self._log.info(
            "request_processed",
            method=scope["method"],
            path=scope["path"],
            status_code=status,
            process_time=round(seconds, 6),
            request_id=context.request_id,
            tenant=context.tenant,
            **context.facts,
        )

    def _template(self, scope: Scope) -> str:
        route = scope.get("route")
        if route is None:
            every = (*self._routes, *scope["app"].routes)
            route = next((each for each in every if each.matches(scope)[0] is not Match.NONE), None)
        return str(getattr(route, "path", UNMATCHED))


def _as_get(scope: Scope) -> Scope:
    """Give a HEAD as the GET that it stands for; the server leaves out the body of what is answered."""
    return {**scope, "method": "GET"}


class Exchange:
    """One request's way in and out, and how far it has come.

    Raises an ApiError (408) into whoever reads a body that does not come.
    """

    __slots__ = ("_receive", "_send", "_state", "started")

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._state = scope["state"]
        self._receive = receive
        self._send = send
        self.started = False
        """Whether the answer has begun."""

    @property
    def gone(self) -> bool:
        """Whether the client left before the answer began."""
        return not self.started and LEFT in self._state

    async def receive(self) -> Message:
        """Give what comes of the request."""
        message = await self._receive()
        if TOO_SLOW in self._state:
            raise _too_slow()
        return message

    async def send(self, message: Message) -> None:
        """Send a piece of the answer, unless nobody is there for it."""
        if not self.started:
            if LEFT in self._state:
                return
            if TOO_SLOW in self._state:
                # A framework that reads the body has an answer of its own for whatever reading it raises.
                raise _too_slow()
            self.started = True
        await self._send(message)


class ErrorAnswers:
    """Answer every exception in OpenAI's error shape, and nobody whose client left before the answer began.

    Parameters
    ----------
    debug
        Whether an internal error's text is told.
    """

    def __init__(self, app: ASGIApp, *, debug: bool) -> None:
        self._app = app
        self._debug = debug
        self._log = structlog.get_logger(__name__)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, answering what it raises."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange, context = Exchange(scope, receive, send), context_of(scope)
        try:
            await self._app(scope, exchange.receive, exchange.send)
        except (Exception, asyncio.CancelledError) as error:
            if exchange.started:
                # Only a broken connection tells the client that this answer is not whole. uvicorn breaks it after a
                # return as well, and then logs a line in place of a traceback: enough for an answer that a drain cuts.
                if not isinstance(error, asyncio.CancelledError):
                    raise
            elif not exchange.gone:
                await send_error(send, self._translate(error, context), context)
        if exchange.gone:
            context.facts["client_gone"] = True

    def _translate(self, error: BaseException, context: RequestContext) -> ApiError:
        if isinstance(error, asyncio.CancelledError):
            return _shutting_down()
        if isinstance(error, ApiError):
            return error
        if isinstance(error, ProviderError):
            return error.to_api_error()
        if isinstance(error, StoreRefusedError):
            return _store_refused(error)
        if isinstance(error, StoreUnavailableError):
            return _store_unavailable()
        self._log.error("unhandled_error", request_id=context.request_id, exc_info=error)
        told = f": {error!r}" if self._debug else ""
        return ApiError(
            500,
            f"An internal error occurred{told}. Quote request {context.request_id} when you report it.",
            error_type="server_error",
            code="internal_error",
        )


def _too_slow() -> ApiError:
    return ApiError(
        408,
        "The request's body did not come in time. Send it at once, or faster.",
        code="request_timeout",
        headers={"connection": "close"},
    )


def _store_unavailable() -> ApiError:
    """Give the error for a request that needs a store which does not answer."""
    return ApiError(
        503,
        "A store that this request needs does not answer. /ready names it; try again.",
        error_type="server_error",
        code="store_unavailable",
        headers={"retry-after": "2"},
    )


def _store_refused(error: StoreRefusedError) -> ApiError:
    """Give the error for a request whose data a store refuses to keep, or that it refuses for a reason of its own."""
    if error.of_data:
        return ApiError(error.status, f"{error}.", code="store_refused")
    return ApiError(
        error.status, f"{error}.", error_type="server_error", code="store_refused", headers={"retry-after": "10"}
    )


def _shutting_down() -> ApiError:
    """Give the error for a request that the end of the grace period cut off; clients that left never get here."""
    return ApiError(
        503,
        "The server is shutting down. Try again: another replica answers.",
        error_type="server_error",
        code="server_shutting_down",
        headers={"retry-after": "1"},
    )


def _saturated() -> ApiError:
    return ApiError(
        503,
        "The server has too many requests in flight. Try again in a moment.",
        error_type="server_error",
        code="server_saturated",
        headers={"retry-after": "1"},
    )


async def send_error(send: Send, error: ApiError, context: RequestContext) -> None:
    """Send an error as the whole answer."""
    context.facts["error"] = error.error["code"]
    body = error.body
    headers = {"content-type": "application/json", "content-length": str(len(body)), **error.headers}
    await send({"type": "http.response.start", "status": error.status, "headers": encoded(headers)})
    await send({"type": "http.response.body", "body": body})


class Gate:
    """Let only known clients within their rate limit pass to the API.

    Parameters
    ----------
    authentication
        Who may ask.
    limit
        How often; None: without limit.
    saturation
        Bounds the requests in flight.
    parallel
        Bounds those of each key.
    accounts
        Opens an account for what a request spends.
    behind_proxy
        Whether the proxy's headers tell the client's address and scheme.
    """

    def __init__(
        self,
        app: ASGIApp,
        authentication: Authentication,
        limit: RateLimit | None,
        metrics: Metrics,
        saturation: Saturation,
        *,
        parallel: ParallelRequests,
        accounts: Accounts,
        behind_proxy: bool,
    ) -> None:
        self._app = app
        self._authentication = authentication
        self._limit = limit
        self._parallel = parallel
        self._accounts = accounts
        self._metrics = metrics
        self._saturation = saturation
        self._behind_proxy = behind_proxy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request that may pass."""
        if scope["type"] == "http":
            if self._behind_proxy:
                scope["scheme"] = forwarded_scheme(scope)
            if scope["path"].startswith(API_PREFIX):
                if not self._saturation.enter():
                    raise _saturated()
                try:
                    await self._serve(scope, receive, send)
                finally:
                    self._saturation.leave()
                return
        await self._app(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request of a client who may ask now, and close its account."""
        context = context_of(scope)
        address = client_address(scope, behind_proxy=self._behind_proxy)
        principal = await self._authentication.principal(header(scope, b"authorization"), address)
        context.principal = principal
        self._check_scope(principal, scope)
        context.headers += self._parallel.enter(principal)
        try:
            await self._within_rate(context)
            context.opened = account = self._accounts.open(principal)
            try:
                await self._app(scope, receive, send)
            finally:
                await account.close()
        finally:
            self._parallel.leave(principal)

    async def _within_rate(self, context: RequestContext) -> None:
        if self._limit is None:
            return
        try:
            context.headers.extend(encoded(await self._limit.admit(context.principal)))
        except ApiError:
            self._metrics.rate_limit_decision("refused")
            raise
        self._metrics.rate_limit_decision("admitted")

    @staticmethod
    def _check_scope(principal: Principal, scope: Scope) -> None:
        """Refuse a route whose scope the key lacks; one that no scope is named for is an administrator's."""
        needed = scopes_for(scope["path"])
        if not principal.scopes.isdisjoint(needed):
            return
        # Where there is no route, whoever asks learns that in the router's words.
        if needed or any(route.matches(scope)[0] is not Match.NONE for route in scope["app"].routes):
            principal.require(needed[0] if needed else "admin")


class BodyLimit:
    """Refuse a request body that is too long, by its declared length where there is one, and decompressed too."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request that is short enough."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = header(scope, b"content-length")
        if declared is None:
            receive = self._counted(receive)
        elif int(declared) > self._max_bytes:
            raise self._too_long()
        encoding = (header(scope, b"content-encoding") or b"identity").decode("latin-1")
        if encoding.strip().lower() != "identity":
            await serve_decompressed(self._app, scope, receive, send, encoding=encoding, max_bytes=self._max_bytes)
            return
        await self._app(scope, receive, send)

    def _counted(self, receive: Receive) -> Receive:
        size = 0

        async def receive_counted() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > self._max_bytes:
                raise self._too_long()
            return message

        return receive_counted

    def _too_long(self) -> ApiError:
        return ApiError(413, f"The request is larger than {self._max_bytes} bytes.", code="request_too_large")


class ShortWay:
    """Lead the routes that tokens go through straight to their endpoints.

    Between here and an endpoint the frameworks have layers of their own, which serve their own errors and dependencies
    and cost as much as half of what the endpoint does. These endpoints have neither.

    Parameters
    ----------
    routes
        Answer POST, each at a path without parameters; they are routes of the application too, for other methods.
    """

    def __init__(self, app: ASGIApp, routes: Iterable[Route]) -> None:
        self._app = app
        self._routes = {route.path: route for route in routes}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, by a short way if there is one."""
        route = self._routes.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if route is None:
            await self._app(scope, receive, send)
            return
        scope["route"] = route
        await route.app(scope, receive, send)
