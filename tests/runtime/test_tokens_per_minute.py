"""Tokens a minute of a key: one limit over all processes, held before a model is asked, told in OpenAI's headers."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import web

from assistant_runtime.settings import Settings
from assistant_runtime.stores.budgets import BudgetStore, MemoryBudgets, Period, RedisBudgets, TokenLimits
from assistant_runtime.stores.redis_client import redis_connection
from tests.support.redis import RedisServer, run_redis
from tests.support.runtime import run_runtime
from tests.support.upstream import Upstream, completion

PERIOD = Period.of(datetime(2026, 11, 29, tzinfo=UTC))
MINUTE = TokenLimits(minute=1000)


def takes(tokens: int) -> Any:
    async def behave(_: Upstream, __: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        usage = {"prompt_tokens": tokens, "completion_tokens": 0, "total_tokens": tokens}
        return web.json_response(completion(body["model"]) | {"usage": usage})

    return behave


async def test_a_client_learns_how_it_stands(upstream: Upstream) -> None:
    upstream.default = takes(600)
    async with run_runtime(upstream, tokens_per_minute=1000, redis_cache_enabled=False) as runtime:
        replies = [await runtime.chat() for _ in range(3)]
    assert [reply.status for reply in replies] == [200, 200, 429]
    assert {reply.headers["x-ratelimit-limit-tokens"] for reply in replies} == {"1000"}
    refused = replies[2]
    assert refused.error["code"] == "rate_limit_exceeded"
    assert refused.error["type"] == "rate_limit_error"
    assert "1000 tokens per minute" in refused.error["message"]
    assert refused.headers["x-ratelimit-remaining-tokens"] == "0"
    assert 1 <= int(refused.headers["retry-after"]) <= 61
    assert 0 < float(refused.headers["x-ratelimit-reset-tokens"].removesuffix("s")) <= 61
    assert len(upstream.requests) == 2, "what is refused costs nothing at the provider"


async def test_the_tighter_of_minute_and_budget_is_told(upstream: Upstream) -> None:
    upstream.default = takes(10)
    async with run_runtime(upstream, tokens_per_minute=5000, token_budget_daily=3000) as runtime:
        reply = await runtime.chat()
    assert reply.headers["x-ratelimit-limit-tokens"] == "3000"


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with run_redis() as started:
        yield started


@asynccontextmanager
async def in_redis(server: RedisServer) -> AsyncIterator[RedisBudgets]:
    connection = redis_connection(Settings.load(redis_url=server.url, secret_key="s" * 32))
    await connection.probe()
    try:
        yield RedisBudgets(connection)
    finally:
        await connection.aclose()


@pytest.fixture(params=["memory", "redis"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[BudgetStore]:
    if request.param == "memory":
        yield MemoryBudgets()
        return
    server: RedisServer = request.getfixturevalue("server")
    server.command("FLUSHALL")
    async with in_redis(server) as budgets:
        yield budgets


async def test_what_is_left_is_given_out_and_no_more(store: BudgetStore) -> None:
    amounts = [(await store.reserve("key", PERIOD, 600, MINUTE)).amount for _ in range(3)]
    assert amounts == [600, 400, 0]
    assert (await store.reserve("other", PERIOD, 600, MINUTE)).amount == 600
    refused = await store.reserve("key", PERIOD, 1, MINUTE)
    assert refused.minute == 1000
    assert 0 < refused.wait <= 61
    assert 0 < refused.reset <= 61


async def test_a_settled_reservation_counts_for_what_it_took(store: BudgetStore) -> None:
    held = await store.reserve("key", PERIOD, 900, MINUTE)
    await store.settle("key", PERIOD, held.second, -880, MINUTE)
    again = await store.reserve("key", PERIOD, 100, MINUTE)
    assert (again.amount, again.minute) == (100, 120)
    await store.settle("key", PERIOD, held.second, 5000, MINUTE)
    assert (await store.reserve("key", PERIOD, 1, MINUTE)).amount == 0


async def test_a_budget_and_the_minute_are_taken_in_one_step(store: BudgetStore) -> None:
    both = TokenLimits(minute=1000, daily=1500)
    assert (await store.reserve("key", PERIOD, 900, both)).amount == 900
    limited = await store.reserve("key", PERIOD, 900, both)
    assert (limited.amount, limited.minute, limited.day) == (100, 1000, 1000), "nothing is held that was not given"
    await store.settle("key", PERIOD, limited.second, -1000, both)
    spent = await store.reserve("key", PERIOD, 10_000, TokenLimits(daily=1500))
    assert (spent.amount, spent.day) == (1500, 1500)
    assert (await store.reserve("key", PERIOD, 1, both)).amount == 0


async def test_a_minute_slides() -> None:
    now = 1000.9
    budgets = MemoryBudgets(clock=lambda: now)
    assert (await budgets.reserve("key", PERIOD, 700, MINUTE)).amount == 700
    now = 1030.0
    assert (await budgets.reserve("key", PERIOD, 700, MINUTE)).amount == 300
    refused = await budgets.reserve("key", PERIOD, 1, MINUTE)
    assert refused.wait == pytest.approx(31.0), "when the whole second of the first ones has left"
    now = 1060.95
    assert (await budgets.reserve("key", PERIOD, 700, MINUTE)).amount == 0, "in any 60 seconds"
    now = 1061.0
    assert (await budgets.reserve("key", PERIOD, 1000, MINUTE)).amount == 700


async def test_in_redis_it_slides_too(server: RedisServer) -> None:
    server.command("FLUSHALL")
    async with in_redis(server) as budgets:
        held = await budgets.reserve("key", PERIOD, 700, MINUTE)
        server.command("HDEL", "assistant:tokens:{key}", str(held.second))
        server.command("HSET", "assistant:tokens:{key}", str(held.second - 62), "700")
        server.command("HSET", "assistant:tokens:{key}", str(held.second - 30), "300")
        again = await budgets.reserve("key", PERIOD, 1000, MINUTE)
        refused = await budgets.reserve("key", PERIOD, 1, MINUTE)
    assert again.amount == 700
    assert 20 < refused.wait <= 31


async def test_two_processes_give_out_exactly_the_limit(server: RedisServer) -> None:
    server.command("FLUSHALL")
    async with in_redis(server) as one, in_redis(server) as two:
        asked = [each.reserve("key", PERIOD, 90, MINUTE) for _ in range(20) for each in (one, two)]
        got = await asyncio.gather(*asked)
    assert sum(each.amount for each in got) == 1000
