"""Conversations: nothing lost, nothing doubled, one order, and tool calls always in pairs; in every kind of log."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant_runtime.errors import ApiError
from assistant_runtime.settings import Settings
from assistant_runtime.stores.connection import StoreConnection
from assistant_runtime.stores.conversation_memory import MemoryConversationLog
from assistant_runtime.stores.conversation_mongodb import MongoConversationLog
from assistant_runtime.stores.conversation_sql import METADATA, SqlConversationLog, add_about
from assistant_runtime.stores.conversations import (
    ConversationLog,
    Conversations,
    SessionNotFoundError,
    VersionConflictError,
)
from assistant_runtime.stores.history import History
from assistant_runtime.stores.mongodb import MongoConnection
from assistant_runtime.stores.schema import STEPS
from assistant_runtime.stores.sql import SqlConnection, engine_for
from assistant_runtime.stores.tool_pairing import UNANSWERED, calls, paired
from tests.support.mongodb import MongoServer, run_mongodb
from tests.support.postgresql import PostgresServer, run_postgresql

TENANT = "alice"


@pytest.fixture(params=["memory", "sqlite", "postgresql", "mongodb"])
async def log(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ConversationLog]:
    if request.param == "memory":
        yield MemoryConversationLog()
        return
    connection, found = _connected(request, tmp_path)
    await connection.open()
    assert connection.available, connection.check()
    if request.param == "postgresql":
        request.getfixturevalue("postgresql").psql("TRUNCATE assistant_sessions, assistant_session_units")
    yield found
    await connection.aclose()


@pytest.fixture(scope="module")
def mongodb() -> Iterator[MongoServer]:
    with run_mongodb() as server:
        yield server


@pytest.fixture(scope="module")
def postgresql() -> Iterator[PostgresServer]:
    with run_postgresql() as server:
        yield server


def _connected(request: pytest.FixtureRequest, folder: Path) -> tuple[StoreConnection, ConversationLog]:
    if request.param == "sqlite":
        database = SqlConnection(engine_for(Settings.load(data_dir=str(folder))), STEPS)
        return database, SqlConversationLog(database)
    if request.param == "postgresql":
        where: PostgresServer = request.getfixturevalue("postgresql")
        settings = Settings.load(
            database_url=where.url, database_username=where.username, database_password=where.password
        )
        database = SqlConnection(engine_for(settings), STEPS)
        return database, SqlConversationLog(database)
    server: MongoServer = request.getfixturevalue("mongodb")
    own = f"{server.url}/test_{uuid.uuid4().hex}?authSource=admin"
    settings = Settings.load(mongodb_url=own, mongodb_username=server.username, mongodb_password=server.password)
    mongo = MongoConnection(settings)
    return mongo, MongoConversationLog(mongo)


@pytest.fixture
def conversations(log: ConversationLog) -> Conversations:
    return Conversations(log, max_messages=1000, max_sessions=10)


def said(text: str, role: str = "user") -> dict[str, object]:
    return {"role": role, "content": text}


def called(*ids: str) -> dict[str, object]:
    listed = [{"id": each, "type": "function", "function": {"name": "f", "arguments": "{}"}} for each in ids]
    return {"role": "assistant", "content": None, "tool_calls": listed}


def result(call: str) -> dict[str, object]:
    return {"role": "tool", "tool_call_id": call, "content": "ok"}


async def test_messages_come_back_in_order(conversations: Conversations) -> None:
    session = await conversations.create(TENANT, "a title", {"topic": "tests"})
    for turn in range(3):
        await conversations.append(TENANT, session.id, [said(f"q{turn}"), said(f"a{turn}", "assistant")], f"k{turn}")
    found = await conversations.messages(TENANT, session.id, 0, 100)
    assert [stored.message["content"] for stored in found] == ["q0", "a0", "q1", "a1", "q2", "a2"]
    assert [stored.sequence for stored in found] == [1, 2, 3, 4, 5, 6]
    page = await conversations.messages(TENANT, session.id, 1, 3)
    assert [stored.sequence for stored in page] == [2, 3, 4]
    head = await conversations.get(TENANT, session.id)
    assert (head.title, head.metadata, head.version, head.message_count) == ("a title", {"topic": "tests"}, 3, 6)


async def test_a_key_is_appended_once(conversations: Conversations) -> None:
    session = await conversations.create(TENANT)
    first = await conversations.append(TENANT, session.id, [said("q")], "same")
    again = await conversations.append(TENANT, session.id, [said("q")], "same", expected_version=0)
    assert (first.replayed, again.replayed) == (False, True)
    assert again.unit == first.unit
    assert len(await conversations.messages(TENANT, session.id, 0, 100)) == 1


async def test_what_is_kept_about_a_unit_goes_with_its_key(conversations: Conversations) -> None:
    log, session = conversations.log, await conversations.create(TENANT)
    for key in ("one", "two"):
        await conversations.append(TENANT, session.id, [said(key)], key, about={"deep": {"er": [key, 2**60]}})
    kept = await log.by_key(session.id, "one")
    assert kept is not None
    assert kept.about == {"deep": {"er": ["one", 2**60]}}
    assert [unit.about for unit in await log.after(session.id, 1, 10)] == [{"deep": {"er": ["two", 2**60]}}]
    assert await log.release(session.id, "one") == 1
    assert await log.release(session.id, "one") is None
    assert await log.by_key(session.id, "one") is None
    assert [unit.about for unit in await log.after(session.id, 0, 1)] == [None]
    assert await log.release(session.id, "two") == 0
    assert [stored.message["content"] for stored in await conversations.messages(TENANT, session.id, 0, 10)] == [
        "one",
        "two",
    ]


async def test_a_database_of_an_earlier_version_keeps_its_sessions(tmp_path: Path) -> None:
    settings = Settings.load(data_dir=str(tmp_path))
    engine = engine_for(settings)
    async with engine.begin() as connection:
        await connection.run_sync(METADATA.create_all)
        await connection.run_sync(
            lambda each: each.exec_driver_sql("ALTER TABLE assistant_session_units DROP COLUMN about")
        )
        for _ in range(2):
            await connection.run_sync(add_about)
    await engine.dispose()
    database = SqlConnection(engine_for(settings), STEPS)
    await database.open()
    conversations = Conversations(SqlConversationLog(database), max_messages=1000, max_sessions=10)
    session = await conversations.create(TENANT)
    await conversations.append(TENANT, session.id, [said("q")], "key", about={"a": 1})
    kept = await conversations.log.by_key(session.id, "key")
    assert kept is not None
    assert kept.about == {"a": 1}
    await database.aclose()


async def test_a_conflict_tells_the_current_version(conversations: Conversations) -> None:
    session = await conversations.create(TENANT)
    await conversations.append(TENANT, session.id, [said("q")], "k1", expected_version=0)
    with pytest.raises(VersionConflictError) as caught:
        await conversations.append(TENANT, session.id, [said("q")], "k2", expected_version=0)
    assert caught.value.current == 1


async def test_many_writers_lose_and_double_nothing(conversations: Conversations) -> None:
    session = await conversations.create(TENANT)
    keys = [f"k{index}" for index in range(20)]
    await asyncio.gather(
        *(conversations.append(TENANT, session.id, [said(key), said(key, "assistant")], key) for key in keys * 2)
    )
    found = await conversations.messages(TENANT, session.id, 0, 1000)
    assert [stored.sequence for stored in found] == list(range(1, 41))
    assert sorted(stored.key for stored in found) == sorted(keys * 2)
    assert [first.key for first in found[::2]] == [second.key for second in found[1::2]], "units stay whole"


async def test_tenants_dont_meet(conversations: Conversations) -> None:
    session = await conversations.create(TENANT)
    for attempt in (
        conversations.get("bob", session.id),
        conversations.messages("bob", session.id, 0, 10),
        conversations.append("bob", session.id, [said("q")], "k"),
        conversations.update("bob", session.id, "mine"),
        conversations.delete("bob", session.id),
    ):
        with pytest.raises(SessionNotFoundError):
            await attempt
    assert await conversations.listed("bob", 10) == []


async def test_a_deleted_session_is_gone(conversations: Conversations) -> None:
    session = await conversations.create(TENANT)
    await conversations.append(TENANT, session.id, [said("q")], "k")
    await conversations.delete(TENANT, session.id)
    with pytest.raises(SessionNotFoundError):
        await conversations.append(TENANT, session.id, [said("q")], "k2")
    assert await conversations.log.after(session.id, 0, 10) == []
    assert await conversations.listed(TENANT, 10) == []


async def test_sessions_are_listed_in_pages_and_changed(conversations: Conversations) -> None:
    sessions = [await conversations.create(TENANT, f"t{index}") for index in range(5)]
    await conversations.update(TENANT, sessions[0].id, title="new")
    first = await conversations.listed(TENANT, 3)
    rest = await conversations.listed(TENANT, 3, before=(first[-1].created, first[-1].id))
    listed = {each.id: each.title for each in (*first, *rest)}
    assert listed == {each.id: each.title for each in sessions} | {sessions[0].id: "new"}


async def test_limits_are_told(log: ConversationLog) -> None:
    small = Conversations(log, max_messages=2, max_sessions=1)
    session = await small.create(TENANT)
    with pytest.raises(ApiError, match="SESSIONS_PER_TENANT"):
        await small.create(TENANT)
    await small.append(TENANT, session.id, [said("q"), said("a", "assistant")], "k1")
    with pytest.raises(ApiError, match="full"):
        await small.append(TENANT, session.id, [said("q")], "k2")


async def test_a_result_without_its_call_is_refused(conversations: Conversations) -> None:
    session = await conversations.create(TENANT)
    await conversations.append(TENANT, session.id, [said("q"), called("c1", "c2")], "k1")
    with pytest.raises(ApiError, match="no call 'c3'"):
        await conversations.append(TENANT, session.id, [result("c3")], "k2")
    await conversations.append(TENANT, session.id, [result("c1")], "k3")
    await conversations.append(TENANT, session.id, [said("never mind")], "k4")
    found = [stored.message for stored in await conversations.messages(TENANT, session.id, 0, 10)]
    assert found[-2:] == [{"role": "tool", "tool_call_id": "c2", "content": UNANSWERED}, said("never mind")]


MESSAGES = st.lists(
    st.one_of(
        st.just(said("q")),
        st.lists(st.sampled_from(["a", "b", "c"]), max_size=3, unique=True).map(lambda ids: called(*ids)),
        st.sampled_from(["a", "b", "c"]).map(result),
    ),
    max_size=8,
)


@given(st.lists(MESSAGES, max_size=5))
def test_whatever_is_appended_a_provider_accepts_it(units: list[list[dict[str, object]]]) -> None:
    conversation: list[dict[str, object]] = []
    open_calls: tuple[str, ...] = ()
    for unit in units:
        try:
            whole, open_calls = paired(open_calls, unit)
        except ApiError:
            continue
        conversation += whole
    waiting: list[str] = []
    for message in conversation:
        if message["role"] == "tool":
            waiting.remove(str(message["tool_call_id"]))
        else:
            assert not waiting
            waiting = calls(message)
    assert sorted(waiting) == sorted(open_calls)


async def test_a_window_is_the_end_of_the_session(conversations: Conversations) -> None:
    history = History(conversations, None, limit=3)
    session = await conversations.create(TENANT)
    window = await history.load(TENANT, session.id)
    assert window.messages == ()
    kept = await history.record(window, [said("q1"), called("c"), result("c"), said("a1", "assistant")], "k1")
    assert kept is not None
    assert (kept.version, kept.message_count) == (1, 4)
    window = await history.load(TENANT, session.id)
    assert [message["content"] for message in window.messages] == ["a1"] or window.messages[0]["role"] != "tool"
    await history.record(window, [said("q2"), said("a", "assistant")], "k2", incomplete=True)
    stored = await conversations.messages(TENANT, session.id, 4, 10)
    assert [each.incomplete for each in stored] == [False, True]
