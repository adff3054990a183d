"""The runtime as an MCP client: `python -m tests.conformance.mcp_client URL` calls every tool that the server offers.

The model behind it asks for each tool once, in one answer, and then is content.
"""

import asyncio
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from tests.support.runtime import QUESTION, eventually, run_process
from tests.support.tool_calls import calls, says
from tests.support.upstream import MODEL, Upstream, run_upstream

SAMPLES = {"number": 2, "integer": 2, "string": "text", "boolean": True, "array": [], "object": {}}
"""An argument of each type."""


async def curious(upstream: Upstream, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    """Ask for every tool."""
    offered = [tool["function"] for tool in body.get("tools") or ()]
    if not offered or body["messages"][-1]["role"] == "tool":
        return await says("Thank you.")(upstream, request, body)
    asked = [(f"call_{place}", tool["name"], _arguments(tool)) for place, tool in enumerate(offered)]
    return await calls(*asked)(upstream, request, body)


def _arguments(tool: dict[str, Any]) -> dict[str, Any]:
    properties = tool["parameters"].get("properties") or {}
    return {name: SAMPLES.get(schema.get("type"), "text") for name, schema in properties.items()}


async def main(url: str) -> None:
    """Serve with this server, ask once, and print what the tools gave."""
    async with run_upstream() as upstream:
        upstream.default = curious
        variables = {
            "OPENAI_COMPATIBLE_BASE_URL": upstream.url,
            "OPENAI_COMPATIBLE_DEFAULT_MODEL": MODEL,
            "MCP_SERVERS": json.dumps([{"name": "suite", "url": url, "accept_defaults": True}]),
        }
        with tempfile.TemporaryDirectory() as folder, run_process(Path(folder) / "log", **variables) as process:

            async def connected() -> bool:
                async with client.get(f"{process.url}/ready") as answer:
                    return bool((await answer.json())["checks"]["mcp-suite"]["status"] == "up")

            await asyncio.to_thread(process.wait_for, "/ready", 200)
            async with aiohttp.ClientSession() as client:
                await eventually(connected)
                async with client.post(f"{process.url}/v1/chat/completions", json=QUESTION) as answer:
                    print((await answer.json()).get("assistant"))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
