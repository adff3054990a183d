"""What a model thought: kept wherever its message is, and sent back to who wants it."""

import json
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
from aiohttp import web

from tests.support.json_server import JsonServer, run_json_server
from tests.support.runtime import QUESTION, Runtime, run_runtime
from tests.support.tool_calls import call_object
from tests.support.upstream import MODEL, Upstream, answers, chunk, completion, normal, refuses, sse, writes

SEARCH = ("call_1", "web_search", {"query": "capital of France"})
CLOCK = ("call_2", "clock", {"zone": "CET"})
CLOCK_TOOL = {"type": "function", "function": {"name": "clock", "parameters": {"type": "object", "properties": {}}}}
DETAILS = [{"type": "reasoning.text", "text": "Let me see.", "signature": "c2ln", "index": 0}]
THOUGHTS: list[dict[str, Any]] = [
    {"reasoning_content": "Let me see."},
    {"reasoning": "Let me see.", "reasoning_details": DETAILS},
    {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Let me see."}]}]},
]
JSON = {"content-type": "application/json"}
MISSING = "The `reasoning_content` in the thinking mode must be passed back to the API."


@pytest.fixture
async def searxng() -> AsyncIterator[JsonServer]:
    async with run_json_server() as server:
        server.answer("GET", "/search", {"results": []})
        yield server


def thinks(fields: dict[str, Any], *calls: Any, text: str | None = None) -> Any:
    """Think, and then call or say something, streamed or not as the request wants it."""

    async def behave(_: Upstream, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        said = {"role": "assistant", "content": text, **fields}
        asked = [call_object(call) for call in calls]
        if not body.get("stream"):
            answer = completion(MODEL)
            answer["choices"] = [{"index": 0, "message": said | ({"tool_calls": asked} if asked else {})}]
            answer["choices"][0]["finish_reason"] = "tool_calls" if asked else "stop"
            return web.json_response(answer)
        response = await sse(request)
        for piece in (said, {"tool_calls": [{"index": place, **call} for place, call in enumerate(asked)]}):
            event = json.loads(chunk(MODEL, None)[6:])
            event["choices"][0]["delta"] = piece
            await response.write(b"data: " + json.dumps(event).encode() + b"\n\n")
        await response.write(chunk(MODEL, None, "tool_calls" if asked else "stop") + b"data: [DONE]\n\n")
        return response

    return behave


async def strict(upstream: Upstream, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    """Refuse as DeepSeek does while it thinks: calls without the thoughts before them."""
    for message in body["messages"]:
        if message.get("tool_calls") and not message.get("reasoning_content"):
            return await refuses(400, MISSING)(upstream, request, body)
    return await normal(upstream, request, body)


def said_to(upstream: Upstream) -> list[dict[str, Any]]:
    """Give the assistant's messages of the last request."""
    return [message for message in upstream.requests[-1]["messages"] if message["role"] == "assistant"]


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses"])
@pytest.mark.parametrize(("depth", "code"), [(50, None), (900, "provider_bad_response")])
async def test_thoughts_that_are_nested_deeply_are_a_bad_answer(
    upstream: Upstream, searxng: JsonServer, path: str, depth: int, code: str | None
) -> None:
    said = {"role": "assistant", "content": "Paris.", "reasoning_details": "?"}
    whole = json.dumps(completion(MODEL) | {"choices": [{"index": 0, "message": said, "finish_reason": "stop"}]})
    begun = json.dumps(completion(MODEL) | {"choices": [{"index": 0, "delta": said}]})
    deep, end = "[" * depth + "]" * depth, chunk(MODEL, None, "stop") + b"data: [DONE]\n\n"
    event = f"data: {begun}\n\n".replace('"?"', deep).encode()
    upstream.script = [answers(whole.replace('"?"', deep)), writes(chunk(MODEL, "Well: "), event, end)]
    bodies: dict[str, dict[str, Any]] = {"/v1/chat/completions": QUESTION, "/v1/responses": {"input": "Hi"}}
    asked = bodies[path]
    async with run_runtime(upstream, searxng_url=searxng.url) as runtime:
        at_once = await runtime.post(json.dumps(asked), path=path)
        stream = await runtime.post(json.dumps({**asked, "stream": True}), path=path)
    assert (at_once.status, at_once.json.get("error") and at_once.error["code"]) == (502 if code else 200, code)
    assert stream.status == 200
    assert (b"Paris." in stream.body, (code or "bad_response").encode() in stream.body) == (
        code is None,
        code is not None,
    )


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("fields", THOUGHTS, ids="+".join)
async def test_a_round_of_the_servers_tools_gives_thoughts_back(
    upstream: Upstream, searxng: JsonServer, fields: dict[str, Any], stream: bool
) -> None:
    upstream.script = [thinks(fields, SEARCH)]
    async with run_runtime(upstream, searxng_url=searxng.url) as runtime:
        assert (await runtime.chat(stream=stream)).status == 200
    assert len(upstream.requests) == 2
    assert fields.items() <= said_to(upstream)[0].items()


@pytest.mark.parametrize("stream", [False, True])
async def test_a_session_keeps_thoughts_for_the_clients_calls(upstream: Upstream, stream: bool) -> None:
    upstream.script = [thinks(THOUGHTS[0], CLOCK), strict]
    async with run_runtime(upstream) as runtime:
        session = (await runtime.post("{}", JSON, "/v1/sessions")).json["id"]
        first = await runtime.chat(tools=[CLOCK_TOOL], stream=stream, assistant={"session": session})
        result = {"role": "tool", "tool_call_id": "call_2", "content": "noon"}
        second = await runtime.chat(messages=[result], tools=[CLOCK_TOOL], assistant={"session": session})
    assert (first.status, second.status, len(upstream.requests)) == (200, 200, 2)


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("fields", THOUGHTS, ids="+".join)
async def test_responses_give_thoughts_as_an_item_and_take_it_back(
    upstream: Upstream, fields: dict[str, Any], stream: bool, stored: bool
) -> None:
    upstream.script = [thinks(fields, CLOCK)]
    tools = [{"type": "function", "name": "clock", "parameters": {"type": "object", "properties": {}}}]
    result = {"type": "function_call_output", "call_id": "call_2", "output": "noon"}
    async with run_runtime(upstream) as runtime:
        first = await respond(runtime, input="What time is it?", tools=tools, stream=stream, store=stored)
        thought, call = first["output"]
        if stored:
            # By reference, as some programs send all that was stored.
            known = [{"type": "item_reference", "id": item["id"]} for item in (thought, call)]
        else:
            known = [thought, call]
        asked = [{"role": "user", "content": "What time is it?"}, *known, result]
        await respond(runtime, input=asked, tools=tools, store=False)
    assert (thought["type"], call["type"]) == ("reasoning", "function_call")
    assert thought["content"] == [{"type": "reasoning_text", "text": "Let me see."}]
    assert fields.items() <= said_to(upstream)[0].items()
    assert len(said_to(upstream)) == 1


async def respond(runtime: Runtime, **fields: Any) -> Any:
    reply = await runtime.post(json.dumps(fields), path="/v1/responses")
    assert reply.status == 200, reply.body
    if not fields.get("stream"):
        return reply.json
    events = [json.loads(event.partition(b"data: ")[2]) for event in reply.body.split(b"\n\n") if event]
    return events[-1]["response"]


async def test_openais_client_reads_thoughts_as_they_come(upstream: Upstream) -> None:
    upstream.script = [thinks({"reasoning": "Hm."}, text="Paris.")] * 2
    async with (
        run_runtime(upstream) as runtime,
        openai.AsyncOpenAI(base_url=f"{runtime.url}/v1", api_key="none") as client,
    ):
        async with client.responses.stream(model="default", input="Where?") as stream:
            kinds = [event.type async for event in stream]
            final = await stream.get_final_response()
        summed = await client.responses.create(input="Where?", reasoning={"summary": "auto"})
    assert [item.type for item in final.output] == ["reasoning", "message"]
    assert kinds.index("response.reasoning_text.delta") < kinds.index("response.output_text.delta")
    assert summed.output[0].type == "reasoning"
    assert [part.text for part in summed.output[0].summary] == ["Hm."]


async def test_a_client_that_drops_thoughts_is_answered_all_the_same(upstream: Upstream) -> None:
    """OpenAI's own client knows no such field; a provider that wants it gets an empty one."""
    upstream.script = [strict_but_empty, strict_but_empty]
    asked = [
        {"role": "user", "content": "What time is it?"},
        {"role": "assistant", "content": None, "tool_calls": [call_object(CLOCK)]},
        {"role": "tool", "tool_call_id": "call_2", "content": "noon"},
    ]
    async with run_runtime(upstream) as runtime:
        assert (await runtime.chat(messages=asked)).status == 200
    assert [message["reasoning_content"] for message in said_to(upstream)] == [""]


async def strict_but_empty(upstream: Upstream, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    for message in body["messages"]:
        if message.get("tool_calls") and "reasoning_content" not in message:
            return await refuses(400, "", param=MISSING)(upstream, request, body)
    return await normal(upstream, request, body)
