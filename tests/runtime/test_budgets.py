"""Token budgets and usage of two processes that share a Redis and a database: exact, whoever asks at once."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support.postgresql import PostgresServer
from tests.support.redis import RedisServer
from tests.support.runtime import QUESTION, eventually, run_process
from tests.support.upstream import MODEL, Upstream

ADMIN = "admin-0123456789"
TAKEN = 20
"""Tokens of each answer of the tests' provider."""


class Replicas:
    """Two processes behind one client."""

    def __init__(self, client: aiohttp.ClientSession, urls: tuple[str, str]) -> None:
        self._client = client
        self._urls = urls

    async def chat(self, number: int, key: str) -> int:
        """Ask one of the two, streamed or not, for its status."""
        body = {**QUESTION, "user": str(number), "stream": number % 3 == 0}
        path = f"{self._urls[number % 2]}/v1/chat/completions"
        async with self._client.post(path, json=body, headers={"authorization": f"Bearer {key}"}) as answer:
            await answer.read()
            return answer.status

    async def administer(self, method: str, path: str, **sent: Any) -> Any:
        """Ask as an administrator."""
        headers = {"authorization": f"Bearer {ADMIN}"}
        async with self._client.request(method, f"{self._urls[0]}/v1/{path}", headers=headers, **sent) as answer:
            return await answer.json()

    async def usage(self, key_id: str) -> Counter[str]:
        """Give requests and tokens of a key, as the ledger has them."""
        counts = Counter[str]()
        for row in (await self.administer("GET", f"usage?key_id={key_id}"))["data"]:
            counts.update({name: row[name] for name in ("requests", "input_tokens", "output_tokens")})
        return counts


@pytest.fixture
async def replicas(
    upstream: Upstream, redis: RedisServer, postgresql: PostgresServer, tmp_path: Path
) -> AsyncIterator[Replicas]:
    variables = {
        "OPENAI_COMPATIBLE_BASE_URL": upstream.url,
        "OPENAI_COMPATIBLE_DEFAULT_MODEL": MODEL,
        "REDIS_URL": redis.url,
        "DATABASE_URL": postgresql.url,
        "DATABASE_USERNAME": postgresql.username,
        "DATABASE_PASSWORD": postgresql.password,
        "SECRET_KEY": "k" * 32,
        "API_KEYS": ADMIN,
        # On, because its exchanges share the connections with those of budgets.
        "RATE_LIMIT_REQUESTS": "100000",
        "REDIS_CACHE_ENABLED": "false",
    }
    with run_process(tmp_path / "a", **variables) as one, run_process(tmp_path / "b", **variables) as two:
        await asyncio.gather(*(asyncio.to_thread(each.wait_for_stores) for each in (one, two)))
        async with aiohttp.ClientSession() as client:
            yield Replicas(client, (one.url, two.url))


def spent(redis: RedisServer, key_id: str) -> set[int]:
    """Give what Redis counts for a key, in the day and in the month."""
    name = redis.command("KEYS", f"assistant:budget:{{{key_id}}}:*").split(b"\r\n")[2].decode()
    return {int(line) for line in redis.command("HVALS", name).split(b"\r\n")[2::2]}


async def settled(redis: RedisServer, key_id: str, answers: int) -> None:
    """Wait until exactly so many answers are counted: each is there a moment before what it took is."""
    await eventually(lambda: spent(redis, key_id) == {answers * TAKEN})


async def test_two_processes_spend_one_budget_to_the_token(replicas: Replicas, redis: RedisServer) -> None:
    budget = 10 * TAKEN
    key = await replicas.administer("POST", "keys", json={"name": "both", "token_budget_daily": budget})
    admitted = 0
    for start in range(0, 800, 8):
        statuses = Counter(await asyncio.gather(*(replicas.chat(start + n, key["key"]) for n in range(8))))
        assert statuses.keys() <= {200, 429}
        if not statuses[200]:
            break
        admitted += statuses[200]
        await settled(redis, key["id"], admitted)
    assert admitted * TAKEN == budget
    await eventually(lambda: told(replicas, key["id"], admitted))


async def test_what_is_held_for_many_at_once_is_given_back(replicas: Replicas, redis: RedisServer) -> None:
    key = await replicas.administer("POST", "keys", json={"name": "both", "token_budget_monthly": 10_000})
    statuses = Counter(await asyncio.gather(*(replicas.chat(number, key["key"]) for number in range(60))))
    assert statuses.keys() <= {200, 429}
    assert statuses[200] > 0
    await settled(redis, key["id"], statuses[200])
    await eventually(lambda: told(replicas, key["id"], statuses[200]))


async def told(replicas: Replicas, key_id: str, requests: int) -> bool:
    """Whether the ledger has exactly these requests and their tokens; it is written every few seconds."""
    usage = await replicas.usage(key_id)
    assert usage["requests"] <= requests
    assert usage["input_tokens"] + usage["output_tokens"] == usage["requests"] * TAKEN
    return usage["requests"] == requests
