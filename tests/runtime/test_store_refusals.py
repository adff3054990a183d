"""A statement that a store refuses is the error of its request, and turns nothing off for the others."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import text

from assistant_runtime.errors import StoreRefusedError, StoreUnavailableError
from assistant_runtime.settings import Settings
from assistant_runtime.stores.connection import StoreConnection
from assistant_runtime.stores.mongodb import MongoConnection
from assistant_runtime.stores.redis import RedisConnection, Script
from assistant_runtime.stores.redis_client import redis_connection
from assistant_runtime.stores.schema import STEPS
from assistant_runtime.stores.sql import SqlConnection, engine_for
from tests.support.mongodb import MongoServer
from tests.support.postgresql import PostgresServer
from tests.support.redis import RedisServer


@pytest.fixture
async def redis_store(redis: RedisServer) -> AsyncIterator[RedisConnection]:
    connection = redis_connection(Settings.load(redis_url=redis.url))
    await connection.open()
    yield connection
    await connection.aclose()


@pytest.fixture
async def mongodb_store(mongodb: MongoServer) -> AsyncIterator[MongoConnection]:
    connection = MongoConnection(
        Settings.load(mongodb_url=mongodb.url, mongodb_username=mongodb.username, mongodb_password=mongodb.password)
    )
    await connection.open()
    yield connection
    await connection.aclose()


@pytest.fixture(params=["postgresql", "sqlite"])
async def database(request: pytest.FixtureRequest, tmp_path: Any) -> AsyncIterator[SqlConnection]:
    settings: dict[str, Any] = {"data_dir": str(tmp_path)}
    if request.param == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgresql")
        settings = {
            "database_url": server.url,
            "database_username": server.username,
            "database_password": server.password,
        }
    connection = SqlConnection(engine_for(Settings.load(**settings)), STEPS)
    await connection.open()
    yield connection
    await connection.aclose()


async def refused(store: StoreConnection, command: Any) -> StoreRefusedError:
    with pytest.raises(StoreRefusedError) as found:
        await command
    assert store.available
    return found.value


async def test_redis_goes_on_after_a_command_that_it_refuses(redis_store: RedisConnection) -> None:
    await redis_store.execute("SET", "text", "one")
    for command in (("INCR", "text"), ("LPUSH", "text", "x"), ("NOSUCHCOMMAND",), ("GET",)):
        told = await refused(redis_store, redis_store.execute(*command))
        assert told.status == 503
    await refused(redis_store, redis_store.evaluate(Script("return redis.call('INCR', KEYS[1])"), ("text",)))
    assert "refuses a command" in redis_store.check()["detail"]
    assert await redis_store.execute("GET", "text") == b"one"


async def test_redis_that_may_not_write_goes_on_reading(redis_store: RedisConnection, redis: RedisServer) -> None:
    await redis_store.execute("SET", "text", "one")
    redis.command("CONFIG", "SET", "min-replicas-to-write", "1")
    await refused(redis_store, redis_store.execute("SET", "text", "two"))
    assert await redis_store.execute("GET", "text") == b"one"
    redis.command("ACL", "SETUSER", "default", "-set")
    await refused(redis_store, redis_store.execute("SET", "text", "three"))
    assert await redis_store.execute("GET", "text") == b"one"


async def test_mongodb_goes_on_after_documents_that_it_refuses(mongodb_store: MongoConnection) -> None:
    things = mongodb_store.collection("things")
    large = {"_id": 1, "text": "x" * (17 * 1024 * 1024)}
    too_large = await refused(mongodb_store, mongodb_store.call(lambda: things.insert_one(large)))
    assert too_large.status == 413
    documents: tuple[Any, ...] = ({"number": 2**70}, {"what": object()}, {"text": "\ud800"}, {1: "a number as a name"})
    for document in documents:
        told = await refused(mongodb_store, mongodb_store.call(lambda: things.insert_one(document)))  # noqa: B023
        assert told.status == 400, document
    await mongodb_store.call(lambda: things.insert_one({"_id": 2}))
    await refused(mongodb_store, mongodb_store.call(lambda: things.insert_one({"_id": 2})))
    await refused(mongodb_store, mongodb_store.call(lambda: mongodb_store.client.admin.command("noSuchCommand")))
    assert await mongodb_store.call(lambda: things.find_one({"_id": 2})) == {"_id": 2}


async def test_a_database_goes_on_after_statements_that_it_refuses(database: SqlConnection) -> None:
    insert = text("INSERT INTO assistant_agents (tenant, name, version, agent) VALUES (:tenant, :name, :version, 'x')")
    good = {"tenant": "t", "name": "n", "version": 1}
    await database.write(lambda connection: connection.execute(insert, good))
    told = [
        (await refused(database, database.write(lambda connection: connection.execute(insert, good | bad)))).status  # noqa: B023
        for bad in ({"version": 2**70}, {"name": object()})
    ]
    assert set(told) == {400}
    for statement in ("SELECT * FROM nowhere", "SELECT FROM WHERE", "SELECT no_such_column FROM assistant_agents"):
        await refused(database, database.rows(text(statement)))
    assert len(await database.rows(text("SELECT * FROM assistant_agents"))) == 1


async def test_postgresql_goes_on_after_text_and_numbers_that_it_can_t_keep(postgresql: PostgresServer) -> None:
    settings = Settings.load(
        database_url=postgresql.url, database_username=postgresql.username, database_password=postgresql.password
    )
    database = SqlConnection(engine_for(settings), STEPS)
    await database.open()
    insert = text("INSERT INTO assistant_agents (tenant, name, version, agent) VALUES ('t', :name, 1, 'x')")
    for name, status in (("a\0b", 400), ("n" * 65, 400), ("\ud800", 400)):
        told = await refused(database, database.write(lambda connection: connection.execute(insert, {"name": name})))  # noqa: B023
        assert told.status == status, name
    for statement in ("SELECT 1 / 0", "SET LOCAL statement_timeout = 1; SELECT pg_sleep(9)"):
        await refused(database, database.write(lambda connection: connection.exec_driver_sql(statement)))  # noqa: B023
    assert postgresql.psql(f"ALTER USER {postgresql.username} SET default_transaction_read_only = on") == "ALTER ROLE"
    await database.engine.dispose()
    with pytest.raises(StoreUnavailableError):
        await database.write(lambda connection: connection.execute(insert, {"name": "n"}))
    assert not database.available, "a server that only reads may be no primary any more"
    await database.aclose()
