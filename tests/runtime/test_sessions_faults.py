"""Two runtimes write one session while its store is killed, frozen and started again: nothing lost, nothing doubled."""

import asyncio
from functools import partial
from typing import Any, Protocol

import aiohttp
import asyncpg
import pytest

from assistant_runtime.errors import StoreUnavailableError
from assistant_runtime.settings import Settings
from assistant_runtime.stores.conversation_sql import SqlConversationLog
from assistant_runtime.stores.conversations import Conversations
from assistant_runtime.stores.schema import STEPS
from assistant_runtime.stores.sql import SqlConnection, engine_for
from tests.support.mongodb import MongoServer
from tests.support.postgresql import PostgresServer
from tests.support.redis import RedisServer
from tests.support.runtime import Runtime, eventually, run_runtime
from tests.support.upstream import Upstream

WRITERS = 3
"""At each runtime."""

FAULTS_EACH = 8
"""Units that a writer has to get through before, between and after the faults."""


class Killable(Protocol):
    def kill(self) -> None: ...
    def start(self) -> None: ...
    def freeze(self) -> None: ...
    def thaw(self) -> None: ...


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A frozen store is noticed; a machine that is busy may look like one, which costs a test of retries nothing."""
    for name in ("mongodb.MONGODB_SECONDS", "sql.SQL_SECONDS", "redis.COMMAND_SECONDS"):
        monkeypatch.setattr(f"assistant_runtime.stores.{name}", 2.0)


async def append(runtime: Runtime, session: str, key: str) -> None:
    """Append until it is acknowledged, as a client does whose answer was lost: under the same key."""
    body = {"messages": [{"role": "user", "content": key}, {"role": "assistant", "content": key}]}
    while True:
        url = f"{runtime.url}/v1/sessions/{session}/messages"
        try:
            async with runtime.client.post(url, json=body, headers={"idempotency-key": key}) as answer:
                if answer.status == 201:
                    return
                assert answer.status == 503, await answer.text()
        except aiohttp.ClientError:
            continue
        await asyncio.sleep(0.05)


async def all_messages(runtime: Runtime, session: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    after = 0
    while True:
        page = (await runtime.get(f"/v1/sessions/{session}/messages?limit=100&after={after}")).json
        found += page["data"]
        if page["next"] is None:
            return found
        after = page["next"]


async def walk(upstream: Upstream, settings: dict[str, Any], check: str, store: Killable) -> None:
    common = {**settings, "secret_key": "s" * 32, "rate_limit_enabled": False}
    async with run_runtime(upstream, **common) as one, run_runtime(upstream, **common) as other:

        async def is_now(runtime: Runtime, status: str) -> bool:
            return bool((await runtime.ready())["checks"][check]["status"] == status)

        async def both(status: str) -> None:
            for runtime in (one, other):
                await eventually(partial(is_now, runtime, status))

        await both("up")
        async with one.client.post(f"{one.url}/v1/sessions", json={}) as answer:
            session = (await answer.json())["id"]
        acknowledged: list[str] = []
        stop = asyncio.Event()

        async def write(runtime: Runtime, name: str) -> None:
            number = 0
            while not stop.is_set():
                await append(runtime, session, f"{name}-{number}")
                acknowledged.append(f"{name}-{number}")
                number += 1

        async def more() -> None:
            so_far = len(acknowledged)
            await eventually(lambda: len(acknowledged) > so_far + FAULTS_EACH)

        writing = [
            asyncio.create_task(write(runtime, f"{index}-{writer}"))
            for index, runtime in enumerate((one, other))
            for writer in range(WRITERS)
        ]
        await more()
        await asyncio.to_thread(store.kill)
        await both("down")
        assert (await one.chat()).status == 200
        await asyncio.to_thread(store.start)
        await both("up")
        await more()
        store.freeze()
        await both("down")
        assert (await other.chat()).status == 200
        store.thaw()
        await both("up")
        await more()
        stop.set()
        await asyncio.gather(*writing)
        found = await all_messages(one, session)
        assert found == await all_messages(other, session)
    assert [each["sequence"] for each in found] == list(range(1, len(found) + 1))
    assert sorted(each["key"] for each in found[::2]) == sorted(acknowledged)
    assert [each["key"] for each in found[::2]] == [each["key"] for each in found[1::2]], "units stay whole"


async def test_mongodb(upstream: Upstream, mongodb: MongoServer) -> None:
    credentials = {"mongodb_username": mongodb.username, "mongodb_password": mongodb.password}
    await walk(upstream, {"mongodb_url": mongodb.url, **credentials}, "mongodb", mongodb)


async def test_postgresql(upstream: Upstream, postgresql: PostgresServer) -> None:
    credentials = {"database_username": postgresql.username, "database_password": postgresql.password}
    await walk(upstream, {"database_url": postgresql.url, **credentials}, "database", postgresql)


async def test_redis_in_front_of_mongodb(upstream: Upstream, mongodb: MongoServer, redis: RedisServer) -> None:
    credentials = {"mongodb_username": mongodb.username, "mongodb_password": mongodb.password}
    settings = {"mongodb_url": mongodb.url, **credentials, "redis_url": redis.url}
    await walk(upstream, settings, "redis", redis)


async def test_a_lost_connection_is_told_as_one_whatever_was_being_written(
    postgresql: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("assistant_runtime.stores.sql.SQL_SECONDS", 60.0)
    address = {"database_url": postgresql.url, "database_username": postgresql.username}
    connection = SqlConnection(engine_for(Settings.load(**address, database_password=postgresql.password)), STEPS)
    await connection.open()
    conversations = Conversations(SqlConversationLog(connection), max_messages=10, max_sessions=10)
    session = await conversations.create("tenant")
    other = await asyncpg.connect(postgresql.url, user=postgresql.username, password=postgresql.password)
    async with other.transaction():
        await other.execute("LOCK TABLE assistant_session_units IN EXCLUSIVE MODE")
        message = {"role": "user", "content": "the password for authentication"}
        writing = asyncio.create_task(conversations.append("tenant", session.id, [message], "key"))
        waiting = "SELECT pid FROM pg_locks WHERE relation = 'assistant_session_units'::regclass AND NOT granted"
        await other.execute("SELECT pg_terminate_backend($1)", await eventually(lambda: other.fetchval(waiting)))
        with pytest.raises(StoreUnavailableError) as lost:
            await writing
    assert connection.check()["detail"].startswith("Database can't be reached")
    assert message["content"] not in str(lost.value.__cause__)
    await other.close()
    await connection.aclose()
