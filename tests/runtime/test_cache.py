"""The exact response cache, in this process and in a real Redis: what hits, what must not, and what is stored."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from assistant_runtime.stores.memory import MemoryCache
from tests.support.redis import RedisServer
from tests.support.runtime import Runtime, run_runtime
from tests.support.upstream import MODEL, Upstream, answers, completion, refuses

ALICE, BOB = "alice-0123456789", "bob-0123456789"
SECRET = "k" * 32


@pytest.fixture(params=["embedded", "redis"])
async def cached(request: pytest.FixtureRequest, upstream: Upstream) -> AsyncIterator[Runtime]:
    settings: dict[str, Any] = {"api_keys": f"{ALICE},{BOB}", "secret_key": SECRET}
    if request.param == "redis":
        settings["redis_url"] = request.getfixturevalue("redis").url
    async with run_runtime(upstream, **settings) as runtime:
        yield runtime


async def test_the_same_question_is_answered_from_the_cache(cached: Runtime, upstream: Upstream) -> None:
    first, again = await cached.chat(ALICE), await cached.chat(ALICE)
    assert (first.headers["x-cache"], again.headers["x-cache"]) == ("miss", "hit")
    assert again.body == first.body
    assert len(upstream.requests) == 1


async def test_an_answer_never_crosses_tenants(cached: Runtime, upstream: Upstream) -> None:
    await cached.chat(ALICE)
    assert (await cached.chat(BOB)).headers["x-cache"] == "miss"
    assert len(upstream.requests) == 2


@pytest.mark.parametrize(
    "fields", [{"model": "first/other"}, {"temperature": 0}, {"messages": [{"role": "user", "content": "Else?"}]}]
)
async def test_another_question_is_not_answered_from_the_cache(cached: Runtime, fields: dict[str, Any]) -> None:
    await cached.chat(ALICE)
    assert (await cached.chat(ALICE, **fields)).headers["x-cache"] == "miss"


async def test_field_order_and_the_defaults_name_make_no_difference(cached: Runtime) -> None:
    await cached.chat(ALICE, temperature=0, user="u")
    question: dict[str, Any] = {"user": "u", "temperature": 0}
    for fields in (question, {"model": "default", **question}):
        assert (await cached.chat(ALICE, **fields)).headers["x-cache"] == "hit"


VARIED: list[dict[str, Any]] = [
    {"temperature": 1.2},
    {"temperature": 0.01},
    {"top_p": 0.9},
    {"n": 2},
    {"temperature": 0, "n": 2},
    {"temperature": 1, "top_p": 1},
    {"assistant": {"cache": False}},
]


@pytest.mark.parametrize("fields", VARIED)
async def test_a_request_for_variety_is_asked_each_time(
    cached: Runtime, upstream: Upstream, fields: dict[str, Any]
) -> None:
    replies = [await cached.chat(ALICE, **fields) for _ in range(2)]
    assert [reply.headers["x-cache"] for reply in replies] == ["bypass", "bypass"]
    assert len(upstream.requests) == 2


@pytest.mark.parametrize(
    "fields",
    [
        {"temperature": None, "top_p": None, "n": None},
        {"temperature": 0},
        {"temperature": 0, "top_p": 0.5},
        {"top_p": 1},
        {"n": 1},
        {"temperature": 1.2, "n": 2, "assistant": {"cache": True}},
        {"assistant": {"cache": None}},
    ],
)
async def test_any_other_request_is_asked_once(cached: Runtime, upstream: Upstream, fields: dict[str, Any]) -> None:
    replies = [await cached.chat(ALICE, **fields) for _ in range(2)]
    assert [reply.headers["x-cache"] for reply in replies] == ["miss", "hit"]
    (asked,) = upstream.requests
    assert "assistant" not in asked


async def test_the_header_counts_more_than_the_field(cached: Runtime, upstream: Upstream) -> None:
    for header in ("no-store", "no-cache", "max-age=0"):
        reply = await cached.chat(ALICE, assistant={"cache": True}, headers={"cache-control": header})
        assert reply.headers["x-cache"] == "bypass"
    assert len(upstream.requests) == 3


async def test_responses_are_cached_by_the_same_rule(cached: Runtime) -> None:
    async def ask(**fields: Any) -> str:
        body = json.dumps({"input": "hi", "store": False, **fields})
        return (await cached.post(body, {"authorization": f"Bearer {ALICE}"}, "/v1/responses")).headers["x-cache"]

    assert [await ask(), await ask()] == ["miss", "hit"]
    assert [await ask(temperature=1.2), await ask(temperature=1.2)] == ["bypass", "bypass"]
    assert [await ask(top_p=0.1, assistant={"cache": True}) for _ in range(2)] == ["miss", "hit"]


async def test_no_cache_asks_again_and_keeps_the_new_answer(cached: Runtime, upstream: Upstream) -> None:
    await cached.chat(ALICE)
    fresh = await cached.chat(ALICE, headers={"cache-control": "no-cache"})
    assert fresh.headers["x-cache"] == "bypass"
    assert len(upstream.requests) == 2
    assert (await cached.chat(ALICE)).headers["x-cache"] == "hit"


async def test_no_store_leaves_nothing_behind(cached: Runtime) -> None:
    assert (await cached.chat(ALICE, headers={"cache-control": "no-store"})).headers["x-cache"] == "bypass"
    assert (await cached.chat(ALICE)).headers["x-cache"] == "miss"


async def test_streams_pass_the_cache_by(cached: Runtime, upstream: Upstream) -> None:
    await cached.chat(ALICE)
    assert (await cached.chat(ALICE, stream=True)).headers["x-cache"] == "bypass"
    assert len(upstream.requests) == 2


async def test_errors_are_not_cached(cached: Runtime, upstream: Upstream) -> None:
    upstream.script = [refuses(500)]
    assert (await cached.chat(ALICE)).status == 502
    assert (await cached.chat(ALICE)).headers["x-cache"] == "miss"


@pytest.mark.parametrize("choice", [{"error": {"message": "no"}}, {"finish_reason": "error"}, {"finish_reason": None}])
async def test_an_answer_that_failed_in_its_choice_is_not_cached(
    cached: Runtime, upstream: Upstream, choice: dict[str, Any]
) -> None:
    failed = completion(MODEL)
    failed["choices"][0] |= choice
    upstream.script = [answers(json.dumps(failed))]
    assert (await cached.chat(ALICE)).json == failed
    assert (await cached.chat(ALICE)).headers["x-cache"] == "miss"


async def test_hits_and_misses_are_counted(cached: Runtime) -> None:
    for _ in range(3):
        await cached.chat(ALICE)
    scraped = (await cached.get("/metrics")).body.decode()
    assert 'response_cache_requests_total{result="hit"} 2.0' in scraped
    assert 'response_cache_requests_total{result="miss"} 1.0' in scraped


async def test_a_fallbacks_answer_is_not_kept_as_the_preferred_providers(upstream: Upstream, second: Upstream) -> None:
    upstream.script = [refuses(500)]
    async with run_runtime(upstream, second) as runtime:
        assert (await runtime.chat()).headers["x-provider"] == "second"
        again = await runtime.chat()
    assert (again.headers["x-cache"], again.headers["x-provider"]) == ("miss", "first")


async def test_the_cache_can_be_turned_off(upstream: Upstream) -> None:
    async with run_runtime(upstream, redis_cache_enabled=False) as runtime:
        replies = [await runtime.chat() for _ in range(2)]
    assert [reply.headers["x-cache"] for reply in replies] == ["bypass", "bypass"]
    assert len(upstream.requests) == 2


async def test_two_replicas_share_the_cache_in_redis(upstream: Upstream, redis: RedisServer) -> None:
    settings = {"redis_url": redis.url, "secret_key": SECRET}
    async with run_runtime(upstream, **settings) as one, run_runtime(upstream, **settings) as two:
        await one.chat()
        assert (await two.chat()).headers["x-cache"] == "hit"


async def test_a_providers_new_address_has_answers_of_its_own(
    upstream: Upstream, second: Upstream, redis: RedisServer
) -> None:
    settings = {"redis_url": redis.url, "secret_key": SECRET}
    second.name = upstream.name
    async with run_runtime(upstream, **settings) as old, run_runtime(second, **settings) as new:
        await old.chat()
        assert (await new.chat()).headers["x-cache"] == "miss"


@pytest.mark.parametrize("compression", [True, False])
async def test_an_entry_is_readable_whatever_compression_is_now(
    upstream: Upstream, redis: RedisServer, compression: bool
) -> None:
    settings = {"redis_url": redis.url, "secret_key": SECRET}
    async with run_runtime(upstream, cache_compression=compression, **settings) as runtime:
        first = await runtime.chat()
    async with run_runtime(upstream, cache_compression=not compression, **settings) as runtime:
        again = await runtime.chat()
    assert (again.headers["x-cache"], again.body) == ("hit", first.body)
    assert (b"Paris" in redis.everything()) is not compression


async def test_entries_end_after_cache_ttl(upstream: Upstream, redis: RedisServer) -> None:
    async with run_runtime(upstream, redis_url=redis.url, cache_ttl=1234) as runtime:
        await runtime.chat()
    keys = [line for line in redis.command("KEYS", "assistant:cache:*").split(b"\r\n") if b"cache" in line]
    assert len(keys) == 1
    assert 1200 < int(redis.command("TTL", keys[0].decode()).strip(b":\r\n")) <= 1234


async def test_no_key_and_no_prompt_gets_into_redis(upstream: Upstream, redis: RedisServer) -> None:
    settings = {"redis_url": redis.url, "api_keys": ALICE, "secret_key": SECRET, "cache_compression": False}
    async with run_runtime(upstream, **settings) as runtime:
        await runtime.chat(ALICE, messages=[{"role": "user", "content": "a very private prompt"}])
    stored = redis.everything()
    assert b"assistant:cache:" in stored
    assert b"assistant:limit:" in stored
    for secret in (ALICE, SECRET, "private prompt"):
        assert secret.encode() not in stored


async def test_a_damaged_entry_is_a_miss(upstream: Upstream, redis: RedisServer) -> None:
    async with run_runtime(upstream, redis_url=redis.url) as runtime:
        await runtime.chat()
        key = next(k for k in redis.command("KEYS", "assistant:cache:*").split(b"\r\n") if b"cache" in k)
        redis.command("SET", key.decode(), "\x01damaged")
        reply = await runtime.chat()
    assert (reply.status, reply.headers["x-cache"]) == (200, "miss")


async def test_the_embedded_cache_stays_within_its_bytes() -> None:
    cache = MemoryCache(max_bytes=100)
    for number in range(10):
        await cache.put(str(number), b"x" * 30, ttl=60)
    await cache.put("huge", b"x" * 101, ttl=60)
    kept = [number for number in range(10) if await cache.get(str(number)) is not None]
    assert kept == [7, 8, 9]
    assert await cache.get("huge") is None


async def test_the_embedded_cache_forgets_what_was_used_longest_ago() -> None:
    cache = MemoryCache(max_bytes=60)
    await cache.put("a", b"x" * 30, ttl=60)
    await cache.put("b", b"x" * 30, ttl=60)
    await cache.get("a")
    await cache.put("c", b"x" * 30, ttl=60)
    assert await cache.get("a") is not None
    assert await cache.get("b") is None


async def test_the_embedded_caches_entries_end() -> None:
    now = 0.0
    cache = MemoryCache(clock=lambda: now)
    await cache.put("a", b"x", ttl=10)
    now = 9.9
    assert await cache.get("a") == b"x"
    now = 10.0
    assert await cache.get("a") is None
