"""A real MCP server (the official SDK's), over streamable HTTP, which can be stopped and started."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS

from tests.support.server import free_port


class _QuietServer(uvicorn.Server):
    """Leaves this process's signals alone."""

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield


class RunningMcpServer:
    """The server, as a test sees it."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/mcp"
        self.authorizations: list[str] = []
        self.answering = asyncio.Event()
        """Cleared by a test to let requests hang."""
        self.answering.set()
        self.waiting = asyncio.Event()
        """Set when a call of `wait` has begun."""
        self.release = asyncio.Event()
        """Set by a test to end calls of `wait`."""

    async def start(self) -> None:
        desk = MCPServer("desk")

        @desk.tool()
        def add(a: int, b: int) -> int:
            """Add two numbers."""
            return a + b

        @desk.tool()
        def fail() -> str:
            """Fail."""
            raise ToolError("out of paper")

        @desk.tool()
        def refuse() -> str:
            """Refuse by an error of the protocol."""
            raise MCPError(INVALID_PARAMS, "no such drawer")

        @desk.tool()
        async def wait() -> str:
            """Wait until the test says so."""
            self.waiting.set()
            await self.release.wait()
            return "waited"

        app = desk.streamable_http_app()

        async def recorded(scope: Any, receive: Any, send: Any) -> None:
            found = [value.decode() for name, value in scope.get("headers", ()) if name == b"authorization"]
            self.authorizations += found
            await self.answering.wait()
            await app(scope, receive, send)

        config = uvicorn.Config(recorded, log_config=None, ws="none", timeout_graceful_shutdown=1)
        self._server = _QuietServer(config)
        listener = socket.create_server(("127.0.0.1", self.port))
        self._serving = asyncio.create_task(self._server.serve(sockets=[listener]))

    async def stop(self) -> None:
        self._server.should_exit = True
        await self._serving


@asynccontextmanager
async def run_mcp_server() -> AsyncIterator[RunningMcpServer]:
    """Serve on a loopback port."""
    server = RunningMcpServer()
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
