"""Stores are prepared in the background: it costs the same however much they hold, and takes nothing away."""

import asyncio
import re
from collections.abc import Iterator
from typing import Any

import asyncpg
import pytest
from sqlalchemy.dialects import postgresql as dialect

from assistant_runtime.settings import Settings
from assistant_runtime.stores.audit_table import heads
from assistant_runtime.stores.conversation_mongodb import MongoConversationLog
from assistant_runtime.stores.mongodb import MongoConnection
from assistant_runtime.stores.schema import STEPS
from assistant_runtime.stores.sql import MIGRATION_LOCK, SqlConnection, engine_for
from tests.support.mongodb import MongoServer
from tests.support.postgresql import PostgresServer, run_postgresql
from tests.support.runtime import Runtime, eventually, run_runtime
from tests.support.upstream import Upstream


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with run_postgresql() as started:
        yield started


def settings_of(server: PostgresServer) -> dict[str, Any]:
    return {
        "database_url": server.new_database(),
        "database_username": server.username,
        "database_password": server.password,
    }


async def connected(server: PostgresServer, settings: dict[str, Any]) -> Any:
    return await asyncpg.connect(settings["database_url"], user=server.username, password=server.password)


async def test_the_heads_of_the_audit_log_cost_the_same_with_200_times_the_records(server: PostgresServer) -> None:
    settings = settings_of(server)
    database = SqlConnection(engine_for(Settings.load(**settings)), STEPS)
    await database.open()
    other = await connected(server, settings)
    query = heads(100).compile(dialect=dialect.dialect(), compile_kwargs={"literal_binds": True})  # type: ignore[no-untyped-call]  # SQLAlchemy's

    async def pages_read(records: int) -> int:
        """Give how many pages the query reads where each of 50 chains has so many records."""
        await other.execute(
            "INSERT INTO assistant_audit SELECT 'chain-' || c, n, repeat('x', 200), repeat('m', 64)"
            " FROM generate_series(10, 59) c, generate_series(1, $1::int) n ON CONFLICT DO NOTHING",
            records,
        )
        await other.execute("VACUUM ANALYZE assistant_audit")
        plan = "\n".join(row[0] for row in await other.fetch(f"EXPLAIN (ANALYZE, BUFFERS) {query}"))
        assert "Seq Scan on assistant_audit" not in plan or records < 1000
        return sum(int(found) for found in re.findall(r"^ *Buffers: shared hit=(\d+)", plan, re.MULTILINE)[:1])

    few, many = await pages_read(10), await pages_read(2000)
    assert many < 4 * few + 1000, (few, many)
    assert len(await database.rows(heads(100))) == 50
    assert {row["sequence"] for row in await database.rows(heads(7))} == {2000}
    await other.close()
    await database.aclose()


async def test_a_database_whose_preparation_takes_long_counts_as_preparing_and_not_as_down(
    upstream: Upstream, server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(server)
    monkeypatch.setattr("assistant_runtime.app.FIRST_PROBE_SECONDS", 0.1)
    other = await connected(server, settings)
    await other.execute("SELECT pg_advisory_lock($1)", MIGRATION_LOCK)
    async with run_runtime(upstream, **settings, secret_key="s" * 32) as runtime:
        await eventually(lambda: database_is(runtime, "preparing"))
        assert (await runtime.chat()).status == 200
        assert (await runtime.get("/v1/sessions")).status == 503
        await other.execute("SELECT pg_advisory_unlock($1)", MIGRATION_LOCK)
        await eventually(lambda: database_is(runtime, "up"))
        assert (await runtime.get("/v1/sessions")).status == 200
    await other.close()


async def database_is(runtime: Runtime, status: str) -> bool:
    return bool((await runtime.ready())["checks"]["database"]["status"] == status)


async def test_a_preparation_that_fails_says_why_and_is_tried_again(server: PostgresServer) -> None:
    settings = settings_of(server)
    other = await connected(server, settings)
    await other.execute("CREATE VIEW assistant_schema AS SELECT 'not a number' AS version")
    database = SqlConnection(engine_for(Settings.load(**settings)), STEPS)
    await database.open()
    told = database.check()
    assert (told["status"], "could not be prepared" in told["detail"]) == ("preparing", True)
    await other.execute("DROP VIEW assistant_schema")
    preparing = asyncio.create_task(database.keep_prepared())
    await eventually(lambda: database.check()["status"] == "up")
    preparing.cancel()
    await asyncio.gather(preparing, return_exceptions=True)
    await other.close()
    await database.aclose()


async def test_mongodb_finds_half_deleted_sessions_by_an_index_of_those_alone(mongodb: MongoServer) -> None:
    settings = Settings.load(
        mongodb_url=mongodb.url, mongodb_username=mongodb.username, mongodb_password=mongodb.password
    )
    connection = MongoConnection(settings)
    MongoConversationLog(connection)
    sessions = connection.collection("sessions")
    await sessions.insert_many([{"_id": "half", "deleted": True}, {"_id": "whole"}])
    await connection.open()
    indexes = await sessions.index_information()
    assert any(index["key"] == [("deleted", 1)] and index["sparse"] for index in indexes.values())
    preparing = asyncio.create_task(connection.keep_prepared())
    connection._unprepared.set()
    await eventually(lambda: only_whole(sessions))
    preparing.cancel()
    await asyncio.gather(preparing, return_exceptions=True)
    await connection.aclose()


async def only_whole(sessions: Any) -> bool:
    return [each["_id"] async for each in sessions.find()] == ["whole"]
