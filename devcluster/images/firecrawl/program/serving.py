"""A small JSON server, for every program here."""

import json
import os
import signal
import sys
import threading
import traceback
import urllib.request
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MAX_BODY_BYTES = 1024 * 1024

Body = Mapping[str, Any]
Route = Callable[[str, str, Body], Any]
"""Given method, path and body, gives what is sent as JSON."""


class AnswerError(Exception):
    """A request that is answered by an error, in Firecrawl's shape."""

    def __init__(self, status: HTTPStatus, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.content = {"success": False, "code": code, "error": message}


def not_found(path: str) -> AnswerError:
    """Return the answer to a path that is not served."""
    return AnswerError(HTTPStatus.NOT_FOUND, "NOT_FOUND", f"this stand-in for Firecrawl serves no {path}")


def serve(port: int, route: Route) -> None:
    """Answer requests until SIGTERM."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer(*_outcome(route, self.command, self.path, b""))

        do_DELETE = do_GET  # noqa: N815 - the name that the base class looks for

        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            if length > MAX_BODY_BYTES:
                self.close_connection = True
                self._answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, {"success": False, "error": "the body is too large"})
            else:
                self._answer(*_outcome(route, self.command, self.path, self.rfile.read(length)))

        def _answer(self, status: HTTPStatus, content: Any) -> None:
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Write nothing: what is read on behalf of people is nobody's business."""

    server = ThreadingHTTPServer(("0.0.0.0", port), Handler)  # noqa: S104 - a pod's port is reached from other pods
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    print(f"a stand-in for Firecrawl, not Firecrawl, serves on port {port}", file=sys.stderr, flush=True)
    server.serve_forever()


def _outcome(route: Route, method: str, path: str, body: bytes) -> tuple[HTTPStatus, Any]:
    try:
        return HTTPStatus.OK, route(method, path, _read(body))
    except AnswerError as error:
        return error.status, error.content
    except Exception as error:  # noqa: BLE001 - whoever asked is told, instead of left with a closed connection
        traceback.print_exc()
        message = f"{type(error).__name__}: {error}"
        return HTTPStatus.INTERNAL_SERVER_ERROR, {"success": False, "code": "UNKNOWN_ERROR", "error": message}


def _read(body: bytes) -> Body:
    try:
        read = json.loads(body or b"{}")
    except ValueError as error:
        raise AnswerError(HTTPStatus.BAD_REQUEST, "BAD_REQUEST", str(error)) from None
    if not isinstance(read, dict):
        raise AnswerError(HTTPStatus.BAD_REQUEST, "BAD_REQUEST", "the body must be an object")
    return read


def serve_worker(work: Callable[[], None], port: int, probe: str) -> None:
    """Work, and answer a probe's path beside it; an error that nobody foresaw ends the program, and so the probe."""

    def whole() -> None:
        try:
            work()
        except Exception:  # noqa: BLE001 - as told above
            traceback.print_exc()
            os._exit(1)

    def route(_: str, path: str, __: Body) -> Any:
        if path == probe:
            return {"status": "ok"}
        raise not_found(path)

    threading.Thread(target=whole, daemon=True).start()
    serve(port, route)


def ask(url: str, body: Body | None = None, *, timeout: float) -> Any:
    """Send a JSON request to another server, and give its answer."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})  # noqa: S310 - a setting's URL
    with urllib.request.urlopen(request, timeout=timeout) as answer:  # noqa: S310
        return json.load(answer)
