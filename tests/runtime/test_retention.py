"""Retention: what is old is deleted, in every kind of store, and nothing else; and the audit log still verifies."""

import asyncio
import dataclasses
import sqlite3
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from assistant_runtime import retention
from assistant_runtime.errors import StoreRefusedError, StoreUnavailableError
from assistant_runtime.retention import DAY_SECONDS, Lifetime, Retention, lifetimes
from assistant_runtime.security.audit import AuditLog, Chain, problems
from assistant_runtime.security.audit_expiry import AuditExpiry
from assistant_runtime.security.choice import audit_sink
from assistant_runtime.settings import Settings
from assistant_runtime.stores.audit import AuditSink
from assistant_runtime.stores.choice import Stores, choose_stores
from assistant_runtime.stores.conversations import RESPONSES_METADATA, Commit, Session, Unit
from assistant_runtime.stores.keys import SqlKeys, UsageRow, WantedUsage
from assistant_runtime.writers.job import Assignment, new_job
from assistant_runtime.writers.mongodb_store import MongoJobs
from assistant_runtime.writers.store import JobStore, MemoryJobs
from tests.support.mongodb import MongoServer, run_mongodb
from tests.support.postgresql import PostgresServer, run_postgresql
from tests.support.runtime import eventually, run_runtime
from tests.support.upstream import Upstream

TENANT = "alice"
KEY = b"key of the chain"
DAY = DAY_SECONDS


@pytest.fixture(scope="module")
def mongodb() -> Iterator[MongoServer]:
    with run_mongodb() as server:
        yield server


@pytest.fixture(scope="module")
def postgresql() -> Iterator[PostgresServer]:
    with run_postgresql() as server:
        yield server


@pytest.fixture
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """Settings of a store that is empty for each test."""
    if request.param == "memory":
        return {}
    if request.param == "sqlite":
        return {"data_dir": str(tmp_path)}
    if request.param == "postgresql":
        sql: PostgresServer = request.getfixturevalue("postgresql")
        return {
            "database_url": sql.new_database(),
            "database_username": sql.username,
            "database_password": sql.password,
        }
    mongo: MongoServer = request.getfixturevalue("mongodb")
    own = f"{mongo.url}/test_{uuid.uuid4().hex}?authSource=admin"
    return {"mongodb_url": own, "mongodb_username": mongo.username, "mongodb_password": mongo.password}


every_store = pytest.mark.parametrize("settings", ["memory", "sqlite", "postgresql", "mongodb"], indirect=True)
sql_stores = pytest.mark.parametrize("settings", ["sqlite", "postgresql"], indirect=True)
audit_stores = pytest.mark.parametrize("settings", ["sqlite", "postgresql", "mongodb"], indirect=True)


@asynccontextmanager
async def opened(settings: dict[str, Any]) -> AsyncIterator[Stores]:
    stores = choose_stores(Settings.load(**settings))
    try:
        for backend in stores.backends:
            await backend.open()
        yield stores
    finally:
        for backend in stores.backends:
            await backend.aclose()


async def session(stores: Stores, days: float, metadata: dict[str, str] | None = None) -> str:
    """Make a session that was changed so many days ago."""
    changed = time.time() - days * DAY
    made = Session(f"sess_{uuid.uuid4().hex}", TENANT, metadata=metadata or {}, created=changed, updated=changed)
    await stores.conversations.log.create(made)
    return made.id


async def left(stores: Stores) -> set[str]:
    return {each.id for each in await stores.conversations.log.sessions(TENANT, 1000, None)}


@every_store
async def test_sessions_and_stored_responses_expire_apart(settings: dict[str, Any]) -> None:
    async with opened(settings) as stores:
        young, renamed = await session(stores, 9), await session(stores, 11, {"api": "responses", "name": "mine"})
        old, response = await session(stores, 11), await session(stores, 11, RESPONSES_METADATA)
        assert await stores.expiry.responses(10 * DAY, 20) == 1
        assert await left(stores) == {young, renamed, old}
        assert await stores.expiry.sessions(10 * DAY, 1) == 1
        assert await stores.expiry.sessions(10 * DAY, 20) == 1
        assert await stores.expiry.sessions(10 * DAY, 20) == 0
        assert await left(stores) == {young}
        assert response not in await left(stores)


def unit(session_id: str) -> Unit:
    return Unit(session_id, 1, "key", 1, ({"role": "user", "content": "hi"},), created=time.time())


@every_store
async def test_what_is_appended_to_meanwhile_stays_whole_or_goes_whole(settings: dict[str, Any]) -> None:
    async with opened(settings) as stores:
        log = stores.conversations.log
        ids = [await session(stores, 11) for _ in range(20)]
        deleting = asyncio.gather(*(stores.expiry.sessions(10 * DAY, 10) for _ in range(2)))
        commits = await asyncio.gather(*(log.commit(TENANT, unit(each)) for each in ids))
        kept = await left(stores)
        assert len(kept) + sum(await deleting) == len(ids)
        for each, done in zip(ids, commits, strict=True):
            assert (done == Commit.DONE) == (each in kept), done
            assert len(await log.latest(each, 10)) == (each in kept)


@every_store
async def test_two_replicas_delete_side_by_side(settings: dict[str, Any]) -> None:
    async with opened(settings) as one, opened(settings) as two:
        young = await session(one, 1)
        for _ in range(30):
            await session(one, 11)
        deleted = 0
        while await left(one) != {young}:
            deleted += sum(await asyncio.gather(*(each.expiry.sessions(10 * DAY, 7) for each in (one, two, one))))
        assert deleted == 30 if settings else deleted > 0


@sql_stores
async def test_usage_expires_by_day(settings: dict[str, Any]) -> None:
    async with opened(settings) as stores:
        assert stores.database is not None
        keys = SqlKeys(stores.database)
        days = [time.strftime("%Y-%m-%d", time.gmtime(time.time() - number * DAY)) for number in range(20)]
        await keys.spend([UsageRow(key, "m", day, 1, 1, 1) for day in days for key in ("a", "b")])
        (usage,) = [each for each in lifetimes(Settings(), stores, None) if each.kind == "usage"]
        deleted = [await usage.delete(10 * DAY, 7) for _ in range(4)]
        kept = await keys.usage(WantedUsage(days[-1], days[0]), 100)
    assert deleted == [7, 7, 4, 0]
    assert {row.day for row in kept} == set(days[:11])


@pytest.mark.parametrize("settings", ["memory", "mongodb"], indirect=True)
async def test_jobs_expire_after_their_end(settings: dict[str, Any]) -> None:
    async with opened(settings) as stores:
        store: JobStore = MongoJobs(stores.mongodb) if stores.mongodb else MemoryJobs()
        for backend in stores.backends:
            await backend.open()
        old = new_job(TENANT, Assignment(prompt="Write.", writers=("one",), checkers=()), time.time() - 11 * DAY)
        ended = old.model_copy(update={"id": "write_ended", "status": "done"})
        ended_lately = ended.changed(time.time()).model_copy(update={"id": "write_lately"})
        for job in (old, ended, ended_lately):
            await store.create(job)
        assert [await store.expire(10 * DAY, 10), await store.expire(10 * DAY, 10)] == [1, 0]
        assert {job.id for job in await store.list(TENANT, 10)} == {old.id, "write_lately"}


@pytest.mark.parametrize("settings", ["postgresql", "mongodb"], indirect=True)
async def test_a_replica_whose_clock_jumps_deletes_nothing_too_early(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(settings) as stores:
        sink = audit_sink(stores)
        for backend in stores.backends:
            await backend.open()
        young = await session(stores, 9)
        await recorded(log_of(sink, 9)[0], 3)
        in_ten_years = time.time() + 3650 * DAY
        monkeypatch.setattr("time.time", lambda: in_ten_years)
        assert await stores.expiry.sessions(10 * DAY, 20) == 0
        assert await expire(log_of(sink, 0)[0]) == 0
        assert await left(stores) == {young}


class Clock:
    """A clock that is set by hand."""

    def __init__(self, days_ago: float) -> None:
        self.time = time.time() - days_ago * DAY

    def __call__(self) -> float:
        return self.time


def log_of(sink: AuditSink, days_ago: float, days: int = 10) -> tuple[AuditLog, Clock]:
    clock = Clock(days_ago)
    return AuditLog(sink, Chain(KEY, clock), days), clock


async def recorded(log: AuditLog, count: int) -> None:
    for number in range(count):
        log.add("request", {"number": number})
    await log.flush()


async def wrong(sink: AuditSink) -> list[str]:
    return [problem async for problem in problems(KEY, sink.records)]


async def count(sink: AuditSink) -> int:
    return len([record async for record in sink.records()])


async def expire(log: AuditLog, limit: int = 500) -> int:
    expiry, total = AuditExpiry(log), 0
    while deleted := await expiry.delete(10 * DAY, limit):
        total += deleted
    return total


@audit_stores
async def test_an_audit_log_verifies_after_its_old_chains_were_deleted(settings: dict[str, Any]) -> None:
    async with opened(settings) as stores:
        sink = audit_sink(stores)
        for backend in stores.backends:
            await backend.open()
        for days_ago in (30, 20, 12, 9, 1):
            log, _ = log_of(sink, days_ago)
            await recorded(log, 5)
        log, _ = log_of(sink, 0)
        assert await wrong(sink) == []
        assert await expire(log, 4) == 18
        # Those of 9 days and of one, and its own: its beginning and a record for each chain that went.
        assert await count(sink) == 6 + 6 + 1 + 3
        assert await wrong(sink) == []
        assert await expire(log) == 0


@audit_stores
async def test_a_deletion_that_was_interrupted_verifies_and_is_ended_by_another(settings: dict[str, Any]) -> None:
    async with opened(settings) as stores:
        sink = audit_sink(stores)
        for backend in stores.backends:
            await backend.open()
        old, clock = log_of(sink, 12)
        await recorded(old, 9)
        # Begun while the old one was young, so that it names its end.
        clock_of_witness = Chain(KEY, Clock(11))
        await recorded(AuditLog(sink, clock_of_witness, 10), 1)
        killed, _ = log_of(sink, 0)
        assert await AuditExpiry(killed).delete(10 * DAY, 4) == 4
        assert await wrong(sink) == []
        other, _ = log_of(sink, 0)
        assert await expire(other) == 6 + 2
        assert await wrong(sink) == []
        assert clock.time < time.time()


@audit_stores
async def test_two_replicas_delete_the_same_chains(settings: dict[str, Any]) -> None:
    async with opened(settings) as stores:
        sink = audit_sink(stores)
        for backend in stores.backends:
            await backend.open()
        for days_ago in (30, 20, 15):
            await recorded(log_of(sink, days_ago)[0], 20)
        one, two = log_of(sink, 0)[0], log_of(sink, 0)[0]
        while any(await asyncio.gather(expire(one, 7), expire(two, 7))):
            continue
        bodies = [record.body async for record in sink.records()]
        assert not any('"event":"request"' in body for body in bodies)
        assert await wrong(sink) == []


async def test_what_somebody_else_deleted_or_changed_still_shows(tmp_path: Path) -> None:
    async with opened({"data_dir": str(tmp_path)}) as stores:
        sink = audit_sink(stores)
        for days_ago in (30, 5, 4):
            await recorded(log_of(sink, days_ago)[0], 5)
        log, _ = log_of(sink, 0)
        await expire(log)
        assert await wrong(sink) == []
        first = await anext(sink.records())
        # The whole chain is gone, and the next one has seen its end.
        assert await sink.drop(first.chain, 500) == 6
        assert any(first.chain in problem for problem in await wrong(sink))


async def test_a_record_with_a_false_time_does_not_take_its_chain_away(tmp_path: Path) -> None:
    async with opened({"data_dir": str(tmp_path)}) as stores:
        sink = audit_sink(stores)
        chain = Chain(KEY, Clock(12))
        records = [chain.record("chain_started", {"anchors": {}}), chain.record("request", {})]
        forged = Chain(b"another key", Clock(30)).record("request", {})
        await sink.append([*records, dataclasses.replace(forged, chain=chain.name, sequence=3)])
        log, _ = log_of(sink, 0)
        assert await expire(log) == 0
        assert any("record 3: it was changed" in problem for problem in await wrong(sink))


async def test_a_chain_ends_long_before_it_expires(tmp_path: Path) -> None:
    async with opened({"data_dir": str(tmp_path)}) as stores:
        sink = audit_sink(stores)
        log, clock = log_of(sink, 12)
        for _ in range(4):
            await recorded(log, 2)
            clock.time += 0.6 * DAY
        records = [record async for record in sink.records()]
        assert len({record.chain for record in records}) == 2
        assert await wrong(sink) == []


async def test_a_pass_deletes_all_that_is_old_and_goes_on_without_a_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "PAUSE_SECONDS", 0)
    asked: list[tuple[str, float]] = []
    backlog = {"sessions": 5, "kept": 5}

    def kind(name: str, days: int) -> Lifetime:
        async def delete(age: float, limit: int) -> int:
            asked.append((name, age))
            if name == "down":
                raise StoreUnavailableError("down")
            deleted = min(limit, backlog[name])
            backlog[name] -= deleted
            return deleted

        return Lifetime(name, days, 2, delete)

    assert not await Retention([kind("down", 1), kind("kept", 0), kind("sessions", 3)]).delete_expired()
    assert backlog == {"sessions": 0, "kept": 5}
    assert asked == [("down", DAY), *[("sessions", 3 * DAY)] * 4]


async def test_a_runtime_deletes_what_has_expired(
    upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "FIRST_PASS_SECONDS", 0)
    # The database is prepared while the first pass is on.
    monkeypatch.setattr(retention, "RETRY_SECONDS", 0.05)
    async with opened({"data_dir": str(tmp_path)}) as stores:
        young, _ = await session(stores, 2), await session(stores, 4)
    async with run_runtime(upstream, data_dir=str(tmp_path), retention_sessions_days=3):
        await eventually(lambda: asyncio.to_thread(ids, tmp_path, [young]))


def ids(folder: Path, expected: list[str]) -> bool:
    with closing(sqlite3.connect(folder / "assistant.db")) as connection:
        return [row[0] for row in connection.execute("SELECT id FROM assistant_sessions")] == expected


SQL_RULES = {
    "postgresql": "ALTER TABLE assistant_audit ADD CONSTRAINT odd CHECK (body NOT LIKE '%forbidden%')",
    "sqlite": "CREATE TRIGGER odd BEFORE INSERT ON assistant_audit WHEN NEW.body LIKE '%forbidden%' "
    "BEGIN SELECT RAISE(ABORT, 'forbidden'); END",
}


async def forbid(stores: Stores) -> str:
    """Let the store refuse records; gives a fact that a record is refused with."""
    if stores.database is None:
        return "x" * 17_000_000  # a document of MongoDB holds 16 MB
    rule = text(SQL_RULES[stores.database.engine.dialect.name])
    await stores.database.write(lambda connection: connection.execute(rule))
    return "forbidden"


@audit_stores
async def test_a_record_that_the_store_refuses_is_logged_and_the_others_are_kept(settings: dict[str, Any]) -> None:
    noted: list[str] = []
    async with opened(settings) as stores:
        sink, fact = audit_sink(stores), await forbid(stores)
        log = AuditLog(sink, Chain(KEY), refused=noted.append)
        for number in range(20):
            log.add("request", {"number": number, **({"fact": fact} if number in {4, 5} else {})})
        with capture_logs() as lines:
            await log.flush()
        await recorded(log, 1)
        kept = [record async for record in sink.records()]
        assert await wrong(sink) == [], "the chain names what was refused"
        with pytest.raises(StoreRefusedError):
            await log.write("request", {"fact": fact})
    # Its beginning, 18 of 20, two notes of the others, and the one behind.
    assert len(kept) == 1 + 18 + 2 + 1
    refused = [line for line in lines if line["event"] == "audit_record_refused"]
    assert [orjson.loads(line["body"])["number"] for line in refused] == [4, 5]
    assert noted == ["audit"] * 3


@pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
async def test_a_refused_record_that_no_later_one_names_is_missing(settings: dict[str, Any]) -> None:
    async with opened(settings) as stores:
        sink = audit_sink(stores)
        log = AuditLog(sink, Chain(KEY))
        log.add("request", {"fact": await forbid(stores)})
        await recorded(log, 1)
        assert stores.database is not None
        note = text("DELETE FROM assistant_audit WHERE body LIKE '%record_refused%'")
        await stores.database.write(lambda connection: connection.execute(note))
        assert [problem.partition(": ")[2] for problem in await wrong(sink)] == ["records 2 to 2 are missing"]


@pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
async def test_any_fact_can_be_recorded(settings: dict[str, Any]) -> None:
    async with opened(settings) as stores:
        sink = audit_sink(stores)
        log = AuditLog(sink, Chain(KEY))
        log.add("request", {"path": "/\ud800", "number": 2**70})
        await recorded(log, 1)
        assert await count(sink) == 3
        assert await wrong(sink) == []
