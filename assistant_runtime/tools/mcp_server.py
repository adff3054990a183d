"""The tools of an MCP server, over streamable HTTP by the official SDK.

A task of its own keeps the connection, lists the tools again from time to time and after each call that failed, and
connects again when that fails too; a call meanwhile fails at once, and the model is told. A server's answer to a bad
call and what the SDK makes of a broken connection look alike, so the list decides. The SDK is imported when that task
starts.
"""

import asyncio
import importlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Self

import structlog

from assistant_runtime.checks import optional
from assistant_runtime.errors import ToolError
from assistant_runtime.security.principal import Scope
from assistant_runtime.settings.tools import McpServerSettings
from assistant_runtime.tools.base import Tool, ToolCall, ToolResult
from assistant_runtime.tools.mcp_answers import lenient, text_of
from assistant_runtime.tools.mcp_names import offered_names
from assistant_runtime.tools.mcp_questions import answer_with_defaults
from assistant_runtime.trust import distrust, trusting

REFRESH_SECONDS = 60.0
"""How soon a tool that the server adds is offered."""

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 30.0
"""Between attempts to connect: doubled each time, so that a server that is down for long is left alone."""

CONNECT_SECONDS = 15.0
"""For the handshake and the list of tools."""

CLOSE_SECONDS = 2.0
"""For the goodbye, which a server that hangs does not answer."""

MAX_TOOLS = 64
"""Of one server: a model is confused, and its prompt filled, by more."""

MAX_LISTED = 1000
"""Of one server, to find the tools that the settings name among them."""

MAX_TOLD = 5
"""Names that one remark has."""

MAX_DESCRIPTION_CHARACTERS = 1024

MAX_REASON_CHARACTERS = 300
"""Of a failure, as logs and /ready tell it."""


class McpTool:
    """One tool of the server."""

    def __init__(self, server: "McpServer", name: str, described: Any) -> None:
        self.name = name
        self.scope: Scope | None = None
        self.description = str(described.description or described.name)[:MAX_DESCRIPTION_CHARACTERS]
        self.parameters: Mapping[str, Any] = described.input_schema
        self._server = server
        self._own_name = described.name

    async def run(self, arguments: Mapping[str, Any], _: ToolCall) -> ToolResult:
        """Call the tool."""
        return await self._server.call(self._own_name, arguments)


class McpServer:
    """An MCP server, as a toolset; `watch` connects to it.

    Parameters
    ----------
    settings
        Name, address, token, and which tools are offered.
    refresh
        Seconds between two lists of its tools.
    """

    def __init__(self, settings: McpServerSettings, refresh: float = REFRESH_SECONDS) -> None:
        self._settings = settings
        self._refresh = refresh
        self._client: Any = None
        self._tools: tuple[McpTool, ...] = ()
        self._doubted = asyncio.Event()
        self._status, self._detail = "starting", "not asked yet"
        self._left_out: dict[str, str] = {}
        self._remarks, self._incomplete = "", False
        self._log = structlog.get_logger(__name__)

    @property
    def check_name(self) -> str:
        """The name of its check."""
        return f"mcp-{self._settings.name}"

    def check(self) -> dict[str, Any]:
        """Give the readiness check; chat goes on without the server."""
        if self._status == "up":
            told = optional("up", f"tools {self._remarks}" if self._remarks else "")
            return {**told, "degraded": True} if self._incomplete else told
        return optional(self._status, f"{self._detail}; its tools are not offered" if self._detail else "")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing is open: `watch` closes its connection."""

    def tools(self) -> Sequence[Tool]:
        """Give the tools that were last listed; none while the server is gone."""
        return self._tools

    async def call(self, name: str, arguments: Mapping[str, Any]) -> ToolResult:
        """Call a tool; raises ToolError."""
        client = self._client
        if client is None:
            raise ToolError(f"the MCP server {self._settings.name} is not connected")
        try:
            result = await client.call_tool(name, dict(arguments))
        except Exception as error:  # noqa: BLE001 - the SDK raises what its transport and the server do
            self._doubted.set()
            raise ToolError(
                f"the MCP server {self._settings.name} failed: {str(error)[:MAX_REASON_CHARACTERS]}"
            ) from None
        text = text_of(result)
        if result.is_error:
            raise ToolError(text or "no reason given")
        return ToolResult(text)

    async def watch(self) -> None:
        """Keep a connection, and the list of tools, until cancelled."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                await self._serve()
            except Exception as error:  # noqa: BLE001 - whatever it was, the server may be back in a moment
                self._status, self._detail = "down", self._reason(error)
                self._log.warning("mcp_server_lost", server=self._settings.name, reason=self._detail)
            if self._client is not None:
                pause = FIRST_PAUSE_SECONDS
            self._client, self._tools = None, ()
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    async def _serve(self) -> None:
        """Keep one connection for as long as it works."""
        # Over half a second of a core, which the loop spends on requests.
        await asyncio.to_thread(importlib.import_module, "mcp.client.streamable_http")
        import httpx2  # noqa: PLC0415 - the SDK and what it needs are imported only where they are used
        from mcp import Client  # noqa: PLC0415
        from mcp.client.streamable_http import streamable_http_client  # noqa: PLC0415

        token = self._settings.token
        headers = {"authorization": f"Bearer {token.get_secret_value()}"} if token else {}
        timeout = httpx2.Timeout(CONNECT_SECONDS, read=None)
        trusted = await asyncio.to_thread(trusting, self._settings.ca_file)
        async with httpx2.AsyncClient(headers=headers, timeout=timeout, verify=trusted) as http:
            transport = streamable_http_client(self._settings.url, http_client=http)
            questions = answer_with_defaults() if self._settings.accept_defaults else None
            client = Client(lenient(transport, self._left_out), elicitation_callback=questions)
            async with asyncio.timeout(CONNECT_SECONDS) as limit, client:
                limit.reschedule(None)
                try:
                    await self._keep_listed(client)
                finally:
                    limit.reschedule(asyncio.get_running_loop().time() + CLOSE_SECONDS)

    async def _keep_listed(self, client: Any) -> None:
        """List the tools, until that fails."""
        while True:
            self._doubted.clear()
            async with asyncio.timeout(CONNECT_SECONDS):
                await self._list(client)
            self._client = client
            self._status, self._detail = "up", ""
            with suppress(TimeoutError):
                async with asyncio.timeout(self._refresh):
                    await self._doubted.wait()

    def _reason(self, error: BaseException) -> str:
        """Give the reason within the groups that the SDK's tasks raise."""
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        untrusted = distrust(error, f"ca_file of {self._settings.name} in MCP_SERVERS")
        return f"the server {untrusted}" if untrusted else f"{type(error).__name__}: {error}"[:MAX_REASON_CHARACTERS]

    async def _list(self, client: Any) -> None:
        self._left_out.clear()
        described: dict[str, Any] = {}
        cursor: str | None = None
        while len(described) < MAX_LISTED:
            page = await client.list_tools(cursor=cursor, cache_mode="bypass")
            described |= {tool.name: tool for tool in page.tools}
            cursor = page.next_cursor
            if not cursor:
                break
        wanted = self._settings.tools
        found = [name for name in described if wanted is None or name in wanted]
        names = offered_names(self._settings.name, found[:MAX_TOOLS])
        tools = tuple(McpTool(self, name, described[own]) for own, name in names.items())
        if [tool.name for tool in tools] != [tool.name for tool in self._tools]:
            self._log.info("mcp_tools", server=self._settings.name, tools=[tool.name for tool in tools])
        self._remark(names, [*found[MAX_TOOLS:]], sorted(set(wanted or ()) - set(described)))
        self._tools = tools

    def _remark(self, names: Mapping[str, str], beyond: Sequence[str], missing: Sequence[str]) -> None:
        """Note what is not offered as the server has it, for /ready and, where it is new, the log."""
        remarks = {
            "offered under another name": [
                f"{own} as {name}" for own, name in names.items() if name != f"{self._settings.name}_{own}"
            ],
            "left out": [f"{name} ({reason})" for name, reason in self._left_out.items()],
            f"left out, being more than {MAX_TOOLS}": list(beyond),
            "named in the settings and not there": list(missing),
        }
        remark = "; ".join(
            f"{what}: {', '.join(each[:MAX_TOLD])}{' and more' if len(each) > MAX_TOLD else ''}"
            for what, each in remarks.items()
            if each
        )
        if remark and remark != self._remarks:
            self._log.warning("mcp_tools_differ", server=self._settings.name, detail=remark)
        self._remarks, self._incomplete = remark, bool(self._left_out or beyond or missing)
