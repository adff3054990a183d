"""Whoever asks a model spends from the budget of the key that began it, and budgets outlive what counts them."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from assistant_runtime.security import ledger
from tests.support.redis import RedisServer
from tests.support.runtime import QUESTION, Reply, Runtime, eventually, run_runtime
from tests.support.tool_calls import calls
from tests.support.upstream import MODEL, Upstream, completion

ADMIN = "admin-0123456789"
TAKEN = 20
"""Tokens of each answer of the tests' provider."""

BIG = 1500
"""Tokens that an ask takes, where more than is expected of one is wanted."""


@pytest.fixture(autouse=True)
def usage_is_written_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "FLUSH_SECONDS", 0.1)


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, Any]:
    common = {"api_keys": ADMIN, "secret_key": "s" * 32, "data_dir": str(tmp_path)}
    return {**common, "redis_cache_enabled": False, "rate_limit_enabled": False}


async def ask(runtime: Runtime, key: str, method: str, path: str, body: Any = None) -> Reply:
    headers = {"authorization": f"Bearer {key}"}
    async with runtime.client.request(method, f"{runtime.url}/v1/{path}", json=body, headers=headers) as answer:
        return Reply(answer.status, dict(answer.headers), await answer.read())


async def make(runtime: Runtime, **wanted: Any) -> tuple[str, str]:
    """Make a key; gives its secret and its id."""
    made = (await ask(runtime, ADMIN, "POST", "keys", {"name": "test", **wanted})).json
    return made["key"], made["id"]


async def spent(runtime: Runtime, key_id: str) -> Counter[str]:
    """Give the tokens of a key by model, as the ledger has them."""
    counts = Counter[str]()
    for row in (await ask(runtime, ADMIN, "GET", f"usage?key_id={key_id}")).json["data"]:
        counts[row["model"]] += row["input_tokens"] + row["output_tokens"]
    return counts


async def refused(runtime: Runtime, key: str) -> bool:
    reply = await runtime.chat(key)
    return reply.status == 429 and reply.error["code"] == "token_budget_exceeded"


def takes_many(_: Upstream, __: web.Request, body: dict[str, Any]) -> Any:
    usage = {"prompt_tokens": BIG, "completion_tokens": 0, "total_tokens": BIG}
    answer = web.json_response(completion(body["model"], "A text.") | {"usage": usage})

    async def respond() -> web.StreamResponse:
        return answer

    return respond()


async def test_a_writing_job_spends_from_its_keys_budget(upstream: Upstream, settings: dict[str, Any]) -> None:
    upstream.default = takes_many
    budget = 4 * BIG
    job = {"prompt": "Write.", "writers": ["default"] * 4, "checkers": ["default"] * 4, "max_revisions": 5}
    async with run_runtime(upstream, multi_writer_enabled=True, **settings) as runtime:
        key, key_id = await make(runtime, token_budget_daily=budget)
        ended = (await ask(runtime, key, "POST", "writers?wait=60", {**job, "pass_score": 10})).json
        assert ended["status"] in {"done", "failed"}
        assert "payer" not in ended
        told = [draft.get("error") or "" for draft in ended["drafts"]]
        told += [score["remarks"] for draft in ended["drafts"] for score in draft["scores"]]
        assert any(f"budget of {budget} tokens" in reason for reason in told)
        assert await refused(runtime, key)
        await eventually(lambda: _has(runtime, key_id, len(upstream.requests) * BIG))
    # Each ask that is admitted holds what is expected of it, so that few are in flight beyond the budget.
    assert budget <= len(upstream.requests) * BIG < 2 * budget


@pytest.mark.parametrize("number", ["1" + "0" * 30, "1e30", "1e400", "-5", '"5"', "true"])
async def test_a_number_that_no_answer_takes_spends_no_budget_and_stops_no_ledger(
    upstream: Upstream, settings: dict[str, Any], number: str
) -> None:
    async def absurd(_: Upstream, __: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        told = json.dumps(completion(body["model"]) | {"usage": {"prompt_tokens": "?", "completion_tokens": 6}})
        return web.Response(text=told.replace('"?"', number), content_type="application/json")

    upstream.script = [absurd]
    async with run_runtime(upstream, **settings) as runtime:
        key, key_id = await make(runtime, token_budget_daily=100_000)
        assert (await runtime.chat(key)).status == 200
        assert (await runtime.chat(key)).status == 200
        await eventually(lambda: _has(runtime, key_id, 20))


async def _has(runtime: Runtime, key_id: str, tokens: int) -> bool:
    return (await spent(runtime, key_id)).total() == tokens


async def test_documents_and_searches_spend_from_their_keys_budget(
    upstream: Upstream, settings: dict[str, Any]
) -> None:
    lines = [
        f"Room {number} is on floor {number % 7}, behind the stairs and left of the lift." for number in range(600)
    ]
    long = {"name": "rooms.txt", "text": "\n\n".join(lines)}
    async with run_runtime(
        upstream, embedding_provider="provider", embedding_model="vectors", retrieval_chunk_characters=200, **settings
    ) as runtime:
        key, key_id = await make(runtime, token_budget_daily=100)
        begun = await ask(runtime, key, "POST", "documents", long)
        assert begun.status == 202, begun.body
        path = f"documents/{begun.json['id']}"

        async def failed() -> Any:
            found = (await ask(runtime, key, "GET", path)).json
            return found["status"] == "failed" and found

        assert "budget of 100 tokens" in (await eventually(failed))["error"]
        assert (await ask(runtime, key, "POST", "search", {"query": "rooms"})).error["code"] == "token_budget_exceeded"
        short = {"name": "short.txt", "text": "One line."}
        assert (await ask(runtime, key, "POST", "documents", short)).error["code"] == "token_budget_exceeded"
        await eventually(lambda: _has(runtime, key_id, 2 * 64))
        other, other_id = await make(runtime, token_budget_daily=100)
        assert (await ask(runtime, other, "POST", "documents", short)).status == 201
        assert (await ask(runtime, other, "POST", "search", {"query": "line"})).status == 200
        await eventually(lambda: _has(runtime, other_id, 2))


async def test_each_round_of_tools_is_asked_for_while_tokens_are_left(
    upstream: Upstream, settings: dict[str, Any]
) -> None:
    upstream.default = calls(("1", "search_documents", {"query": "x"}))
    async with run_runtime(
        upstream, embedding_provider="provider", embedding_model="vectors", max_tools_per_query=50, **settings
    ) as runtime:
        key, _ = await make(runtime, token_budget_daily=2 * TAKEN)
        reply = await runtime.chat(key)
        assert (reply.status, reply.error["code"]) == (429, "token_budget_exceeded")
        streamed = await make(runtime, token_budget_daily=2 * TAKEN)
        body = (await runtime.chat(streamed[0], stream=True)).body
        assert b"token_budget_exceeded" in body
        assert b"[DONE]" not in body


async def test_counts_outlive_redis(upstream: Upstream, settings: dict[str, Any], redis: RedisServer) -> None:
    async with run_runtime(upstream, redis_url=redis.url, **settings) as runtime:
        key, key_id = await make(runtime, token_budget_monthly=3 * TAKEN)
        for _ in range(2):
            await eventually(lambda: _answered(runtime, key))
        await eventually(lambda: _has(runtime, key_id, 2 * TAKEN))
        redis.command("FLUSHALL")
        await eventually(lambda: _answered(runtime, key))
        await eventually(lambda: _has(runtime, key_id, 3 * TAKEN))
        redis.command("FLUSHALL")
        assert await refused(runtime, key)
        await eventually(lambda: _has(runtime, key_id, 3 * TAKEN))
    async with run_runtime(upstream, **settings) as runtime:
        assert await refused(runtime, key), "nor does a process without Redis begin anew"


async def _answered(runtime: Runtime, key: str) -> bool:
    """Ask until what the ask before had held is settled, which is after its answer."""
    return (await runtime.chat(key)).status == 200


def names(redis: RedisServer, pattern: str) -> Iterator[str]:
    yield from (line.decode() for line in redis.command("KEYS", pattern).split(b"\r\n")[2::2])


async def test_a_full_redis_evicts_answers_and_no_counts(
    upstream: Upstream, settings: dict[str, Any], redis: RedisServer
) -> None:
    """With the policy that the operator gives to its Redis."""
    redis.command("CONFIG", "SET", "maxmemory", "6mb")
    redis.command("CONFIG", "SET", "maxmemory-policy", "volatile-ttl")
    filled = {"redis_url": redis.url, "cache_compression": False}
    del settings["data_dir"], settings["redis_cache_enabled"], settings["rate_limit_enabled"]
    async with run_runtime(upstream, **filled, **settings, token_budget_monthly=10**9) as runtime:
        assert (await runtime.chat(ADMIN)).status == 200
        counts = {name: redis.command("DUMP", name) for name in names(redis, "assistant:*") if ":cache:" not in name}
        assert len(counts) == 2, "of the budget and of the rate limit"
        for number in range(60):
            redis.command("SET", f"assistant:cache:{number}", "x" * 200_000, "EX", "3600")
        assert b"evicted_keys:0" not in redis.command("INFO", "stats")
        assert {name: redis.command("DUMP", name) for name in counts} == counts


async def test_asks_side_by_side_hold_what_is_expected_of_each(upstream: Upstream, settings: dict[str, Any]) -> None:
    upstream.default = takes_many
    async with run_runtime(upstream, **settings) as runtime:
        key, _ = await make(runtime, token_budget_daily=2 * BIG)
        statuses = Counter(reply.status for reply in await asyncio.gather(*(runtime.chat(key) for _ in range(20))))
        assert set(statuses) == {200, 429}
        assert statuses[200] <= 3
        assert await refused(runtime, key)
    assert all(
        request["model"] == MODEL and request["messages"] == QUESTION["messages"] for request in upstream.requests
    )
