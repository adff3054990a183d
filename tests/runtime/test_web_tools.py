"""Tools that read pages: the plain one, Firecrawl in both versions, and MCP servers."""

import asyncio
import json
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import mcp
import pytest
from aiohttp import web

from assistant_runtime.settings.tools import McpServerSettings
from assistant_runtime.supervisor import Supervisor
from assistant_runtime.telemetry import Metrics
from assistant_runtime.tools import mcp_server
from tests.support.json_server import JsonServer, run_json_server
from tests.support.mcp import run_mcp_server
from tests.support.runtime import Runtime, eventually, run_runtime
from tests.support.server import free_port
from tests.support.tool_calls import calls, says
from tests.support.upstream import Upstream

PAGE = """<html><head><title>Paris</title><script>evil()</script></head>
<body><nav>Menu</nav><main><h1>Paris</h1><p>The   capital.</p></main></body></html>"""
METADATA = "http://169.254.169.254/latest/meta-data/"
ALLOWED = "127.0.0.1/32"


@pytest.fixture
async def server() -> AsyncIterator[JsonServer]:
    async with run_json_server() as running:
        yield running


async def ask(upstream: Upstream, runtime: Runtime, tool: str, **arguments: Any) -> dict[str, Any]:
    """Let the model call one tool; gives the step that the client sees."""
    upstream.script = [calls(("call_1", tool, arguments)), says("well")]
    answer = (await runtime.chat(messages=[{"role": "user", "content": json.dumps([tool, arguments])}])).json
    (step,) = answer["assistant"]["steps"]
    return dict(step) | {"sources": answer["assistant"]["sources"]}


async def test_a_page_is_read_as_text(upstream: Upstream, server: JsonServer) -> None:
    server.answer("GET", "/page", PAGE, content_type="text/html")
    async with run_runtime(upstream, fetch_tool_enabled=True, fetch_allowed_hosts=ALLOWED) as runtime:
        step = await ask(upstream, runtime, "fetch_page", url=f"{server.url}/page")
        refused = await ask(upstream, runtime, "fetch_page", url=METADATA)
    assert step["status"] == "done"
    assert step["sources"][0]["title"] == "Paris"
    told = upstream.requests[1]["messages"][-1]["content"]
    assert "[1] Paris" in told
    assert "The capital." in told
    assert "evil" not in told
    assert "Menu" not in told
    assert refused["status"] == "failed"
    assert "not a public address" in refused["error"]


async def test_a_page_that_is_no_html_is_its_own_text(upstream: Upstream, server: JsonServer) -> None:
    async def serve(_: web.Request) -> web.Response:
        return web.Response(
            body="<b>Größe</b>".encode("latin-1"), headers={"content-type": "text/plain; charset=latin1"}
        )

    server.handle("GET", "/page", serve)
    async with run_runtime(upstream, fetch_tool_enabled=True, fetch_allowed_hosts=ALLOWED) as runtime:
        step = await ask(upstream, runtime, "fetch_page", url=f"{server.url}/page")
    assert step["status"] == "done"
    assert step["sources"][0]["title"] == f"{server.url}/page"
    assert "<b>Größe</b>" in upstream.requests[1]["messages"][-1]["content"]


@pytest.mark.parametrize(
    ("content", "content_type"),
    [("<div>" * 800_000, "text/html"), (f"a-{'ba' * 2_000_000}", "text/plain; charset=punycode")],
    ids=["deep", "punycode"],
)
async def test_a_page_that_would_take_its_parser_hours_fails_alone(
    upstream: Upstream, server: JsonServer, content: str, content_type: str
) -> None:
    async def serve(_: web.Request) -> web.Response:
        return web.Response(body=content.encode(), headers={"content-type": content_type})

    server.handle("GET", "/deep", serve)
    settings = {"fetch_tool_enabled": True, "fetch_allowed_hosts": ALLOWED, "tool_execution_timeout": 240}
    async with run_runtime(upstream, **settings, tool_total_timeout=240) as runtime:
        step = await ask(upstream, runtime, "fetch_page", url=f"{server.url}/deep")
    assert step["status"] == "failed"
    assert "time" in step["error"]


def firecrawl(server: JsonServer) -> dict[str, Any]:
    return {
        "firecrawl_docker_url": server.url,
        "firecrawl_tool_enabled": True,
        "firecrawl_api_key": "fc-0123456789",
        "fetch_allowed_hosts": ALLOWED,
    }


@pytest.mark.parametrize("version", ["v1", "v2"])
async def test_firecrawl_in_both_versions(upstream: Upstream, server: JsonServer, version: str) -> None:
    page = {"markdown": "# Paris", "metadata": {"title": "Paris", "statusCode": 200}}
    result = {"url": "https://example.org/", "title": "Found", "description": "A page."}
    found: Any = {"web": [result]} if version == "v2" else [result]
    links: Any = [{"url": "https://example.org/a", "title": "A"}] if version == "v2" else ["https://example.org/a"]
    server.answer("POST", f"/{version}/scrape", {"success": True, "data": page})
    server.answer("POST", f"/{version}/search", {"success": True, "data": found})
    server.answer("POST", f"/{version}/map", {"success": True, "links": links})
    async with run_runtime(upstream, **firecrawl(server)) as runtime:
        scraped = await ask(upstream, runtime, "scrape_page", url="http://127.0.0.1/")
        searched = await ask(upstream, runtime, "web_search", query="q")
        mapped = await ask(upstream, runtime, "map_site", url="http://127.0.0.1/")
    assert [step["status"] for step in (scraped, searched, mapped)] == ["done"] * 3
    assert (scraped["sources"][0]["title"], searched["sources"][0]["title"]) == ("Paris", "Found")
    assert "https://example.org/a" in upstream.requests[-1]["messages"][-1]["content"]
    assert server.requests[-1].headers["authorization"] == "Bearer fc-0123456789"
    assert len([each for each in server.requests if each.path.startswith("/v2")]) == (3 if version == "v2" else 1)


async def test_firecrawl_is_not_told_of_addresses_that_the_guard_refuses(
    upstream: Upstream, server: JsonServer
) -> None:
    async with run_runtime(upstream, **firecrawl(server)) as runtime:
        for tool in ("scrape_page", "map_site"):
            step = await ask(upstream, runtime, tool, url=METADATA)
            assert "not a public address" in step["error"]
    assert server.requests == []


async def test_firecrawls_failures_are_told(upstream: Upstream, server: JsonServer) -> None:
    server.answer("POST", "/v2/scrape", {"success": False, "error": "the page blocks robots"})
    async with run_runtime(upstream, **firecrawl(server)) as runtime:
        step = await ask(upstream, runtime, "scrape_page", url="http://127.0.0.1/")
    assert "blocks robots" in step["error"]


async def _offers(runtime: Runtime, upstream: Upstream, name: str) -> bool:
    await runtime.chat(headers={"cache-control": "no-store"})
    return name in [tool["function"]["name"] for tool in upstream.requests[-1].get("tools") or ()]


async def test_an_mcp_servers_tools_are_offered_and_called(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DESK_TOKEN", "mcp-0123456789")
    async with run_mcp_server() as desk:
        servers = [{"name": "desk", "url": desk.url, "token_env": "DESK_TOKEN", "tools": ["add", "fail"]}]
        async with run_runtime(upstream, mcp_servers=servers) as runtime:
            await eventually(lambda: _offers(runtime, upstream, "desk_add"))
            added = await ask(upstream, runtime, "desk_add", a=2, b=3)
            told = upstream.requests[-1]["messages"][-1]["content"]
            failed = await ask(upstream, runtime, "desk_fail")
            offered = [tool["function"]["name"] for tool in upstream.requests[-2]["tools"]]
    assert (added["status"], failed["status"]) == ("done", "failed")
    assert "\n5\n" in told
    assert "out of paper" in failed["error"]
    assert offered == ["desk_add", "desk_fail"]
    assert "Bearer mcp-0123456789" in desk.authorizations


async def test_an_mcp_server_that_dies_is_told_to_the_model_and_found_again(upstream: Upstream) -> None:
    async with (
        run_mcp_server() as desk,
        run_runtime(upstream, mcp_servers=[{"name": "desk", "url": desk.url}]) as runtime,
    ):
        await eventually(lambda: _offers(runtime, upstream, "desk_add"))
        assert (await runtime.ready())["checks"]["mcp-desk"] == {"status": "up", "required": False}
        await desk.stop()
        step = await ask(upstream, runtime, "desk_add", a=2, b=3)
        assert step["status"] in {"failed", "refused"}
        await eventually(lambda: is_down(runtime, "mcp-desk"))
        ready = await runtime.get("/ready")
        assert (ready.status, ready.json["status"], ready.json["degraded"]) == (200, "degraded", ["mcp-desk"])
        assert ready.json["checks"]["mcp-desk"]["detail"].endswith("its tools are not offered")
        await desk.start()

        async def works() -> bool:
            return (await ask(upstream, runtime, "desk_add", a=20, b=3))["status"] == "done"

        await eventually(lambda: _offers(runtime, upstream, "desk_add"))
        await eventually(works)
        assert (await runtime.ready())["degraded"] == []


async def test_a_call_that_an_mcp_server_refuses_costs_no_other_its_connection(upstream: Upstream) -> None:
    async with (
        run_mcp_server() as desk,
        run_runtime(upstream, mcp_servers=[{"name": "desk", "url": desk.url}]) as runtime,
    ):
        await eventually(lambda: _offers(runtime, upstream, "desk_wait"))
        waiting = asyncio.create_task(ask(upstream, runtime, "desk_wait"))
        await desk.waiting.wait()
        refused = await ask(upstream, runtime, "desk_refuse")
        assert (refused["status"], "no such drawer" in refused["error"]) == ("failed", True)
        assert await _offers(runtime, upstream, "desk_wait")
        desk.release.set()
        assert (await waiting)["status"] == "done"


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_an_mcp_server_that_hangs_is_given_up_and_found_again(monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    monkeypatch.setattr("mcp.Client", partial(mcp.Client, mode=mode))
    async with run_mcp_server() as desk:
        settings = McpServerSettings(name="desk", url=desk.url)
        server = mcp_server.McpServer(settings, refresh=0.01)
        async with Supervisor(Metrics(enabled=False)).running({"desk": server.watch}):
            await eventually(lambda: server.check()["status"] == "up")
            with monkeypatch.context() as impatient:
                impatient.setattr(mcp_server, "CONNECT_SECONDS", 0.2)
                desk.answering.clear()
                await eventually(lambda: server.check()["status"] == "down" and not server.tools())
            desk.answering.set()
            await eventually(lambda: server.check()["status"] == "up" and server.tools())


async def test_an_mcp_server_that_was_never_there_degrades_and_no_more(upstream: Upstream) -> None:
    servers = [{"name": "desk", "url": f"http://127.0.0.1:{free_port()}/mcp"}]
    async with run_runtime(upstream, mcp_servers=servers) as runtime:
        await eventually(lambda: is_down(runtime, "mcp-desk"))
        ready = await runtime.get("/ready")
        assert (ready.status, ready.json["degraded"]) == (200, ["mcp-desk"])
        assert (await runtime.chat()).status == 200


async def is_down(runtime: Runtime, name: str) -> bool:
    checks = (await runtime.ready())["checks"]
    return bool(checks[name]["status"] == "down" and checks["provider"]["status"] == "up")
