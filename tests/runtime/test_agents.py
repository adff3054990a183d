"""Agents: prompt, model and tools under one name; handoffs; steps; and the API that keeps them."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.runtime.test_tool_loop import RESULTS, SEARCH, streamed
from tests.support.json_server import run_json_server
from tests.support.runtime import Reply, Runtime, run_runtime
from tests.support.tool_calls import calls, says
from tests.support.upstream import MODEL, Upstream

TRIAGE = {"name": "triage", "prompt": "You sort.", "handoffs": ["writer"], "tools": []}
WRITER = {"name": "writer", "description": "Writes.", "prompt": "You write.", "model": "big"}
HAND_OVER: tuple[str, str, dict[str, Any]] = ("call_h", "handoff_to_writer", {})


async def call(runtime: Runtime, method: str, path: str, **sent: Any) -> Reply:
    async with runtime.client.request(method, f"{runtime.url}/v1/agents{path}", **sent) as answer:
        return Reply(answer.status, dict(answer.headers), await answer.read())


@pytest.mark.parametrize("fields", [{"model": "agent/writer"}, {"assistant": {"agent": "writer"}}])
async def test_an_agent_answers_with_its_prompt_and_model(upstream: Upstream, fields: dict[str, Any]) -> None:
    async with run_runtime(upstream, agents=[TRIAGE, WRITER]) as runtime:
        answer = (await runtime.chat(**fields)).json
    (request,) = upstream.requests
    assert request["model"] == "big"
    assert request["messages"][0] == {"role": "system", "content": "You write."}
    assert "tools" not in request
    assert answer["assistant"]["agent"] == "writer"


async def test_an_agent_sees_only_its_tools(upstream: Upstream) -> None:
    searcher = {"name": "searcher", "prompt": "Search.", "tools": ["web_search", "nonsense"]}
    async with run_json_server() as searxng:
        searxng.answer("GET", "/search", RESULTS)
        settings = {"searxng_url": searxng.url, "fetch_tool_enabled": True, "agents": [searcher, WRITER]}
        async with run_runtime(upstream, **settings) as runtime:
            answer = (await runtime.chat(model="agent/searcher")).json
            await runtime.chat(model="agent/writer")
    tools = [[tool["function"]["name"] for tool in request["tools"]] for request in upstream.requests]
    assert tools == [["web_search"], ["fetch_page", "web_search"]]
    assert answer["assistant"]["notes"] == ["agent searcher: there is no tool nonsense"]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_handoff_switches_the_agent_within_the_turn(upstream: Upstream, stream: bool) -> None:
    upstream.script = [calls(HAND_OVER), says("A poem.")]
    async with run_runtime(upstream, agents=[TRIAGE, WRITER]) as runtime:
        if stream:
            events = await streamed(runtime, model="agent/triage")
            record = events[-2]["assistant"]
            assert any(
                event["assistant"].get("step", {}).get("type") == "handoff" for event in events if "assistant" in event
            )
        else:
            record = (await runtime.chat(model="agent/triage")).json["assistant"]
    first, second = upstream.requests
    assert [tool["function"]["name"] for tool in first["tools"]] == ["handoff_to_writer"]
    assert (first["model"], second["model"]) == (MODEL, "big")
    assert second["messages"][0]["content"] == "You write."
    assert [message["role"] for message in second["messages"]] == ["system", "user", "assistant", "tool"]
    (step,) = record["steps"]
    assert (step["type"], step["agent"], step["status"], record["agent"]) == ("handoff", "triage", "done", "writer")


async def test_agents_that_hand_over_in_circles_end(upstream: Upstream) -> None:
    agents = [
        {"name": "a", "prompt": "A", "handoffs": ["b"], "max_steps": 4},
        {"name": "b", "prompt": "B", "handoffs": ["a"]},
    ]
    to_b, to_a = (calls((f"call_{name}", f"handoff_to_{name}", {})) for name in "ba")
    upstream.script = [to_b, to_a, to_b, says("enough")]
    async with run_runtime(upstream, agents=agents) as runtime:
        answer = (await runtime.chat(model="agent/a")).json
    assert len(upstream.requests) == 4
    assert "tools" not in upstream.requests[-1]
    assert answer["choices"][0]["message"]["content"] == "enough"


async def test_tools_and_handoffs_in_one_answer(upstream: Upstream) -> None:
    upstream.script = [calls(SEARCH, HAND_OVER), says("done")]
    triage = TRIAGE | {"tools": ["web_search"]}
    async with run_json_server() as searxng:
        searxng.answer("GET", "/search", RESULTS)
        async with run_runtime(upstream, searxng_url=searxng.url, agents=[triage, WRITER]) as runtime:
            steps = (await runtime.chat(model="agent/triage")).json["assistant"]["steps"]
    assert [(step["type"], step["status"]) for step in steps] == [("tool", "done"), ("handoff", "done")]
    assert [message["role"] for message in upstream.requests[1]["messages"]][-3:] == ["assistant", "tool", "tool"]


async def test_an_unknown_agent_is_404(upstream: Upstream) -> None:
    async with run_runtime(upstream) as runtime:
        reply = await runtime.chat(model="agent/nobody")
    assert (reply.status, reply.error["code"]) == (404, "agent_not_found")


@pytest.mark.parametrize("kept", [False, True])
async def test_agents_are_made_changed_and_deleted(upstream: Upstream, tmp_path: Path, kept: bool) -> None:
    settings = {"data_dir": str(tmp_path), "secret_key": "s" * 32} if kept else {}
    async with run_runtime(upstream, agents=[WRITER], **settings) as runtime:
        made = await call(runtime, "PUT", "/helper", json={"prompt": "Help.", "handoffs": ["writer"]})
        changed = await call(runtime, "PUT", "/helper", json={"prompt": "Help more."})
        listed = (await call(runtime, "GET", "")).json["data"]
        first = (await call(runtime, "GET", "?limit=1")).json
        rest = (await call(runtime, "GET", f"?limit=1&after={first['next']}")).json
        await runtime.chat(model="agent/helper")
        if kept:
            async with run_runtime(upstream, agents=[WRITER], **settings) as again:
                assert (await call(again, "GET", "/helper")).json["prompt"] == "Help more."
        deleted = await call(runtime, "DELETE", "/helper")
        gone = await call(runtime, "GET", "/helper")
        shared = await call(runtime, "DELETE", "/writer")
    assert (made.status, changed.status, deleted.status, gone.status, shared.status) == (201, 200, 200, 404, 404)
    assert [*first["data"], *rest["data"]] == listed
    assert (first["has_more"], rest["has_more"], rest["next"]) == (True, False, None)
    assert [(each["name"], each["shared"]) for each in listed] == [("helper", False), ("writer", True)]
    assert upstream.requests[0]["messages"][0]["content"] == "Help more."


async def test_agents_are_each_tenants_own(upstream: Upstream) -> None:
    async with run_runtime(upstream, api_keys="one-key,two-key") as runtime:
        one, two = ({"authorization": f"Bearer {name}-key"} for name in ("one", "two"))
        await call(runtime, "PUT", "/helper", json={"prompt": "Help."}, headers=one)
        seen = [(await call(runtime, "GET", "/helper", headers=each)).status for each in (one, two)]
        asked = await runtime.chat(model="agent/helper", key="two-key")
    assert seen == [200, 404]
    assert asked.status == 404


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/helper", {}, "prompt"),
        ("/helper", {"prompt": "p", "handoffs": ["nobody"]}, "handoffs[0]"),
        ("/helper", {"prompt": "p", "max_steps": 0}, "max_steps"),
        ("/helper", {"prompt": "p", "tools": ["a b"]}, "tools[0]"),
        ("/helper", {"prompt": "p", "unknown": 1}, "unknown"),
        ("/Helper", {"prompt": "p"}, "name"),
    ],
)
async def test_a_bad_field_is_named(upstream: Upstream, path: str, body: dict[str, Any], param: str) -> None:
    async with run_runtime(upstream) as runtime:
        reply = await call(runtime, "PUT", path, json=body)
    assert (reply.status, reply.error["param"]) == (400, param)


async def test_agents_from_a_file(upstream: Upstream, tmp_path: Path) -> None:
    listed = tmp_path / "agents.json"
    listed.write_text(json.dumps([TRIAGE, WRITER]))
    async with run_runtime(upstream, agents_file=str(listed)) as runtime:
        assert (await runtime.chat(model="agent/triage")).status == 200
