"""Rate limits: exact in a window, over processes too, told in OpenAI's headers."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from assistant_runtime.settings import Settings
from assistant_runtime.stores.memory import MemoryRateLimits
from assistant_runtime.stores.redis import RedisRateLimits
from assistant_runtime.stores.redis_client import redis_connection
from tests.support.redis import RedisServer
from tests.support.runtime import QUESTION, run_process, run_runtime
from tests.support.upstream import MODEL, Upstream

ALICE, BOB = "alice-0123456789", "bob-0123456789"


async def test_a_client_learns_how_it_stands(upstream: Upstream) -> None:
    async with run_runtime(upstream, rate_limit_requests=2, rate_limit_window=60) as runtime:
        replies = [await runtime.chat() for _ in range(3)]
    assert [reply.status for reply in replies] == [200, 200, 429]
    assert [reply.headers["x-ratelimit-limit-requests"] for reply in replies] == ["2", "2", "2"]
    assert [reply.headers["x-ratelimit-remaining-requests"] for reply in replies] == ["1", "0", "0"]
    assert all(reply.headers["x-ratelimit-reset-requests"].endswith("s") for reply in replies)
    refused = replies[2]
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert refused.error["code"] == "rate_limit_exceeded"
    assert refused.error["type"] == "rate_limit_error"


async def test_each_key_has_a_limit_of_its_own(upstream: Upstream) -> None:
    async with run_runtime(upstream, rate_limit_requests=1, api_keys=f"{ALICE}\n{BOB}") as runtime:
        statuses = [(await runtime.chat(key)).status for key in (ALICE, ALICE, BOB, BOB)]
    assert statuses == [200, 429, 200, 429]


async def test_the_limit_covers_all_of_the_api_and_no_probe(upstream: Upstream) -> None:
    async with run_runtime(upstream, rate_limit_requests=1) as runtime:
        assert (await runtime.get("/v1/models")).status == 200
        assert (await runtime.get("/v1/models")).status == 429
        assert (await runtime.get("/health")).status == 200
        assert (await runtime.get("/metrics")).status == 200


async def test_refused_requests_cost_nothing_at_the_provider(upstream: Upstream) -> None:
    async with run_runtime(upstream, rate_limit_requests=1) as runtime:
        for _ in range(5):
            await runtime.chat(headers={"cache-control": "no-store"})
    assert len(upstream.requests) == 1


async def test_limits_can_be_turned_off(upstream: Upstream) -> None:
    async with run_runtime(upstream, rate_limit_requests=1, rate_limit_enabled=False) as runtime:
        replies = [await runtime.chat() for _ in range(3)]
    assert [reply.status for reply in replies] == [200, 200, 200]
    assert "x-ratelimit-limit-requests" not in replies[0].headers


async def test_decisions_are_counted(upstream: Upstream) -> None:
    async with run_runtime(upstream, rate_limit_requests=2) as runtime:
        for _ in range(3):
            await runtime.chat()
        scraped = (await runtime.get("/metrics")).body.decode()
    assert 'rate_limit_decisions_total{decision="admitted"} 2.0' in scraped
    assert 'rate_limit_decisions_total{decision="refused"} 1.0' in scraped
    assert 'http_requests_total{endpoint="/v1/chat/completions",method="POST",status="429"} 1.0' in scraped


async def test_two_processes_on_one_redis_admit_exactly_the_limit(
    upstream: Upstream, redis: RedisServer, tmp_path: Path
) -> None:
    variables = {
        "OPENAI_COMPATIBLE_BASE_URL": upstream.url,
        "OPENAI_COMPATIBLE_DEFAULT_MODEL": MODEL,
        "REDIS_URL": redis.url,
        "SECRET_KEY": "k" * 32,
        "RATE_LIMIT_REQUESTS": "50",
        "RATE_LIMIT_WINDOW": "3600",
        "API_KEYS": ALICE,
    }
    with run_process(tmp_path / "a", **variables) as one, run_process(tmp_path / "b", **variables) as two:
        await asyncio.gather(*(asyncio.to_thread(each.wait_for, "/ready", 200) for each in (one, two)))
        async with aiohttp.ClientSession() as client:

            async def ask(url: str) -> int:
                headers = {"authorization": f"Bearer {ALICE}"}
                async with client.post(f"{url}/v1/chat/completions", json=QUESTION, headers=headers) as answer:
                    await answer.read()
                    return answer.status

            statuses = Counter(await asyncio.gather(*(ask((one, two)[i % 2].url) for i in range(120))))
    assert statuses == {200: 50, 429: 70}


async def test_any_window_holds_at_most_the_limit() -> None:
    now = 100.0
    limits = MemoryRateLimits(clock=lambda: now)
    admitted: list[float] = []
    for step in range(200):
        now = 100.0 + step * 0.37
        if (await limits.hit("a", 5, 10.0)).allowed:
            admitted.append(now)
    assert all(later - earlier >= 10.0 for earlier, later in zip(admitted, admitted[5:], strict=False))
    assert len(admitted) > 30


async def test_retry_after_is_when_the_next_one_is_admitted() -> None:
    now = 0.0
    limits = MemoryRateLimits(clock=lambda: now)
    await limits.hit("a", 1, 10.0)
    now = 4.0
    verdict = await limits.hit("a", 1, 10.0)
    assert (verdict.allowed, verdict.retry_after, verdict.reset_after) == (False, 6.0, 6.0)
    now = 10.0
    assert (await limits.hit("a", 1, 10.0)).allowed


async def test_a_lowered_limit_waits_in_one_process_too() -> None:
    times = iter((0.0, 1.0, 2.0, 4.0))
    limits = MemoryRateLimits(clock=lambda: next(times))
    for _ in range(3):
        await limits.hit("a", 3, 10.0)
    verdict = await limits.hit("a", 1, 10.0)
    assert (verdict.allowed, verdict.remaining, verdict.retry_after) == (False, 0, 8.0)


@pytest.fixture
async def redis_limits(redis: RedisServer) -> AsyncIterator[RedisRateLimits]:
    connection = redis_connection(Settings.load(redis_url=redis.url))
    await connection.probe()
    yield RedisRateLimits(connection)
    await connection.aclose()


async def test_redis_holds_the_same_rule(redis_limits: RedisRateLimits) -> None:
    verdicts = [await redis_limits.hit("a", 3, 3600.0) for _ in range(5)]
    assert [verdict.allowed for verdict in verdicts] == [True, True, True, False, False]
    assert [verdict.remaining for verdict in verdicts] == [2, 1, 0, 0, 0]
    assert all(3590 < verdict.retry_after <= 3600 for verdict in verdicts[2:])
    assert verdicts[0].retry_after == 0
    other = await redis_limits.hit("b", 3, 3600.0)
    assert other.allowed


async def test_a_lowered_limit_waits_until_enough_have_left(redis_limits: RedisRateLimits) -> None:
    for _ in range(5):
        await redis_limits.hit("a", 5, 3600.0)
    refused = await redis_limits.hit("a", 2, 3600.0)
    newest_but_one = (await redis_limits.hit("a", 2, 3600.0)).retry_after
    assert (refused.allowed, refused.remaining) == (False, 0)
    assert newest_but_one > (await redis_limits.hit("a", 5, 3600.0)).retry_after


async def test_redis_admits_again_when_the_window_has_passed(redis_limits: RedisRateLimits) -> None:
    assert (await redis_limits.hit("a", 1, 1.0)).allowed
    refused = await redis_limits.hit("a", 1, 1.0)
    assert not refused.allowed
    await asyncio.sleep(refused.retry_after)
    assert (await redis_limits.hit("a", 1, 1.0)).allowed
