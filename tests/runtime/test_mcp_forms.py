"""Forms in which MCP servers describe their tools and answer calls."""

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import mcp_types
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp_types import methods

from assistant_runtime.tools.mcp_answers import put_right, text_of
from assistant_runtime.tools.mcp_names import MAX_NAME_CHARACTERS, complete, offered_names
from tests.support.odd_mcp import PROTOCOL, OddMcpServer, run_odd_mcp_server
from tests.support.runtime import Runtime, eventually, run_runtime
from tests.support.tool_calls import calls
from tests.support.upstream import Upstream

SCHEMA = {"type": "object", "properties": {}}
LONG = "a" * 80


def tool(name: str, schema: Any = SCHEMA, **more: Any) -> dict[str, Any]:
    return {"name": name, "inputSchema": schema, **more}


@asynccontextmanager
async def serving(upstream: Upstream, server: OddMcpServer, **fields: Any) -> AsyncIterator[Runtime]:
    settings = [{"name": "desk", "url": server.url, **fields}]
    async with run_runtime(upstream, mcp_servers=settings, redis_cache_enabled=False) as runtime:
        await eventually(lambda: is_up(runtime))
        yield runtime


async def is_up(runtime: Runtime) -> bool:
    return (await check(runtime))["status"] == "up"


async def check(runtime: Runtime) -> Any:
    return (await runtime.ready())["checks"]["mcp-desk"]


async def offered(runtime: Runtime, upstream: Upstream) -> dict[str, Any]:
    """Give what a model is offered: the functions' parameters, by name."""
    await runtime.chat()
    return {each["function"]["name"]: each["function"]["parameters"] for each in upstream.requests[-1].get("tools", ())}


RESULTS: dict[str, tuple[Any, str]] = {
    "text": ({"content": [{"type": "text", "text": "Noon."}]}, "Noon."),
    "resource": (
        {"content": [{"type": "resource", "resource": {"uri": "file:///a.txt", "text": "Noon."}}]},
        "file:///a.txt\nNoon.",
    ),
    "bytes": (
        {
            "content": [
                {
                    "type": "resource",
                    "resource": {
                        "uri": "file:///a.json",
                        "mimeType": "application/json",
                        "blob": base64.b64encode(b'{"at": "noon"}').decode(),
                    },
                }
            ]
        },
        'file:///a.json\n{"at": "noon"}',
    ),
    "picture": (
        {
            "content": [
                {"type": "resource", "resource": {"uri": "file:///a.png", "mimeType": "image/png", "blob": "AA=="}}
            ]
        },
        "[image/png left out: file:///a.png]",
    ),
    "link": (
        {"content": [{"type": "resource_link", "name": "log", "uri": "file:///log", "description": "Today's."}]},
        "log - Today's.: file:///log",
    ),
    "structured": ({"content": [], "structuredContent": {"at": "noon"}}, '{"at":"noon"}'),
    "structured-alone": ({"structuredContent": {"at": "noon"}}, '{"at":"noon"}'),
    "structured-list": ({"structuredContent": ["noon"]}, '["noon"]'),
    "structured-and-empty": ({"content": [{"type": "text", "text": ""}], "structuredContent": {"a": 1}}, '{"a":1}'),
    "structured-and-text": ({"content": [{"type": "text", "text": "Noon."}], "structuredContent": {"a": 1}}, "Noon."),
    "unknown-block": (
        {"content": [{"type": "video", "uri": "x"}, {"type": "text", "text": "Noon."}]},
        "[video left out]\nNoon.",
    ),
    "plain-text": ({"content": ["Noon."]}, "Noon."),
    "text-null": ({"content": [{"type": "text", "text": None}]}, "null"),
}


@pytest.mark.parametrize("name", RESULTS)
async def test_a_result_reaches_the_model(upstream: Upstream, name: str) -> None:
    result, text = RESULTS[name]
    upstream.script = [calls(("call_1", "desk_look", {}))]
    async with run_odd_mcp_server(tool("look"), look=result) as server, serving(upstream, server) as runtime:
        step = (await runtime.chat()).json["assistant"]["steps"][0]
    told = upstream.requests[-1]["messages"][-1]["content"]
    assert step["status"] == "done"
    assert f"\n{text}\n" in told


async def test_a_schema_of_results_that_a_result_breaks_loses_nothing(upstream: Upstream) -> None:
    strict = {"type": "object", "properties": {"at": {"type": "string"}}, "required": ["at"]}
    upstream.script = [calls(("call_1", "desk_look", {}))]
    look = tool("look", outputSchema=strict)
    async with (
        run_odd_mcp_server(look, look={"content": [], "structuredContent": {"a": 1}}) as server,
        serving(upstream, server) as runtime,
    ):
        assert (await runtime.chat()).json["assistant"]["steps"][0]["status"] == "done"


async def test_one_bad_tool_costs_itself_alone(upstream: Upstream) -> None:
    good, bare, empty = tool("good"), tool("bare", {"type": "object"}), tool("empty", {})
    odd = [tool("list", {"type": "array"}), tool("text", "object"), {"inputSchema": SCHEMA}, 7, {"name": "unschemed"}]
    broken = tool("broken-results", outputSchema=5)
    async with run_odd_mcp_server(good, bare, empty, *odd, broken) as server, serving(upstream, server) as runtime:
        found = await offered(runtime, upstream)
        state, ready = await check(runtime), await runtime.ready()
    assert set(found) == {"desk_good", "desk_bare", "desk_empty", "desk_unschemed", "desk_broken-results"}
    assert all(parameters == SCHEMA for parameters in found.values())
    for name in ("list", "text", "number 6", "number 7"):
        assert f"{name} (" in state["detail"]
    assert (ready["status"], ready["degraded"]) == ("degraded", ["mcp-desk"])


async def test_names_are_shortened_and_told_apart(upstream: Upstream) -> None:
    async with (
        run_odd_mcp_server(tool("a.b"), tool("a_b"), tool("a/b"), tool(LONG), tool(f"{LONG}b")) as server,
        serving(upstream, server) as runtime,
    ):
        found = await offered(runtime, upstream)
        state = await check(runtime)
    assert len(found) == 5
    assert "desk_a_b" in found
    assert max(map(len, found)) == MAX_NAME_CHARACTERS
    assert "a.b as desk_a_b_" in state["detail"]
    assert (state["status"], state.get("degraded")) == ("up", None)


async def test_a_renamed_tool_is_called_by_its_own_name(upstream: Upstream) -> None:
    [name] = offered_names("desk", [LONG]).values()
    upstream.script = [calls(("call_1", name, {}))]
    result = {LONG: {"content": [{"type": "text", "text": "Noon."}]}}
    async with run_odd_mcp_server(tool(LONG), **result) as server, serving(upstream, server) as runtime:
        assert (await runtime.chat()).json["assistant"]["steps"][0]["status"] == "done"


async def test_a_tool_that_the_settings_name_is_found_among_hundreds(upstream: Upstream) -> None:
    async with (
        run_odd_mcp_server(*(tool(f"t{number}") for number in range(300))) as server,
        serving(upstream, server, tools=["t299", "gone"]) as runtime,
    ):
        assert set(await offered(runtime, upstream)) == {"desk_t299"}
        assert "named in the settings and not there: gone" in (await check(runtime))["detail"]


@given(st.sets(st.text(min_size=1, max_size=100), max_size=12))
def test_every_tool_has_a_name_of_its_own_that_providers_take(names: set[str]) -> None:
    found = offered_names("desk", sorted(names))
    assert set(found) == names
    assert len(set(found.values())) == len(names)
    assert all(len(name) <= MAX_NAME_CHARACTERS and name.replace("-", "_").isidentifier() for name in found.values())
    assert all(name.isascii() for name in found.values())


NAMES = (
    *("name", "inputSchema", "type", "properties", "required", "content", "text", "structuredContent", "resource"),
    *("uri", "blob", "mimeType", "title", "description", "data", "isError", "nextCursor"),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 1) | st.sampled_from(["", "x", "object", "text", "resource", "image"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(NAMES),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.lists(JSON, max_size=3), JSON)
def test_whatever_a_server_lists_or_answers_is_what_the_sdk_takes(tools: list[Any], result: Any) -> None:
    listed = {"tools": tools, "nextCursor": result}
    put_right(listed, {})
    methods.validate_server_result("tools/list", PROTOCOL, listed)
    answered = {"content": result, "structuredContent": tools}
    put_right(answered, {})
    methods.validate_server_result("tools/call", PROTOCOL, answered)
    text_of(mcp_types.CallToolResult.model_validate(answered, by_name=False)).encode("utf-8", "surrogatepass")


def test_a_schema_is_completed_and_otherwise_as_it_was() -> None:
    given_schema = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "object",
        "properties": {"tags": {"type": "array"}, "at": {"type": "string", "format": "date"}},
        "required": ["at", "gone"],
        "additionalProperties": False,
    }
    assert complete(given_schema) == {
        "type": "object",
        "properties": {"tags": {"type": "array", "items": {}}, "at": {"type": "string", "format": "date"}},
        "required": ["at"],
        "additionalProperties": False,
    }
    assert complete({"properties": None}) == SCHEMA
