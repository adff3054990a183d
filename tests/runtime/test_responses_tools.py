"""Tools of the Responses API that no chat has: namespaces, custom tools, and OpenAI's own."""

import json
from typing import Any

import pytest

from tests.runtime.test_responses import CLOCK, post, serving
from tests.runtime.test_tool_loop import RESULTS
from tests.support.json_server import run_json_server
from tests.support.tool_calls import calls, says
from tests.support.upstream import Upstream

PATCH = "*** Begin Patch\n*** Add File: a.txt\n+a\n*** End Patch\n"
AGENTS: Any = {
    "type": "namespace",
    "name": "agents",
    "description": "Agents below this one.",
    "tools": [
        {"type": "function", "name": "spawn", "description": "Begin one.", "parameters": {"type": "object"}},
        {"type": "custom", "name": "note", "description": "Write to one."},
    ],
}
APPLY: Any = {
    "type": "custom",
    "name": "apply",
    "description": "Apply a patch.",
    "format": {"type": "grammar", "syntax": "lark", "definition": "start: /.+/"},
}


def offered(upstream: Upstream, request: int = -1) -> dict[str, Any]:
    return {tool["function"]["name"]: tool["function"] for tool in upstream.requests[request].get("tools", [])}


@pytest.mark.parametrize("stream", [False, True])
async def test_a_member_of_a_namespace_is_a_function_whose_call_has_the_namespace(
    upstream: Upstream, stream: bool
) -> None:
    upstream.script = [calls(("call_1", "agents__spawn", {"task": "look"})), says("Done.")]
    async with serving(upstream) as (_, client):
        asked: Any = {"model": "default", "input": "look", "tools": [AGENTS, CLOCK]}
        if stream:
            async with client.responses.stream(**asked) as events:
                first: Any = await events.get_final_response()
        else:
            first = await client.responses.create(**asked)
        (call,) = first.output
        result: Any = {"type": "function_call_output", "call_id": "call_1", "output": "seen"}
        history: Any = [{"role": "user", "content": "look"}, call.to_dict(), result]
        second = await client.responses.create(model="default", input=history, tools=[AGENTS, CLOCK])
    assert (call.type, call.name, call.namespace) == ("function_call", "spawn", "agents")
    assert json.loads(call.arguments) == {"task": "look"}
    assert second.output_text == "Done."
    functions = offered(upstream)
    assert list(functions) == ["agents__spawn", "agents__note", "clock"]
    assert functions["agents__spawn"]["description"] == "agents: Agents below this one.\n\nBegin one."
    assert upstream.requests[1]["messages"][1]["tool_calls"][0]["function"]["name"] == "agents__spawn"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("arguments", [{"input": PATCH}, {"patch": PATCH}, PATCH])
async def test_a_custom_tool_is_a_function_with_one_text(upstream: Upstream, arguments: Any, stream: bool) -> None:
    upstream.script = [calls(("call_1", "apply", arguments)), says("Applied.")]
    async with serving(upstream) as (_, client):
        asked: Any = {"model": "default", "input": "add a.txt", "tools": [APPLY]}
        if stream:
            async with client.responses.stream(**asked) as events:
                kinds = [event.type async for event in events]
                first: Any = await events.get_final_response()
            assert kinds.index("response.custom_tool_call_input.done") < kinds.index("response.output_item.done")
        else:
            first = await client.responses.create(**asked)
        (call,) = first.output
        result: Any = {"type": "custom_tool_call_output", "call_id": "call_1", "output": "ok"}
        history: Any = [{"role": "user", "content": "add a.txt"}, call.to_dict(), result]
        second = await client.responses.create(model="default", input=history, tools=[APPLY])
    assert (call.type, call.name, call.input, call.call_id) == ("custom_tool_call", "apply", PATCH, "call_1")
    assert second.output_text == "Applied."
    function = offered(upstream)["apply"]
    assert function["description"].endswith("must match this lark grammar:\nstart: /.+/")
    assert function["parameters"]["required"] == ["input"]
    assert [message["role"] for message in upstream.requests[1]["messages"]] == ["user", "assistant", "tool"]
    replayed = upstream.requests[1]["messages"][1]["tool_calls"][0]["function"]
    assert (replayed["name"], json.loads(replayed["arguments"])) == ("apply", {"input": PATCH})


@pytest.mark.parametrize("stream", [False, True])
async def test_a_hosted_tool_that_is_not_there_is_left_out_and_named(upstream: Upstream, stream: bool) -> None:
    tools: Any = [CLOCK, {"type": "web_search", "external_web_access": True}, {"type": "of_tomorrow"}]
    async with serving(upstream) as (_, client):
        asked: Any = {"model": "default", "input": "hi", "tools": tools, "tool_choice": {"type": "web_search_preview"}}
        if stream:
            async with client.responses.stream(**asked) as events:
                response: Any = await events.get_final_response()
        else:
            response = await client.responses.create(**asked)
    assert list(offered(upstream)) == ["clock"]
    assert "tool_choice" not in upstream.requests[0]
    assert [tool.type for tool in response.tools] == ["function"]
    assert response.tool_choice == "auto"
    search, tomorrow, choice = response.assistant["notes"]
    assert search.startswith("tools: web_search was left out: this assistant has no web search")
    assert tomorrow.startswith("tools: of_tomorrow was left out")
    assert choice.startswith("tool_choice: web_search_preview is not offered")


async def test_notes_of_the_answer_and_of_what_was_left_out_stand_together(upstream: Upstream) -> None:
    async with run_json_server() as searxng:
        searxng.answer("GET", "/search", RESULTS)
        async with serving(upstream, searxng_url=searxng.url, tool_execution_timeout=5) as (runtime, _):
            tools = [{"type": "web_search"}, {"type": "file_search", "vector_store_ids": ["vs_1"]}]
            reply = await post(runtime, input="hi", tools=tools)
    assert list(offered(upstream)) == ["web_search"]
    assert [note.split(" was ")[0] for note in reply.json["assistant"]["notes"]] == ["tools: file_search"]


async def test_what_hosted_tools_left_in_a_conversation_is_left_out(upstream: Upstream) -> None:
    items = [
        {"role": "user", "content": "hi"},
        {"type": "web_search_call", "id": "ws_1", "status": "completed"},
        {"type": "web_search_call", "id": "ws_2", "status": "completed"},
        {"type": "mcp_list_tools", "id": "mcpl_1", "server_label": "x", "tools": []},
    ]
    async with serving(upstream) as (runtime, _):
        reply = await post(runtime, input=items)
    assert upstream.requests[0]["messages"] == [{"role": "user", "content": "hi"}]
    assert len(reply.json["assistant"]["notes"]) == 2


@pytest.mark.parametrize(
    ("choice", "names", "passed"),
    [
        ({"type": "custom", "name": "apply"}, ["agents__spawn", "agents__note", "apply"], "apply"),
        (
            {"type": "function", "name": "spawn", "namespace": "agents"},
            ["agents__spawn", "agents__note", "apply"],
            "agents__spawn",
        ),
        (
            {"type": "allowed_tools", "mode": "required", "tools": [{"type": "custom", "name": "apply"}]},
            ["apply"],
            "required",
        ),
        ({"type": "allowed_tools", "mode": "auto", "tools": [{"type": "file_search"}]}, [], None),
    ],
)
async def test_a_choice_of_a_tool_is_passed_on(
    upstream: Upstream, choice: Any, names: list[str], passed: str | None
) -> None:
    async with serving(upstream) as (runtime, _):
        reply = await post(runtime, input="hi", tools=[AGENTS, APPLY], tool_choice=choice)
    assert reply.status == 200
    assert list(offered(upstream)) == names
    sent = upstream.requests[0].get("tool_choice")
    assert (sent["function"]["name"] if isinstance(sent, dict) else sent) == passed


async def test_long_names_stay_apart_and_come_back(upstream: Upstream) -> None:
    names = [f"{'x' * 60}.{place}" for place in range(2)]
    members = [{"type": "function", "name": name, "parameters": {"type": "object"}} for name in names]
    async with serving(upstream) as (runtime, _):
        await post(runtime, input="hi", tools=[{"type": "namespace", "name": "mcp", "tools": members}])
        sent = list(offered(upstream))
        upstream.script = [calls(("call_1", sent[1], {}))]
        reply = await post(runtime, input="again", tools=[{"type": "namespace", "name": "mcp", "tools": members}])
    assert len(set(sent)) == 2
    assert all(len(name) == 64 for name in sent)
    (call,) = reply.json["output"]
    assert (call["namespace"], call["name"]) == ("mcp", names[1])


async def test_a_model_that_forgets_the_namespace_is_understood(upstream: Upstream) -> None:
    upstream.script = [calls(("call_1", "spawn", {}))]
    async with serving(upstream) as (runtime, _):
        (call,) = (await post(runtime, input="hi", tools=[AGENTS])).json["output"]
    assert (call["namespace"], call["name"]) == ("agents", "spawn")


@pytest.mark.parametrize(
    ("tools", "param"),
    [
        ([{"type": "namespace", "name": "m"}], "tools[0].tools"),
        ([{"type": "namespace", "tools": []}], "tools[0].name"),
        ([{"type": "namespace", "name": "m", "tools": ["x"]}], "tools[0].tools[0]"),
        ([{"type": "namespace", "name": "m", "tools": [AGENTS]}], "tools[0].tools[0].type"),
        ([CLOCK, CLOCK], "tools[1].name"),
        ([{"type": "custom"}], "tools[0].name"),
        ([{"type": "function", "name": ""}], "tools[0].name"),
    ],
)
async def test_a_malformed_tool_is_named(upstream: Upstream, tools: list[Any], param: str) -> None:
    async with serving(upstream) as (runtime, _):
        reply = await post(runtime, input="hi", tools=tools)
    assert (reply.status, reply.error["param"]) == (400, param)
    assert upstream.requests == []
