"""Idempotency-Key: a request that is sent again is asked once, billed once, and answered with the same bytes."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from tests.support.redis import RedisServer, run_redis
from tests.support.runtime import PATIENCE_SECONDS, QUESTION, Reply, Runtime, cancelled, eventually, run_runtime
from tests.support.upstream import Upstream, completion, die_mid_stream, paced, refuses

ALICE, BOB = "alice-0123456789", "bob-0123456789"
KEY = {"idempotency-key": "retry-1"}
PATHS = ("/v1/chat/completions", "/v1/responses")


async def ask(runtime: Runtime, path: str = PATHS[0], key: str | None = None, **fields: Any) -> Reply:
    body = {**QUESTION, **fields} if path == PATHS[0] else {"input": "What is the capital of France?", **fields}
    headers = KEY | ({"authorization": f"Bearer {key}"} if key else {})
    return await runtime.post(json.dumps(body), headers, path)


async def gated(upstream: Upstream, _: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    """Answer once the test lets it."""
    upstream.started.set()
    await upstream.release.wait()
    return web.json_response(completion(body["model"], f"answer {len(upstream.requests)}"))


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with run_redis() as started:
        yield started


@asynccontextmanager
async def two_replicas(upstream: Upstream, redis: RedisServer) -> AsyncIterator[list[Runtime]]:
    redis.command("FLUSHALL")
    shared = {"redis_url": redis.url, "secret_key": "s" * 32, "redis_cache_enabled": False}
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(run_runtime(upstream, **shared)) for _ in range(2)]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_a_repeat_gets_the_same_answer_and_asks_nobody(upstream: Upstream, path: str, stream: bool) -> None:
    async with run_runtime(upstream, redis_cache_enabled=False) as runtime:
        first = await ask(runtime, path, stream=stream)
        again = await ask(runtime, path, stream=stream)
    assert (again.status, again.body) == (200, first.body)
    assert again.headers["content-type"] == first.headers["content-type"]
    assert again.headers["x-provider"] == first.headers["x-provider"]
    assert again.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers
    assert again.headers["x-request-id"] != first.headers["x-request-id"]
    assert len(upstream.requests) == 1


async def test_it_is_billed_and_kept_in_its_session_once(upstream: Upstream) -> None:
    async with run_runtime(upstream, redis_cache_enabled=False, token_budget_daily=100_000) as runtime:
        async with runtime.client.post(f"{runtime.url}/v1/sessions", json={}) as begun:
            session = (await begun.json())["id"]
        first, again = [await ask(runtime, assistant={"session": session}) for _ in range(2)]
        other = await runtime.chat()
        kept = (await runtime.get(f"/v1/sessions/{session}/messages")).json["data"]
    assert again.body == first.body
    assert len(kept) == 2
    spent = int(first.headers["x-ratelimit-remaining-tokens"]) - int(other.headers["x-ratelimit-remaining-tokens"])
    assert spent == 20, "what the first took, and nothing for the second"


async def test_duplicates_at_once_wait_for_the_first(upstream: Upstream) -> None:
    upstream.default = gated
    async with run_runtime(upstream, redis_cache_enabled=False) as runtime:
        asking = [asyncio.create_task(ask(runtime)) for _ in range(5)]
        await asyncio.wait_for(upstream.started.wait(), PATIENCE_SECONDS)
        upstream.release.set()
        bodies = {(await task).body for task in asking}
    assert len(bodies) == 1
    assert len(upstream.requests) == 1


async def test_duplicates_at_two_replicas_do_too(upstream: Upstream, server: RedisServer) -> None:
    upstream.default = gated
    async with two_replicas(upstream, server) as replicas:
        asking = [asyncio.create_task(ask(replica)) for replica in replicas * 3]
        await asyncio.wait_for(upstream.started.wait(), PATIENCE_SECONDS)
        upstream.release.set()
        replies = [await task for task in asking]
        later = [await ask(replica) for replica in replicas]
    assert len({reply.body for reply in (*replies, *later)}) == 1
    assert sum("idempotent-replayed" in reply.headers for reply in replies) == 5
    assert len(upstream.requests) == 1


async def test_a_replica_that_died_leaves_no_claim_for_long(
    upstream: Upstream, server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("assistant_runtime.api.once.CLAIM_SECONDS", 600)
    upstream.script = [gated]
    async with two_replicas(upstream, server) as (first, second):
        lost = asyncio.create_task(ask(first))
        await asyncio.wait_for(upstream.started.wait(), PATIENCE_SECONDS)
        waiting = asyncio.create_task(ask(second))
        (name,) = [line.decode() for line in server.command("KEYS", "assistant:answer:*").split(b"\r\n")[2::2]]
        server.command("EXPIRE", name, "0")
        reply = await waiting
        upstream.release.set()
        assert (await lost).status == 200
        again = await ask(first)
    assert reply.status == 200
    assert again.body == reply.body, "whoever lost its claim does not put its answer over the other's"


@pytest.mark.parametrize("path", PATHS)
async def test_another_request_under_the_key_is_refused(upstream: Upstream, path: str) -> None:
    async with run_runtime(upstream) as runtime:
        assert (await ask(runtime, path)).status == 200
        reply = await ask(runtime, path, temperature=0.5)
    assert reply.status == 422
    assert reply.error["type"] == "idempotency_error"
    assert reply.error["code"] == "idempotency_key_reused"
    assert reply.error["param"] == "Idempotency-Key"
    assert len(upstream.requests) == 1


async def test_it_is_refused_while_the_first_is_answered_too(upstream: Upstream) -> None:
    upstream.default = gated
    async with run_runtime(upstream) as runtime:
        first = asyncio.create_task(ask(runtime))
        await asyncio.wait_for(upstream.started.wait(), PATIENCE_SECONDS)
        assert (await ask(runtime, temperature=0.5)).status == 422
        upstream.release.set()
        assert (await first).status == 200


async def test_the_order_of_fields_is_no_difference(upstream: Upstream) -> None:
    async with run_runtime(upstream) as runtime:
        first = await ask(runtime, temperature=0, seed=2**70)
        body = json.dumps({"seed": 2**70, "temperature": 0, **QUESTION})
        again = await runtime.post(body, KEY)
    assert (again.status, again.body) == (200, first.body)


async def test_a_key_is_its_tenants_and_its_paths_alone(upstream: Upstream) -> None:
    async with run_runtime(upstream, api_keys=f"{ALICE}\n{BOB}", redis_cache_enabled=False) as runtime:
        for path in PATHS:
            for key in (ALICE, BOB):
                assert "idempotent-replayed" not in (await ask(runtime, path, key)).headers
    assert len(upstream.requests) == 4


async def test_after_an_error_the_next_one_asks(upstream: Upstream) -> None:
    upstream.script = [refuses(400), die_mid_stream]
    async with run_runtime(upstream, redis_cache_enabled=False) as runtime:
        assert (await ask(runtime, stream=True)).status == 400
        broken = await ask(runtime, stream=True)
        whole = await ask(runtime, stream=True)
        again = await ask(runtime, stream=True)
    assert b"truncated" in broken.body
    assert b"[DONE]" in whole.body
    assert again.body == whole.body
    assert len(upstream.requests) == 3


async def test_a_client_that_leaves_gets_its_answer_when_it_asks_again(upstream: Upstream) -> None:
    upstream.default = gated
    async with run_runtime(upstream, redis_cache_enabled=False) as runtime:
        left = asyncio.create_task(ask(runtime))
        await asyncio.wait_for(upstream.started.wait(), PATIENCE_SECONDS)
        await cancelled(left)
        again = asyncio.create_task(ask(runtime))
        upstream.release.set()
        assert (await again).json["choices"][0]["message"]["content"] == "answer 1"
    assert len(upstream.requests) == 1


async def test_a_stream_whose_client_leaves_ends_at_the_provider(upstream: Upstream) -> None:
    upstream.script = [paced]
    async with run_runtime(upstream, redis_cache_enabled=False) as runtime:
        left = asyncio.create_task(ask(runtime, stream=True))
        await asyncio.wait_for(upstream.started.wait(), PATIENCE_SECONDS)
        await cancelled(left)
        await asyncio.wait_for(upstream.closed.wait(), PATIENCE_SECONDS)
        again = await ask(runtime, stream=True)
    assert b"[DONE]" in again.body
    assert len(upstream.requests) == 2


async def test_a_client_that_waits_and_leaves_stops_nobody(upstream: Upstream) -> None:
    upstream.default = gated
    async with run_runtime(upstream, redis_cache_enabled=False) as runtime:
        first = asyncio.create_task(ask(runtime))
        await asyncio.wait_for(upstream.started.wait(), PATIENCE_SECONDS)
        waiting = asyncio.create_task(ask(runtime))
        await eventually(lambda: in_flight(runtime, 3))
        await cancelled(waiting)
        await eventually(lambda: in_flight(runtime, 2))
        upstream.release.set()
        assert (await first).status == 200
    assert len(upstream.requests) == 1


async def in_flight(runtime: Runtime, count: int) -> bool:
    """Whether so many requests are in flight, with the one that asks."""
    scraped = (await runtime.get("/metrics")).body.decode().splitlines()
    return f"http_requests_in_flight {count:.1f}" in scraped


async def test_an_answer_that_is_too_long_to_be_kept_is_no_second_one(upstream: Upstream) -> None:
    async def long(_: Upstream, __: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        return web.json_response(completion(body["model"], "x" * 1_100_000))

    upstream.default = long
    async with run_runtime(upstream, redis_cache_enabled=False) as runtime:
        first, again = await ask(runtime), await ask(runtime)
    assert first.status == 200
    assert (again.status, again.error["code"]) == (409, "idempotent_answer_not_kept")
    assert len(upstream.requests) == 1


async def test_while_redis_is_down_each_process_keeps_its_own(upstream: Upstream) -> None:
    with run_redis() as redis:
        async with two_replicas(upstream, redis) as (first, second):
            redis.kill()
            bodies = [(await ask(each)).status for each in (first, first, second)]
    assert bodies == [200] * 3
    assert len(upstream.requests) == 2


async def test_the_header_can_be_turned_off(upstream: Upstream) -> None:
    async with run_runtime(upstream, idempotency_ttl=0, redis_cache_enabled=False) as runtime:
        for _ in range(2):
            await ask(runtime)
    assert len(upstream.requests) == 2
