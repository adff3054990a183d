"""Where tenants' agents are kept: the same promises of every store, and of every replica that uses it."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from assistant_runtime.settings import Settings
from assistant_runtime.settings.agents import Agent
from assistant_runtime.stores.agents import AgentStore, KeptAgent
from assistant_runtime.stores.agents_memory import MemoryAgents
from assistant_runtime.stores.agents_mongodb import MongoAgents
from assistant_runtime.stores.agents_sql import SqlAgents, add_version
from assistant_runtime.stores.connection import StoreConnection
from assistant_runtime.stores.mongodb import MongoConnection
from assistant_runtime.stores.schema import STEPS
from assistant_runtime.stores.sql import SqlConnection, engine_for
from tests.runtime.test_agents import call
from tests.support.mongodb import MongoServer, run_mongodb
from tests.support.postgresql import PostgresServer, run_postgresql
from tests.support.runtime import Runtime, eventually, run_runtime
from tests.support.upstream import Upstream


@pytest.fixture(scope="module")
def mongodb() -> Iterator[MongoServer]:
    with run_mongodb() as server:
        yield server


@pytest.fixture(scope="module")
def postgresql() -> Iterator[PostgresServer]:
    with run_postgresql() as server:
        yield server


@pytest.fixture(params=["memory", "sqlite", "postgresql", "mongodb"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[AgentStore]:
    if request.param == "memory":
        yield MemoryAgents()
        return
    connection, found = _connected(request, tmp_path)
    await connection.open()
    assert connection.available, connection.check()
    yield found
    for tenant in ("one", "two"):
        for name in await found.names(tenant):
            await found.delete(tenant, name)
    await connection.aclose()


def _connected(request: pytest.FixtureRequest, folder: Path) -> tuple[StoreConnection, AgentStore]:
    if request.param == "mongodb":
        mongo = MongoConnection(Settings.load(**addressed(request.getfixturevalue("mongodb"))))
        return mongo, MongoAgents(mongo)
    given = {"data_dir": str(folder)}
    if request.param == "postgresql":
        where: PostgresServer = request.getfixturevalue("postgresql")
        given = {
            "database_url": where.url,
            "database_username": where.username,
            "database_password": where.password,
        }
    database = SqlConnection(engine_for(Settings.load(**given)), STEPS)
    return database, SqlAgents(database)


def addressed(mongodb: MongoServer) -> dict[str, str]:
    return {"mongodb_url": mongodb.url, "mongodb_username": mongodb.username, "mongodb_password": mongodb.password}


def agent(name: str = "helper", prompt: str = "Help. €\x00$set") -> Agent:
    return Agent(name=name, prompt=prompt, tools=("web_search",), handoffs=("writer",))


async def test_an_agent_is_kept_as_it_is_and_each_change_is_a_version(store: AgentStore) -> None:
    assert await store.get("one", "helper") is None
    assert await store.put("one", agent()) == 1
    assert await store.get("one", "helper") == KeptAgent(agent(), 1)
    assert await store.put("one", agent(prompt="Help more.")) == 2
    assert await store.get("one", "helper") == KeptAgent(agent(prompt="Help more."), 2)


async def test_only_the_expected_version_is_replaced(store: AgentStore) -> None:
    assert await store.put("one", agent(), 1) is None
    assert await store.put("one", agent(), 0) == 1
    assert await store.put("one", agent(prompt="late"), 0) is None
    assert await store.put("one", agent(prompt="second"), 1) == 2
    assert await store.put("one", agent(prompt="late"), 1) is None
    assert await store.get("one", "helper") == KeptAgent(agent(prompt="second"), 2)
    assert not await store.delete("one", "helper", 1)
    assert await store.delete("one", "helper", 2)
    assert not await store.delete("one", "helper")


async def test_tenants_have_their_own(store: AgentStore) -> None:
    for tenant, names in (("one", "ba"), ("two", "b")):
        for name in names:
            await store.put(tenant, agent(name, prompt=f"of {tenant}"))
    assert [kept.agent.name for kept in await store.list("one", 10)] == ["a", "b"]
    assert [kept.agent.prompt for kept in await store.list("two", 10)] == ["of two"]
    assert await store.delete("two", "b")
    assert await store.get("one", "b") == KeptAgent(agent("b", prompt="of one"), 1)


@pytest.mark.parametrize("expected", [0, None])
async def test_of_many_at_once_each_gets_a_version_of_its_own(store: AgentStore, expected: int | None) -> None:
    versions = await asyncio.gather(*(store.put("one", agent(prompt=str(number)), expected) for number in range(8)))
    if expected is None:
        assert sorted(map(int, filter(None, versions))) == list(range(1, 9))
    else:
        assert sorted(map(str, versions)) == ["1", *["None"] * 7]


async def test_a_database_from_before_agents_had_versions(tmp_path: Path) -> None:
    database = SqlConnection(engine_for(Settings.load(data_dir=str(tmp_path))), STEPS)
    await database.open()
    async with database.engine.begin() as connection:
        await connection.execute(text("ALTER TABLE assistant_agents DROP COLUMN version"))
        row = {"agent": agent().model_dump_json()}
        await connection.execute(text("INSERT INTO assistant_agents VALUES ('one', 'helper', :agent)"), row)
        await connection.run_sync(add_version)
        await connection.run_sync(add_version)
    assert await SqlAgents(database).get("one", "helper") == KeptAgent(agent(), 1)
    await database.aclose()


async def test_every_replica_sees_them_and_none_overwrites_anothers_change(
    upstream: Upstream, mongodb: MongoServer
) -> None:
    common = {**addressed(mongodb), "secret_key": "s" * 32, "api_keys": "one-key"}
    key = {"headers": {"authorization": "Bearer one-key"}}
    async with run_runtime(upstream, **common) as here, run_runtime(upstream, **common) as there:
        await eventually(lambda: kept(here, key))
        await eventually(lambda: kept(there, key))
        read = (await call(there, "GET", "/helper", **key)).json
        await there.chat("one-key", model="agent/helper")
        changes = [
            call(replica, "PUT", "/helper", json={"prompt": prompt, "expected_version": read["version"]}, **key)
            for replica, prompt in ((here, "Help here."), (there, "Help there."))
        ]
        done, late = sorted(await asyncio.gather(*changes), key=lambda reply: reply.status)
        told = (await call(here, "GET", "/helper", **key)).json
        gone = await call(here, "DELETE", f"/helper?expected_version={told['version']}", **key)
    assert upstream.requests[0]["messages"][0]["content"] == "Help."
    assert (done.status, late.status, late.error["code"]) == (200, 409, "version_conflict")
    assert late.headers["x-agent-version"] == str(told["version"])
    assert (told["prompt"], told["version"]) == (done.json["prompt"], read["version"] + 1)
    assert gone.status == 200


async def kept(runtime: Runtime, key: dict[str, Any]) -> bool:
    """Whether the runtime has found its MongoDB and keeps the agent."""
    reply = await call(runtime, "PUT", "/helper", json={"prompt": "Help."}, **key)
    return reply.status in {200, 201}


async def test_names_and_pages_are_in_one_order_whatever_language_the_database_has(store: AgentStore) -> None:
    names = ["a-b", "a_c", "ab", "b", "b-1"]
    for name in reversed(names):
        await store.put("one", Agent(name=name, prompt="p"))
    assert await store.names("one") == names
    pages, after = [], ""
    while page := await store.list("one", 2, after):
        pages.append([kept.agent.name for kept in page])
        after = pages[-1][-1]
    assert pages == [names[:2], names[2:4], names[4:]]
