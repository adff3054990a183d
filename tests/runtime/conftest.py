"""Fixtures of the runtime's tests: real providers, a real Redis, and a clean environment."""

import os
from collections.abc import AsyncIterator, Iterator

import pytest

from assistant_runtime.settings import Settings
from tests.support.mongodb import MongoServer, run_mongodb
from tests.support.postgresql import PostgresServer, run_postgresql
from tests.support.redis import RedisServer, run_redis
from tests.support.upstream import Upstream, run_upstream


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower() in Settings.model_fields:
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def patient_with_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is busy with tests must not pass for a server that hangs."""
    monkeypatch.setattr("assistant_runtime.app.FIRST_PROBE_SECONDS", 30.0)
    monkeypatch.setattr("assistant_runtime.stores.connection.PROBE_SECONDS", 30.0)
    monkeypatch.setattr("assistant_runtime.stores.redis.COMMAND_SECONDS", 30.0)
    monkeypatch.setattr("assistant_runtime.stores.mongodb.MONGODB_SECONDS", 30.0)
    monkeypatch.setattr("assistant_runtime.stores.sql.SQL_SECONDS", 30.0)


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with run_upstream("first") as provider:
        yield provider


@pytest.fixture
async def second() -> AsyncIterator[Upstream]:
    async with run_upstream("second") as provider:
        yield provider


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with run_redis() as server:
        yield server


@pytest.fixture
def mongodb() -> Iterator[MongoServer]:
    with run_mongodb() as server:
        yield server


@pytest.fixture
def postgresql() -> Iterator[PostgresServer]:
    with run_postgresql() as server:
        yield server
