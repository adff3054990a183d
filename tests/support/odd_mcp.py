"""An MCP server that answers as it is told, however little that is the protocol's: a real one, over streamable HTTP."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

PROTOCOL = "2025-06-18"


@dataclass
class OddMcpServer:
    """The server, as a test sees it."""

    url: str = ""
    tools: list[Any] = field(default_factory=list)
    results: dict[str, Any] = field(default_factory=dict)
    """What a call of each tool gives."""

    async def serve(self, request: web.Request) -> web.StreamResponse:
        asked = await request.json()
        if "id" not in asked:
            return web.Response(status=202)
        answer: dict[str, Any] = {"jsonrpc": "2.0", "id": asked["id"]}
        result = self._result(asked)
        if result is None:
            return web.json_response({**answer, "error": {"code": -32601, "message": "method not found"}})
        return web.json_response({**answer, "result": result})

    def _result(self, asked: dict[str, Any]) -> Any:
        if asked["method"] == "initialize":
            about = {"name": "odd", "version": "1"}
            return {"protocolVersion": PROTOCOL, "capabilities": {"tools": {}}, "serverInfo": about}
        if asked["method"] == "tools/list":
            return {"tools": self.tools}
        if asked["method"] == "tools/call":
            return self.results[asked["params"]["name"]]
        return {} if asked["method"] == "ping" else None


@asynccontextmanager
async def run_odd_mcp_server(*tools: Any, **results: Any) -> AsyncIterator[OddMcpServer]:
    """Serve on a loopback port."""
    server = OddMcpServer(tools=list(tools), results=results)
    app = web.Application()
    app.router.add_post("/mcp", server.serve)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        server.url = f"http://127.0.0.1:{runner.addresses[0][1]}/mcp"
        yield server
    finally:
        await runner.cleanup()
