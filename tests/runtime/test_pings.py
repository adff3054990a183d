"""Streams that are silent for long: clients get comments, which keep the connection open, and lose nothing by them."""

import asyncio
import json
from typing import Any

import openai
import pytest
from aiohttp import web

from tests.support.runtime import QUESTION, Runtime, run_runtime
from tests.support.upstream import MODEL, Upstream, normal, paced, refuses, whole_stream

PING = b": ping\n\n"
WHOLE = b"".join(whole_stream(MODEL))
REQUESTS = {
    "/v1/chat/completions": {**QUESTION, "stream": True},
    "/v1/responses": {"input": "hi", "stream": True, "store": False},
}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("assistant_runtime.api.event_sender.PING_SECONDS", 0.01)


def after_release(then: Any) -> Any:
    """Wait for the test before doing anything."""

    async def behave(upstream: Upstream, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        upstream.started.set()
        await upstream.release.wait()
        answer: web.StreamResponse = await then(upstream, request, body)
        return answer

    return behave


async def pinged(runtime: Runtime, upstream: Upstream, path: str) -> tuple[int, bytes]:
    """Ask, wait for two comments, let the provider go on, and give the answer."""
    async with runtime.client.post(f"{runtime.url}{path}", json=REQUESTS[path]) as answer:
        before = b""
        while before.count(PING) < 2:
            before += await answer.content.readuntil(b"\n\n")
        upstream.release.set()
        return answer.status, before + await answer.read()


def spoken(body: bytes) -> bytes:
    return body.replace(PING, b"")


async def test_a_model_that_thinks_before_its_first_word_keeps_the_connection_open(upstream: Upstream) -> None:
    upstream.default = after_release(normal)
    async with run_runtime(upstream) as runtime:
        status, body = await pinged(runtime, upstream, "/v1/chat/completions")
    assert status == 200
    assert body.startswith(PING * 2)
    assert spoken(body) == WHOLE


async def test_comments_come_between_whole_events(upstream: Upstream) -> None:
    upstream.default = paced
    async with run_runtime(upstream) as runtime:
        _, body = await pinged(runtime, upstream, "/v1/chat/completions")
    assert spoken(body) == WHOLE


@pytest.mark.parametrize("path", REQUESTS)
async def test_who_fails_after_a_comment_says_so_in_an_event(upstream: Upstream, path: str) -> None:
    upstream.default = after_release(refuses(429, "five a minute"))
    async with run_runtime(upstream) as runtime:
        status, body = await pinged(runtime, upstream, path)
    last = json.loads(spoken(body).strip().rpartition(b"data: ")[2])
    assert status == 200
    assert "five a minute" in (last.get("response") or last)["error"]["message"]


async def test_the_next_provider_may_answer_after_a_comment(upstream: Upstream, second: Upstream) -> None:
    upstream.default = after_release(refuses(500))
    async with run_runtime(upstream, second) as runtime:
        _, body = await pinged(runtime, upstream, "/v1/chat/completions")
    assert spoken(body) == WHOLE


async def test_openais_client_skips_comments(upstream: Upstream) -> None:
    upstream.default = after_release(normal)
    async with (
        run_runtime(upstream) as runtime,
        openai.AsyncOpenAI(base_url=f"{runtime.url}/v1", api_key="none", max_retries=0) as client,
    ):
        asking = asyncio.create_task(
            client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "?"}], stream=True)
        )
        await upstream.started.wait()
        stream = await asking
        upstream.release.set()
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])
    assert text == "Paris is the capital of France."
