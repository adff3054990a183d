"""Chats in a session: what came before is sent, and what was said is kept, also when it breaks off."""

import asyncio
import json
from typing import Any

import pytest

from tests.runtime.test_tool_loop import CLIENTS, RESULTS, SEARCH
from tests.support.json_server import run_json_server
from tests.support.runtime import QUESTION, Reply, Runtime, cancelled, eventually, run_runtime
from tests.support.tool_calls import calls, says
from tests.support.upstream import MODEL, WORDS, Upstream, chunk, die_mid_stream, paced, refuses, writes


async def new_session(runtime: Runtime) -> str:
    async with runtime.client.post(f"{runtime.url}/v1/sessions", json={}) as answer:
        assert answer.status == 201
        return str((await answer.json())["id"])


async def kept(runtime: Runtime, session: str) -> list[tuple[str, Any]]:
    found = (await runtime.get(f"/v1/sessions/{session}/messages")).json["data"]
    return [(each["message"]["role"], each["message"]["content"]) for each in found]


async def say(runtime: Runtime, session: str, text: str, **fields: Any) -> Reply:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": text}]
    return await runtime.chat(messages=messages, assistant={"session": session}, **fields)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_session_remembers(upstream: Upstream, stream: bool) -> None:
    upstream.script = [says("Hello Ada."), says("Ada.")]
    async with run_runtime(upstream) as runtime:
        session = await new_session(runtime)
        first = await say(runtime, session, "I am Ada.", stream=stream)
        await say(runtime, session, "Who am I?", stream=stream)
        messages = await kept(runtime, session)
    if not stream:
        assert first.json["assistant"]["session"] == {"id": session, "version": 1}
    assert [(each["role"], each["content"]) for each in upstream.requests[1]["messages"]] == [
        ("system", "Be brief."),
        ("user", "I am Ada."),
        ("assistant", "Hello Ada."),
        ("user", "Who am I?"),
    ]
    assert messages == [
        ("user", "I am Ada."),
        ("assistant", "Hello Ada."),
        ("user", "Who am I?"),
        ("assistant", "Ada."),
    ]


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses"])
async def test_a_header_names_the_session_as_the_field_does(upstream: Upstream, path: str) -> None:
    async with run_runtime(upstream) as runtime:
        session = await new_session(runtime)
        body = json.dumps({**QUESTION, "input": QUESTION["messages"][0]["content"]})
        reply = await runtime.post(body, {"x-session-id": session}, path)
        assert reply.json["assistant"]["session"] == {"id": session, "version": 1}
        assert [role for role, _ in await kept(runtime, session)] == ["user", "assistant"]


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses"])
@pytest.mark.parametrize(
    "given", ["ses_6f3c01d2effe", "sess_unknown", "a b", "", "0b9c1e0e-4f6e-4d0e-9d3c-0242ac120002"]
)
async def test_a_header_with_an_id_of_another_program_has_no_effect(upstream: Upstream, given: str, path: str) -> None:
    async with run_runtime(upstream) as runtime:
        body = json.dumps({**QUESTION, "input": "hi", "store": False})
        reply = await runtime.post(body, {"x-session-id": given}, path)
    assert (reply.status, reply.json.get("assistant")) == (200, None)


async def test_a_header_that_names_a_session_which_is_gone_is_refused(upstream: Upstream) -> None:
    async with run_runtime(upstream) as runtime:
        reply = await runtime.chat(headers={"x-session-id": f"sess_{'0' * 32}"})
    assert (reply.status, reply.error["code"]) == (404, "session_not_found")
    assert upstream.requests == []


async def test_header_and_field_must_not_differ(upstream: Upstream) -> None:
    async with run_runtime(upstream) as runtime:
        session = await new_session(runtime)
        assert (await say(runtime, session, "hi", headers={"x-session-id": session})).status == 200
        assert (await say(runtime, session, "hi", headers={"x-session-id": "another-programs"})).status == 200
        other = await say(runtime, session, "hi", headers={"x-session-id": f"sess_{'0' * 32}"})
    assert (other.status, other.error["param"]) == (400, "X-Session-Id")


async def test_the_same_key_is_kept_once(upstream: Upstream) -> None:
    async with run_runtime(upstream) as runtime:
        session = await new_session(runtime)
        for _ in range(2):
            await say(runtime, session, "hi", headers={"idempotency-key": "turn-1"})
        assert len(await kept(runtime, session)) == 2


async def test_tool_calls_and_results_are_kept(upstream: Upstream) -> None:
    upstream.script = [calls(SEARCH), says("Paris.")]
    async with run_json_server() as searxng:
        searxng.answer("GET", "/search", RESULTS)
        async with run_runtime(upstream, searxng_url=searxng.url) as runtime:
            session = await new_session(runtime)
            await say(runtime, session, "capital?")
            roles = [role for role, _ in await kept(runtime, session)]
            await say(runtime, session, "sure?")
    assert roles == ["user", "assistant", "tool", "assistant"]
    assert [each["role"] for each in upstream.requests[2]["messages"]][1:] == [*roles, "user"]


async def test_a_client_that_never_answers_a_call_does_not_break_the_session(upstream: Upstream) -> None:
    upstream.script = [calls(("call_1", "clock", {})), says("fine")]
    async with run_runtime(upstream) as runtime:
        session = await new_session(runtime)
        await say(runtime, session, "time?", tools=[CLIENTS])
        await say(runtime, session, "never mind")
    roles = [each["role"] for each in upstream.requests[1]["messages"]]
    assert roles == ["system", "user", "assistant", "tool", "user"]


async def test_a_stream_that_breaks_keeps_what_arrived(upstream: Upstream) -> None:
    upstream.script = [die_mid_stream]
    async with run_runtime(upstream) as runtime:
        session = await new_session(runtime)
        await say(runtime, session, "hi", stream=True)
        data = (await runtime.get(f"/v1/sessions/{session}/messages")).json["data"]
    assert data[-1]["message"]["content"] == "".join(WORDS[:2])
    assert data[-1]["incomplete"] is True


async def test_a_client_that_leaves_keeps_what_arrived(upstream: Upstream) -> None:
    upstream.script = [paced]
    async with run_runtime(upstream) as runtime:
        session = await new_session(runtime)
        asking = asyncio.create_task(say(runtime, session, "hi", stream=True))
        await eventually(upstream.started.is_set)
        await cancelled(asking)
        await eventually(lambda: _is_kept(runtime, session))
        assert await kept(runtime, session) == [("user", "hi"), ("assistant", WORDS[0])]


async def _is_kept(runtime: Runtime, session: str) -> bool:
    return len(await kept(runtime, session)) == 2


async def test_an_answer_that_never_began_leaves_nothing(upstream: Upstream) -> None:
    upstream.script = [refuses(500)]
    async with run_runtime(upstream) as runtime:
        session = await new_session(runtime)
        assert (await say(runtime, session, "hi")).status == 502
        assert await kept(runtime, session) == []


async def test_a_session_that_is_not_there_is_404(upstream: Upstream) -> None:
    async with run_runtime(upstream) as runtime:
        reply = await say(runtime, "sess_nobody", "hi")
    assert (reply.status, reply.error["code"]) == (404, "session_not_found")
    assert upstream.requests == []


async def test_a_stream_that_breaks_before_it_says_anything_to_no_question_ends_as_any_other(
    upstream: Upstream,
) -> None:
    upstream.script = [writes(chunk(MODEL, None))]
    async with run_runtime(upstream) as runtime:
        session = await new_session(runtime)
        alone = [{"role": "system", "content": "Be brief."}]
        reply = await runtime.chat(messages=alone, assistant={"session": session}, stream=True)
        assert await kept(runtime, session) == []
    assert b'"code":"provider_stream_truncated"' in reply.body
