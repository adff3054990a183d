"""A real HTTP server for tests, with an answer for each path and a record of what it was asked."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Asked:
    """One request, as the server saw it."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class JsonServer:
    """The server, as a test sees it."""

    url: str = ""
    port: int = 0
    handlers: dict[tuple[str, str], Handler] = field(default_factory=dict)
    requests: list[Asked] = field(default_factory=list)

    def answer(
        self,
        method: str,
        path: str,
        body: Any,
        *,
        status: int = 200,
        content_type: str = "application/json",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Answer a path with JSON, or with a string as it is."""
        text = body if isinstance(body, str) else json.dumps(body)

        async def handle(_: web.Request) -> web.StreamResponse:
            return web.Response(text=text, status=status, content_type=content_type, headers=headers)

        self.handle(method, path, handle)

    def handle(self, method: str, path: str, handler: Handler) -> None:
        """Answer a path with whatever the handler does."""
        self.handlers[method, path] = handler

    async def serve(self, request: web.Request) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        asked = Asked(request.method, request.path, dict(request.query), headers, await request.read())
        if request.method != "HEAD":
            # Which only asks whether the server is there.
            self.requests.append(asked)
        handler = self.handlers.get((request.method, request.path))
        return await handler(request) if handler else web.json_response({"error": "no such path"}, status=404)


@asynccontextmanager
async def run_json_server(host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[JsonServer]:
    """Serve on a loopback port."""
    server = JsonServer()
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_route("*", "/{path:.*}", server.serve)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        server.port = runner.addresses[0][1]
        server.url = f"http://{host}:{server.port}"
        yield server
    finally:
        await runner.cleanup()
