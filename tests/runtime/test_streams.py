"""Streams: every byte arrives, a client that leaves is noticed, and a broken stream says that it is broken."""

import asyncio
import json
import socket
from itertools import pairwise
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant_runtime.providers.base import Usage
from assistant_runtime.providers.sse import EventReader
from tests.support.runtime import PATIENCE_SECONDS, QUESTION, Runtime, cancelled, eventually, run_runtime
from tests.support.upstream import (
    MODEL,
    WORDS,
    Behaviour,
    Upstream,
    answers,
    chunk,
    die_mid_stream,
    hang,
    paced,
    refuses,
    sse,
    usage_chunk,
    whole_stream,
    writes,
)

WHOLE = b"".join(whole_stream(MODEL))
COUNTED = [*whole_stream(MODEL)[:-1], usage_chunk(MODEL), b"data: [DONE]\n\n"]
"""The same from a provider that was asked for its tokens."""
MUCH_BYTES = 64 * 1024 * 1024
"""More than every buffer between a provider and a client together."""


def last_event(body: bytes) -> dict[str, Any]:
    event: dict[str, Any] = json.loads(body.strip().split(b"\n\n")[-1].removeprefix(b"data: "))
    return event


async def test_a_stream_arrives_byte_for_byte(upstream: Upstream) -> None:
    async with run_runtime(upstream) as runtime:
        reply = await runtime.chat(stream=True)
    assert reply.body == WHOLE
    assert reply.headers["content-type"].startswith("text/event-stream")
    assert reply.headers["cache-control"] == "no-cache"
    assert reply.headers["x-accel-buffering"] == "no"


@pytest.mark.parametrize(
    "parts",
    [
        [WHOLE],
        [WHOLE[i : i + 1] for i in range(len(WHOLE))],
        [WHOLE.replace(b"\n", b"\r\n")],
        [b"event: message\nid: 7\n" + WHOLE],
    ],
    ids=["one write", "one byte a write", "CRLF", "other fields"],
)
async def test_however_the_provider_cuts_its_writes(upstream: Upstream, parts: list[bytes]) -> None:
    upstream.script = [writes(*parts)]
    async with run_runtime(upstream) as runtime:
        assert (await runtime.chat(stream=True)).body == b"".join(parts)


async def test_tokens_are_always_asked_for_and_told_to_who_asks(upstream: Upstream) -> None:
    async with run_runtime(upstream) as runtime:
        unasked = await runtime.chat(stream=True, stream_options={"include_obfuscation": False})
        asked = await runtime.chat(stream=True, stream_options={"include_usage": True})
    assert unasked.body == WHOLE
    assert asked.body == b"".join(COUNTED)
    assert [request["stream_options"] for request in upstream.requests] == [
        {"include_obfuscation": False, "include_usage": True},
        {"include_usage": True},
    ]


@pytest.mark.parametrize(
    "refusal",
    [
        refuses(400, "Unknown parameter: 'stream_options'"),
        refuses(422, "", type="extra_forbidden", param="stream_options"),
    ],
)
async def test_a_provider_that_counts_no_stream_is_asked_without(upstream: Upstream, refusal: Behaviour) -> None:
    upstream.script = [refusal, writes(WHOLE), writes(WHOLE)]
    async with run_runtime(upstream) as runtime:
        replies = [await runtime.chat(stream=True) for _ in range(2)]
    assert [reply.body for reply in replies] == [WHOLE, WHOLE]
    assert ["stream_options" in request for request in upstream.requests] == [True, False, False]


async def test_a_client_that_asks_for_tokens_hears_that_there_are_none(upstream: Upstream) -> None:
    upstream.script = [refuses(400, "Unknown parameter: 'stream_options'"), writes(WHOLE)]
    async with run_runtime(upstream) as runtime:
        reply = await runtime.chat(stream=True, stream_options={"include_usage": True})
    assert (reply.status, reply.headers["x-ignored-params"]) == (200, "stream_options")
    assert ["stream_options" in request for request in upstream.requests] == [True, False]


async def test_comments_before_the_answer_hold_nothing_up(upstream: Upstream) -> None:
    upstream.script = [writes(b": waiting\n\n", b": still\n\n", WHOLE)]
    async with run_runtime(upstream) as runtime:
        assert (await runtime.chat(stream=True)).body.endswith(WHOLE)


async def test_an_event_may_be_as_long_as_an_image(upstream: Upstream) -> None:
    image = whole_stream(MODEL, ("x" * 5_000_000,))
    upstream.script = [writes(*image)]
    async with run_runtime(upstream) as runtime:
        assert (await runtime.chat(stream=True)).body == b"".join(image)


async def test_an_error_instead_of_a_stream_keeps_its_reason(upstream: Upstream) -> None:
    upstream.script = [answers('{"error": {"message": "the model is loading"}}')]
    async with run_runtime(upstream) as runtime:
        reply = await runtime.chat(stream=True)
    assert (reply.status, reply.error["code"]) == (502, "provider_stream_error")
    assert "the model is loading" in reply.error["message"]


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/rerank", "/v1/sessions", "/v1/documents"])
async def test_a_client_that_leaves_while_it_uploads_made_no_mistake(upstream: Upstream, path: str) -> None:
    form = path == "/v1/documents"
    kind = "multipart/form-data; boundary=x" if form else "application/json"
    head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {kind}\r\ncontent-length: 500\r\n\r\n"
    async with run_runtime(upstream) as runtime:
        host, port = runtime.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as client:
            client.sendall(head.encode() + (b"--x" if form else b"{"))
            await eventually(lambda: runtime.server.server_state.tasks)
        await eventually(lambda: not runtime.server.server_state.tasks)
        scraped = (await runtime.get("/metrics")).body.decode()
    assert f'http_requests_total{{endpoint="{path}",method="POST",status="499"}} 1.0' in scraped


@given(st.lists(st.integers(min_value=0, max_value=len(WHOLE)), max_size=12))
def test_any_cut_gives_the_same_events(cuts: list[int]) -> None:
    reader = EventReader()
    edges = [0, *sorted(cuts), len(WHOLE)]
    given_out = [reader.feed(WHOLE[a:b]) for a, b in pairwise(edges)]
    assert b"".join(given_out) == WHOLE
    assert all(part == b"" or part.endswith(b"\n\n") for part in given_out)
    assert reader.summary.done
    assert reader.problem is None


@given(st.lists(st.integers(min_value=0, max_value=len(b"".join(COUNTED))), max_size=12), st.booleans())
def test_any_cut_hides_the_tokens_alone(cuts: list[int], ended: bool) -> None:
    sent = b"".join(COUNTED if ended else COUNTED[:-1])
    reader = EventReader(hide_usage=True)
    edges = [0, *sorted(min(cut, len(sent)) for cut in cuts), len(sent)]
    given_out = [reader.feed(sent[a:b]) for a, b in pairwise(edges)]
    assert b"".join(given_out) + reader.finish() == WHOLE
    assert reader.summary.usage == Usage(14, 6)


async def test_a_hundred_streams_at_once_lose_and_mix_nothing(upstream: Upstream) -> None:
    async def echo(_: Upstream, request: Any, body: dict[str, Any]) -> Any:
        response = await sse(request)
        for number in range(50):
            await response.write(chunk(body["user"], f"{body['user']}-{number} "))
            await asyncio.sleep(0)
        await response.write(chunk(body["user"], None, "stop") + b"data: [DONE]\n\n")
        return response

    upstream.default = echo
    async with run_runtime(upstream, rate_limit_enabled=False) as runtime:
        replies = await asyncio.gather(*(runtime.chat(stream=True, user=f"u{i}") for i in range(100)))
    for i, reply in enumerate(replies):
        events = [json.loads(event[6:]) for event in reply.body.split(b"\n\n")[:-2]]
        text = "".join(event["choices"][0]["delta"].get("content", "") for event in events)
        assert text == "".join(f"u{i}-{number} " for number in range(50))


async def test_the_first_word_arrives_before_the_second_is_spoken(upstream: Upstream) -> None:
    upstream.script = [paced]
    async with run_runtime(upstream) as runtime, open_stream(runtime) as answer:
        assert await answer.content.readuntil(b"\n\n") == chunk(MODEL, WORDS[0])
        upstream.release.set()
        assert (await answer.read()).endswith(b"data: [DONE]\n\n")


async def test_a_missing_done_after_a_whole_answer_is_added(upstream: Upstream) -> None:
    upstream.script = [writes(*whole_stream(MODEL)[:-1])]
    async with run_runtime(upstream) as runtime:
        assert (await runtime.chat(stream=True)).body == WHOLE


async def test_a_missing_last_blank_line_is_added(upstream: Upstream) -> None:
    upstream.script = [writes(WHOLE.rstrip(b"\n"))]
    async with run_runtime(upstream) as runtime:
        assert (await runtime.chat(stream=True)).body == WHOLE


@pytest.mark.parametrize(
    ("behaviour", "code"),
    [
        (die_mid_stream, "provider_disconnected"),
        (writes(*whole_stream(MODEL)[:2]), "provider_stream_truncated"),
        (writes(*whole_stream(MODEL)[:2], b"data: {broken\n\n", *whole_stream(MODEL)[2:]), "provider_bad_response"),
        (
            writes(*whole_stream(MODEL)[:2], b'data: {"error": {"message": "out of memory"}}\n\n'),
            "provider_stream_error",
        ),
    ],
    ids=["cut", "ends early", "bad chunk", "own error"],
)
async def test_a_stream_that_breaks_ends_with_one_event_that_says_so(
    upstream: Upstream, second: Upstream, behaviour: Behaviour, code: str
) -> None:
    upstream.script = [behaviour]
    async with run_runtime(upstream, second) as runtime:
        reply = await runtime.chat(stream=True)
    error = last_event(reply.body)["error"]
    assert reply.status == 200
    assert reply.body.startswith(b"".join(whole_stream(MODEL)[:2]) + b'data: {"error"')
    assert (error["code"], error["truncated"]) == (code, True)
    assert "truncated" in error["message"]
    assert b"[DONE]" not in reply.body
    assert second.requests == [], "after the first token nobody else may go on"


ODD_CHOICES: list[Any] = [
    5,
    [5],
    [{"delta": "text"}],
    [{"delta": {"tool_calls": 5}}],
    [{"delta": {"tool_calls": ["call"]}}],
    [{"delta": {"tool_calls": [{"function": "name"}]}}],
    [{"delta": {}, "finish_reason": ["stop"]}],
]


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses"])
@pytest.mark.parametrize("tools", [False, True], ids=["passed on", "read"])
@pytest.mark.parametrize("choices", ODD_CHOICES, ids=json.dumps)
async def test_a_chunk_of_another_shape_ends_the_stream_honestly(
    upstream: Upstream, choices: Any, tools: bool, path: str
) -> None:
    upstream.script = [writes(chunk(MODEL, WORDS[0]), b"data: %b\n\n" % json.dumps({"choices": choices}).encode())]
    body = {"messages": [{"role": "user", "content": "hi"}], "input": "hi", "stream": True}
    async with run_runtime(upstream, fetch_tool_enabled=tools) as runtime:
        reply = await runtime.post(json.dumps(body), path=path)
    assert WORDS[0].encode() in reply.body
    last = json.loads(reply.body.strip().rpartition(b"data: ")[2])
    assert "truncated" in (last.get("response") or last)["error"]["message"]


@pytest.mark.parametrize("tools", [False, True], ids=["passed on", "read"])
@pytest.mark.parametrize("choices", ODD_CHOICES, ids=json.dumps)
async def test_an_answer_of_another_shape_is_the_providers_failure(
    upstream: Upstream, choices: Any, tools: bool
) -> None:
    answer = json.dumps({"choices": choices}).replace("delta", "message")
    upstream.default = answers(answer)
    async with run_runtime(upstream, fetch_tool_enabled=tools) as runtime:
        for path, body in (("/v1/chat/completions", QUESTION), ("/v1/responses", {"input": "hi"})):
            reply = await runtime.post(json.dumps(body), path=path)
            assert (reply.status, reply.error["code"]) == (502, "provider_bad_response")


async def test_a_provider_that_falls_silent_is_given_up(upstream: Upstream) -> None:
    upstream.script = [paced]
    async with run_runtime(upstream, openai_compatible_timeout=1.0) as runtime:
        reply = await runtime.chat(stream=True)
    assert reply.body.startswith(chunk(MODEL, WORDS[0]))
    assert last_event(reply.body)["error"]["code"] == "provider_timeout"
    await asyncio.wait_for(upstream.closed.wait(), PATIENCE_SECONDS)


@pytest.mark.parametrize("behaviour", [paced, hang], ids=["mid-stream", "before the first token"])
async def test_a_client_that_leaves_a_stream_closes_the_provider(upstream: Upstream, behaviour: Behaviour) -> None:
    upstream.script = [behaviour]
    async with run_runtime(upstream) as runtime:
        asking = asyncio.create_task(runtime.chat(stream=True))
        await upstream.started.wait()
        await cancelled(asking)
        await asyncio.wait_for(upstream.closed.wait(), PATIENCE_SECONDS)
        assert (await runtime.chat()).status == 200


async def test_a_client_that_leaves_without_streaming_closes_the_provider(upstream: Upstream) -> None:
    upstream.script = [hang]
    async with run_runtime(upstream) as runtime:
        asking = asyncio.create_task(runtime.chat())
        await upstream.started.wait()
        await cancelled(asking)
        await asyncio.wait_for(upstream.closed.wait(), PATIENCE_SECONDS)
        scraped = (await runtime.get("/metrics")).body.decode()
    assert 'http_requests_total{endpoint="/v1/chat/completions",method="POST",status="499"} 1.0' in scraped


async def test_a_client_that_leaves_with_another_request_waiting_closes_the_provider(upstream: Upstream) -> None:
    async def endless(behaving: Upstream, request: Any, body: dict[str, Any]) -> Any:
        response = await sse(request)
        try:
            while True:
                await response.write(chunk(body["model"], "x"))
                await asyncio.sleep(0.01)
        finally:
            behaving.closed.set()

    upstream.script = [endless]
    async with run_runtime(upstream) as runtime:
        body = json.dumps({**QUESTION, "stream": True}).encode()
        one = b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n" % len(body) + body
        reader, writer = await asyncio.open_connection(*runtime.url.removeprefix("http://").split(":"))
        writer.write(one * 2)
        await reader.readuntil(b"data: ")
        writer.close()
        await asyncio.wait_for(upstream.closed.wait(), PATIENCE_SECONDS)
        assert len(upstream.requests) == 1, "nobody waits for the answer to the second"


async def test_a_slow_client_slows_the_provider(upstream: Upstream) -> None:
    """What the client does not read must wait at the provider, and not in this process's memory."""
    sent = 0

    async def endless(_: Upstream, request: Any, body: dict[str, Any]) -> Any:
        nonlocal sent
        response = await sse(request)
        event = chunk(body["model"], "x" * 10_000)
        while True:
            await response.write(event)
            sent += len(event)

    upstream.script = [endless]
    async with run_runtime(upstream) as runtime:
        body = json.dumps({**QUESTION, "stream": True}).encode()
        host, port = runtime.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as client:
            client.sendall(
                b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n" % len(body)
                + body
            )
            await eventually(lambda: sent > 0)
            before = -1
            while before != sent and sent < MUCH_BYTES:
                before = sent
                await asyncio.sleep(0.2)
        await asyncio.wait_for(upstream.closed.wait(), PATIENCE_SECONDS)
    assert sent < MUCH_BYTES


def open_stream(runtime: Runtime) -> Any:
    timeout = aiohttp.ClientTimeout(total=PATIENCE_SECONDS)
    return runtime.client.post(f"{runtime.url}/v1/chat/completions", json={**QUESTION, "stream": True}, timeout=timeout)
