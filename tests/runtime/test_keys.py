"""Keys that administrators make: what they open, what they may spend, and how they end."""

import asyncio
import contextlib
import json
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy import event, text
from structlog.testing import capture_logs

from assistant_runtime.api.keys import NewKey, wanted_key
from assistant_runtime.errors import ApiError
from assistant_runtime.security import ledger, managed_keys
from assistant_runtime.security.accounts import Spent
from assistant_runtime.security.api_keys import Digests
from assistant_runtime.security.key_ring import KeyRing
from assistant_runtime.security.spending import EXPECTED_ANSWER
from assistant_runtime.security.tenants import Tenants
from assistant_runtime.settings import Settings
from assistant_runtime.stores.keys import SqlKeys, StoredKey, UsageRow, WantedUsage
from assistant_runtime.stores.schema import STEPS
from assistant_runtime.stores.sql import SqlConnection, engine_for
from assistant_runtime.stores.tenants import MemoryTenantNames
from assistant_runtime.stores.users import SqlUsers
from tests.runtime.test_cli import run
from tests.support.postgresql import PostgresServer, run_postgresql
from tests.support.runtime import QUESTION, Reply, Runtime, cancelled, eventually, run_runtime
from tests.support.upstream import MODEL, Upstream, hang

ADMIN = "admin-0123456789"
TENANTS = Tenants(KeyRing(b"s" * 32), MemoryTenantNames())


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with run_postgresql() as started:
        yield started


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """Settings of a database that is empty for each test."""
    common = {"api_keys": ADMIN, "secret_key": "s" * 32}
    if request.param == "sqlite":
        return {**common, "data_dir": str(tmp_path)}
    server: PostgresServer = request.getfixturevalue("server")
    credentials = {"database_username": server.username, "database_password": server.password}
    return {**common, "database_url": server.new_database(), **credentials}


async def ask(runtime: Runtime, method: str, path: str, key: str = ADMIN, body: Any = None) -> Reply:
    headers = {"authorization": f"Bearer {key}"}
    async with runtime.client.request(method, f"{runtime.url}/v1/{path}", json=body, headers=headers) as answer:
        return Reply(answer.status, dict(answer.headers), await answer.read())


async def make(runtime: Runtime, **wanted: Any) -> dict[str, Any]:
    async def up() -> bool:
        return bool((await runtime.ready())["checks"]["database"]["status"] == "up")

    # The runtime starts without a database that takes longer than a moment.
    await eventually(up)
    reply = await ask(runtime, "POST", "keys", body={"name": "test", **wanted})
    assert reply.status == 201, reply.body
    made: dict[str, Any] = reply.json
    return made


async def test_a_key_lives_until_it_is_revoked(
    upstream: Upstream, database: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with run_runtime(upstream, **database) as runtime:
        made = await make(runtime)
        assert (await runtime.chat(made["key"])).status == 200
        listed = await ask(runtime, "GET", "keys")
        assert made["key"].encode() not in listed.body, "the secret is told once"
        assert [key["id"] for key in listed.json["data"]] == [made["id"]]
        assert (await ask(runtime, "DELETE", f"keys/{made['id']}")).json["revoked"] is not None
        assert (await runtime.chat(made["key"])).status == 401
        assert (await ask(runtime, "DELETE", "keys/key_unknown")).error["code"] == "key_not_found"


async def test_another_replica_refuses_a_revoked_key(
    upstream: Upstream, database: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(managed_keys, "FRESH_SECONDS", 0.2)
    async with run_runtime(upstream, **database) as one, run_runtime(upstream, **database) as other:
        made = await make(one)
        assert (await other.chat(made["key"])).status == 200
        await ask(one, "DELETE", f"keys/{made['id']}")

        async def refused() -> bool:
            return (await other.chat(made["key"])).status == 401

        await eventually(refused)


async def test_a_clock_that_is_set_back_keeps_no_revoked_key_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(managed_keys, "FRESH_SECONDS", 0.0)
    database = SqlConnection(engine_for(Settings(data_dir=str(tmp_path))), STEPS)
    await database.open()
    now, digests = 10_000.0, Digests(b"s" * 32)
    keys = managed_keys.ManagedKeys(SqlKeys(database), SqlUsers(database), digests, TENANTS, clock=lambda: now)
    secret, kept = await keys.create(wanted_key(NewKey(name="test")))
    digest = digests.digest(secret.encode())
    assert await keys.principal(digest, "") is not None
    now -= 3600.0
    await SqlKeys(database).revoke(kept.id, now)  # at another replica
    assert await keys.principal(digest, "") is None
    await database.aclose()


class CountingKeys(SqlKeys):
    """Counts how often the database is asked for a key."""

    asked = 0

    async def by_digest(self, digest: str, older: Sequence[str] = ()) -> StoredKey | None:
        self.asked += 1
        return await super().by_digest(digest, older)


@asynccontextmanager
async def counted_keys(folder: Path) -> AsyncIterator[tuple[managed_keys.ManagedKeys, CountingKeys, bytes]]:
    """Give keys with one that exists, by its HMAC."""
    database = SqlConnection(engine_for(Settings(data_dir=str(folder))), STEPS)
    await database.open()
    store, digests = CountingKeys(database), Digests(b"s" * 32)
    keys = managed_keys.ManagedKeys(store, SqlUsers(database), digests, TENANTS)
    secret, _ = await keys.create(wanted_key(NewKey(name="test")))
    try:
        yield keys, store, digests.digest(secret.encode())
    finally:
        await database.aclose()


def guess(number: int) -> bytes:
    return number.to_bytes(32, "big")


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1"])
async def test_an_address_that_guesses_keys_does_not_reach_the_database(tmp_path: Path, address: str) -> None:
    async with counted_keys(tmp_path) as (keys, store, digest):
        assert await keys.principal(digest, address) is not None
        for number in range(managed_keys.GUESSES):
            assert await keys.principal(guess(number), address) is None
        asked = store.asked
        neighbour = address if "." in address else "2001:db8::2"
        for number in range(1000, 1100):
            with pytest.raises(ApiError) as refused:
                await keys.principal(guess(number), neighbour)
            assert (refused.value.status, refused.value.error["code"]) == (429, "too_many_unknown_keys")
            assert 1 <= int(refused.value.headers["retry-after"]) <= managed_keys.GUESS_SECONDS
        assert store.asked == asked
        assert await keys.principal(digest, address) is not None, "whoever shares the address goes on"
        assert await keys.principal(guess(1), "2001:db8:0:1::1") is None


async def test_guesses_push_no_key_out_of_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(managed_keys, "MAX_KNOWN", 1)
    monkeypatch.setattr(managed_keys, "MAX_UNKNOWN", 3)
    async with counted_keys(tmp_path) as (keys, store, digest):
        assert await keys.principal(digest, "192.0.2.1") is not None
        for number in range(10):
            assert await keys.principal(guess(number), f"198.51.100.{number}") is None
        asked = store.asked
        assert await keys.principal(digest, "192.0.2.1") is not None
        assert await keys.principal(guess(9), "198.51.100.9") is None
        assert store.asked == asked
        await keys.principal(guess(0), "198.51.100.0")
        assert store.asked == asked + 1, "what is remembered of guesses has a bound"


async def test_one_question_is_asked_for_a_key_that_many_requests_bring(tmp_path: Path) -> None:
    async with counted_keys(tmp_path) as (keys, store, digest):
        found = await asyncio.gather(*(keys.principal(digest, "192.0.2.1") for _ in range(50)))
        assert None not in found
        missed = await asyncio.gather(*(keys.principal(guess(1), "192.0.2.1") for _ in range(50)))
        assert set(missed) == {None}
        assert store.asked == 2


async def test_a_key_opens_what_its_scopes_say(upstream: Upstream, database: dict[str, Any]) -> None:
    async with run_runtime(upstream, **database) as runtime:
        key = (await make(runtime, scopes=["sessions"]))["key"]
        assert (await ask(runtime, "GET", "sessions", key)).status == 200
        for method, path in (("GET", "models"), ("GET", "keys"), ("GET", "usage"), ("GET", "users"), ("POST", "keys")):
            refused = await ask(runtime, method, path, key)
            assert (refused.status, refused.error["code"]) == (403, "insufficient_scope")


async def test_keys_of_one_user_share_their_sessions(upstream: Upstream, database: dict[str, Any]) -> None:
    async with run_runtime(upstream, **database) as runtime:
        first, second = [(await make(runtime, user="carol"))["key"] for _ in range(2)]
        stranger = (await make(runtime, user="dave"))["key"]
        session = (await ask(runtime, "POST", "sessions", first, {})).json["id"]
        assert (await ask(runtime, "GET", f"sessions/{session}", second)).status == 200
        assert (await ask(runtime, "GET", f"sessions/{session}", stranger)).status == 404


async def test_a_key_has_a_limit_of_its_own(upstream: Upstream, database: dict[str, Any]) -> None:
    async with run_runtime(upstream, **database) as runtime:
        key = (await make(runtime, rate_limit={"requests": 1, "window": 60}))["key"]
        replies = [await runtime.chat(key) for _ in range(2)]
        assert [reply.status for reply in replies] == [200, 429]
        assert replies[0].headers["x-ratelimit-limit-requests"] == "1"
        assert (await runtime.chat(ADMIN)).headers["x-ratelimit-limit-requests"] == "100"


async def test_a_key_has_tokens_a_minute_and_parallel_requests_of_its_own(
    upstream: Upstream, database: dict[str, Any]
) -> None:
    limits = {"tokens_per_minute": 30, "max_parallel_requests": 7}
    async with run_runtime(upstream, **database, redis_cache_enabled=False) as runtime:
        key = await make(runtime, **limits)
        replies = [await runtime.chat(key["key"]) for _ in range(3)]
        changed = await ask(runtime, "PATCH", f"keys/{key['id']}", body={"tokens_per_minute": None})
        free = await runtime.chat(key["key"])
        bad = await ask(runtime, "POST", "keys", body={"name": "test", "max_parallel_requests": 0})
    assert {name: key[name] for name in limits} == limits
    assert [reply.status for reply in replies] == [200, 200, 429]
    assert replies[0].headers["x-ratelimit-remaining-parallel-requests"] == "6"
    assert replies[2].headers["x-ratelimit-limit-tokens"] == "30"
    assert changed.json["tokens_per_minute"] is None
    assert (free.status, "x-ratelimit-limit-tokens" in free.headers) == (200, False)
    assert (bad.status, bad.error["param"]) == (400, "max_parallel_requests")


async def test_a_budget_ends(upstream: Upstream, database: dict[str, Any]) -> None:
    async with run_runtime(upstream, **database) as runtime:
        key = (await make(runtime, token_budget_daily=1))["key"]
        assert (await runtime.chat(key)).status == 200
        over = await runtime.chat(key, user="other")
        assert (over.status, over.error["code"]) == (429, "token_budget_exceeded")
        assert 1 <= int(over.headers["retry-after"]) <= 86_400
        assert over.headers["x-ratelimit-remaining-tokens"] == "0"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_learns_how_its_budget_stands(
    upstream: Upstream, database: dict[str, Any], stream: bool
) -> None:
    async with run_runtime(upstream, **database) as runtime:
        key = (await make(runtime, token_budget_daily=5000, token_budget_monthly=100_000))["key"]
        replies = [await runtime.chat(key, user=str(number), stream=stream) for number in range(2)]
        assert "x-ratelimit-limit-tokens" not in (await runtime.chat(ADMIN)).headers
    assert [reply.headers["x-ratelimit-limit-tokens"] for reply in replies] == ["5000", "5000"]
    first, second = (int(reply.headers["x-ratelimit-remaining-tokens"]) for reply in replies)
    assert first - second == 20, "what the first answer took, streamed or not, in place of what was held for it"
    assert replies[0].headers["x-ratelimit-reset-tokens"].endswith("s")


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/v1/chat/completions", QUESTION),
        ("/v1/chat/completions", {**QUESTION, "stream": True}),
        ("/v1/embeddings", {"model": "vectors", "input": "text"}),
    ],
    ids=["whole", "stream", "embeddings"],
)
async def test_a_client_that_leaves_before_the_first_token_has_spent_what_was_held(
    upstream: Upstream, database: dict[str, Any], path: str, asked: dict[str, Any]
) -> None:
    upstream.script = [hang]
    async with run_runtime(upstream, **database) as runtime:
        key = (await make(runtime, token_budget_daily=5000))["key"]
        headers = {"authorization": f"Bearer {key}"}
        leaving = asyncio.create_task(runtime.post(json.dumps(asked), headers, path))
        await upstream.started.wait()
        await cancelled(leaving)

        async def settled() -> bool:
            return b'status="499"' in (await runtime.get("/metrics")).body

        await eventually(settled)
        reply = await runtime.chat(key)
    assert int(reply.headers["x-ratelimit-remaining-tokens"]) < 5000 - 2 * EXPECTED_ANSWER


async def test_usage_is_kept_by_key_model_and_day(upstream: Upstream, database: dict[str, Any]) -> None:
    async with run_runtime(upstream, **database) as runtime:
        made = await make(runtime)
        for index in range(3):
            await runtime.chat(made["key"], user=str(index))
    async with run_runtime(upstream, **database) as runtime:
        rows = (await ask(runtime, "GET", f"usage?key_id={made['id']}")).json["data"]
    assert [(row["model"], row["requests"]) for row in rows] == [(MODEL, 3)]
    assert rows[0]["input_tokens"] > 0
    assert rows[0]["output_tokens"] > 0


async def test_usage_that_is_being_written_when_the_runtime_ends_is_kept(
    upstream: Upstream, server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "FLUSH_SECONDS", 0.1)
    credentials = {"database_username": server.username, "database_password": server.password}
    settings = {"api_keys": ADMIN, "database_url": server.new_database(), **credentials}
    async with run_runtime(upstream, **settings) as runtime:
        writer = await asyncpg.connect(settings["database_url"], user=server.username, password=server.password)
        busy = writer.transaction()
        await busy.start()
        await writer.execute("LOCK TABLE assistant_usage IN EXCLUSIVE MODE")
        await runtime.chat(ADMIN)
        waiting = "SELECT count(*) FROM pg_locks WHERE relation = 'assistant_usage'::regclass AND NOT granted"
        await eventually(lambda: writer.fetchval(waiting))
        let_go = asyncio.create_task(after_the_end_began(runtime, busy.commit))
    await let_go
    assert await writer.fetchval("SELECT requests FROM assistant_usage") == 1
    await writer.close()


@contextlib.asynccontextmanager
async def ledger_of(database: dict[str, Any]) -> AsyncIterator[tuple[ledger.UsageLedger, SqlKeys, SqlConnection]]:
    connection = SqlConnection(engine_for(Settings(**database)), STEPS)
    await connection.open()
    store = SqlKeys(connection)
    try:
        yield ledger.UsageLedger(store, clock=lambda: DAY), store, connection
    finally:
        await connection.aclose()


DAY = 1_700_000_000.0
EVERY = WantedUsage("2023-11-14", "2023-11-14")


def spent(model: str) -> list[Spent]:
    return [(model, 2, 3)]


async def test_many_counts_are_few_statements_and_none_is_lost(database: dict[str, Any]) -> None:
    statements: list[str] = []
    async with ledger_of(database) as (usage, store, connection):
        event.listen(connection.engine.sync_engine, "before_cursor_execute", lambda *seen: statements.append(seen[2]))
        for _ in range(2):
            for number in range(1200):
                usage.add(f"key_{number}", spent(MODEL))
                usage.add(f"key_{number}", spent(MODEL))
            await usage.flush()
        assert len([each for each in statements if each.startswith("INSERT")]) == 6
        rows = await store.usage(EVERY, 5000)
    assert len(rows) == 1200
    assert {(row.requests, row.input_tokens, row.output_tokens) for row in rows} == {(4, 8, 12)}


async def test_a_flush_that_fails_is_repeated_and_leaves_the_database_up(database: dict[str, Any]) -> None:
    async with ledger_of(database) as (usage, store, connection):
        usage.add("key_a", spent(MODEL))
        await connection.write(lambda it: it.execute(text("ALTER TABLE assistant_usage RENAME TO elsewhere")))
        await usage.flush()
        assert connection.available
        await connection.write(lambda it: it.execute(text("ALTER TABLE elsewhere RENAME TO assistant_usage")))
        usage.add("key_a", spent(MODEL))
        await usage.flush()
        assert [row.requests for row in await store.usage(EVERY, 10)] == [2]


async def test_a_count_that_the_database_refuses_keeps_no_other_out(database: dict[str, Any]) -> None:
    noted: list[str] = []
    async with ledger_of(database) as (_, store, _):
        usage = ledger.UsageLedger(store, lambda: DAY, noted.append)
        for number in range(1200):
            usage.add(f"key_{number}", [(MODEL, 2**70, 3)] if number in {7, 600, 601} else spent(MODEL))
        with capture_logs() as lines:
            await usage.flush()
        usage.add("key_later", spent(MODEL))
        await usage.flush()
        rows = await store.usage(EVERY, 5000)
    assert len(rows) == 1198
    assert {(row.requests, row.input_tokens) for row in rows} == {(1, 2)}
    lost = [line for line in lines if line["event"] == "usage_refused"]
    assert {(line["key_id"], line["model"], line["input_tokens"]) for line in lost} == {
        (f"key_{number}", MODEL, 2**70) for number in (7, 600, 601)
    }
    assert noted == ["usage"] * 3


async def test_counts_that_wait_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "MAX_ROWS", 10)
    connection = SqlConnection(engine_for(Settings(data_dir=str(tmp_path))), STEPS)
    usage, store = ledger.UsageLedger(SqlKeys(connection), lambda: DAY), SqlKeys(connection)
    with capture_logs() as lines:
        for number in range(30):
            usage.add(f"key_{number:02}", spent(MODEL))
            await usage.flush()
    assert [line["event"] for line in lines if line["log_level"] == "error"] == ["usage_lost"]
    await connection.open()
    await usage.flush()
    assert [row.key_id for row in await store.usage(EVERY, 100)] == [f"key_{number:02}" for number in range(10)]
    await connection.aclose()


@pytest.mark.parametrize("model", ["a\x00b", "\ud800", "m" * 300])
async def test_any_name_of_a_model_can_be_counted(database: dict[str, Any], model: str) -> None:
    async with ledger_of(database) as (usage, store, _):
        usage.add("key_a", spent(model))
        usage.add("key_b", spent(MODEL))
        await usage.flush()
        assert len(await store.usage(EVERY, 10)) == 2


async def test_usage_is_given_in_pages_and_no_day_is_left_out(upstream: Upstream, database: dict[str, Any]) -> None:
    async with ledger_of(database) as (_, store, _):
        days = [f"2023-11-{day:02}" for day in range(1, 8)]
        for day in days:
            await store.spend([UsageRow(key, "a/b", day, 1, 1, 1) for key in ("key_a", "key_b", "key_c")])
    async with run_runtime(upstream, **database) as runtime:
        found, after, pages = [], "", 0
        while after is not None:
            query = f"usage?since=2023-11-01&until=2023-11-30&limit=4&after={after}"
            reply = (await ask(runtime, "GET", query)).json
            assert reply["has_more"] == (reply["next"] is not None)
            found += [(row["day"], row["key_id"]) for row in reply["data"]]
            after, pages = reply["next"], pages + 1
        nonsense = await ask(runtime, "GET", "usage?after=nonsense")
    assert found == [(day, key) for day in days for key in ("key_a", "key_b", "key_c")]
    assert pages == 6
    assert (nonsense.status, nonsense.error["param"]) == (400, "after")


async def after_the_end_began(runtime: Runtime, work: Callable[[], Awaitable[None]]) -> None:
    await eventually(lambda: runtime.server.servers and not runtime.server.servers[0].is_serving())
    await work()


async def test_keys_that_were_seen_go_on_without_the_database(
    upstream: Upstream, postgresql: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(managed_keys, "FRESH_SECONDS", 0.0)
    credentials = {"database_username": postgresql.username, "database_password": postgresql.password}
    async with run_runtime(upstream, api_keys=ADMIN, database_url=postgresql.url, **credentials) as runtime:
        key = (await make(runtime))["key"]
        assert (await runtime.chat(key)).status == 200
        postgresql.kill()
        assert (await runtime.chat(key)).status == 200
        unknown = await runtime.chat("ak-never-seen")
        assert (unknown.status, unknown.error["code"]) == (503, "store_unavailable")
        assert (await runtime.chat(ADMIN)).status == 200
        ready = await runtime.ready()
        assert (ready["status"], ready["degraded"]) == ("degraded", ["database"])
        postgresql.start()

        async def back() -> bool:
            return (await ask(runtime, "GET", "keys")).status == 200

        await eventually(back)


async def test_a_key_can_be_changed(upstream: Upstream, database: dict[str, Any]) -> None:
    async with run_runtime(upstream, **database) as runtime:
        made = await make(runtime, rate_limit={"requests": 5, "window": 60}, token_budget_daily=9, expires_in=600)
        assert (await runtime.chat(made["key"])).headers["x-ratelimit-limit-requests"] == "5"
        path = f"keys/{made['id']}"
        changed = await ask(runtime, "PATCH", path, body={"name": "new", "scopes": ["sessions"], "rate_limit": None})
        assert changed.status == 200
        told = {"name": "new", "scopes": ["sessions"], "rate_limit": None}
        assert changed.json == {name: value for name, value in made.items() if name != "key"} | told
        assert (await runtime.chat(made["key"])).error["code"] == "insufficient_scope"
        ended = (await ask(runtime, "PATCH", path, body={"token_budget_daily": None, "expires_in": None})).json
        assert (ended["token_budget_daily"], ended["expires"]) == (None, None)
        assert (await ask(runtime, "PATCH", path, body={})).json == ended
        assert (await ask(runtime, "PATCH", "keys/key_unknown", body={})).error["code"] == "key_not_found"


async def test_a_user_comes_and_goes_with_its_keys(upstream: Upstream, database: dict[str, Any]) -> None:
    async with run_runtime(upstream, **database) as runtime:
        carol = (await ask(runtime, "POST", "users", body={"name": "carol"})).json
        assert (carol["name"], carol["disabled"], carol["keys"]) == ("carol", None, 0)
        again = await ask(runtime, "POST", "users", body={"name": "carol"})
        assert (again.status, again.error["code"]) == (409, "user_exists")
        one, other = [await make(runtime, user="carol") for _ in range(2)]
        dave = await make(runtime, user="dave")
        await ask(runtime, "DELETE", f"keys/{other['id']}")
        listed = (await ask(runtime, "GET", "users")).json["data"]
        assert [(user["name"], user["keys"]) for user in listed] == [("carol", 1), ("dave", 1)]
        of_carol = (await ask(runtime, "GET", "keys?user=carol")).json["data"]
        assert {key["id"] for key in of_carol} == {one["id"], other["id"]}

        path = f"users/{carol['id']}"
        assert (await ask(runtime, "PATCH", path, body={"disabled": True})).json["disabled"] is not None
        assert (await runtime.chat(one["key"])).status == 401
        assert (await runtime.chat(dave["key"])).status == 200
        assert (await ask(runtime, "PATCH", path, body={"disabled": False})).json["disabled"] is None
        assert (await runtime.chat(one["key"])).status == 200

        assert (await ask(runtime, "DELETE", path)).json["deleted"]
        assert (await runtime.chat(one["key"])).status == 401
        for method, body in (("GET", None), ("PATCH", {"disabled": True}), ("DELETE", None)):
            assert (await ask(runtime, method, path, body=body)).error["code"] == "user_not_found"
        assert (await runtime.chat(dave["key"])).status == 200


async def test_users_are_listed_in_pages(upstream: Upstream, database: dict[str, Any]) -> None:
    async with run_runtime(upstream, **database) as runtime:
        for name in ("b", "a", "c"):
            await ask(runtime, "POST", "users", body={"name": name})
        first = (await ask(runtime, "GET", "users?limit=2")).json
        rest = (await ask(runtime, "GET", f"users?limit=2&after={first['next']}")).json
    assert [user["name"] for user in first["data"]] == ["a", "b"]
    assert ([user["name"] for user in rest["data"]], rest["next"]) == (["c"], None)


async def test_usage_can_be_asked_for_a_key_or_a_user(upstream: Upstream, database: dict[str, Any]) -> None:
    async with run_runtime(upstream, **database) as runtime:
        carols = [await make(runtime, user="carol") for _ in range(2)]
        dave = await make(runtime, user="dave")
        for made in (*carols, dave):
            await runtime.chat(made["key"], user=made["id"], stream=made is dave)
    async with run_runtime(upstream, **database) as runtime:

        async def spent(query: str) -> dict[str, int]:
            rows = (await ask(runtime, "GET", f"usage?{query}")).json["data"]
            return {row["key_id"]: row["input_tokens"] + row["output_tokens"] for row in rows}

        assert await spent("user=carol") == {made["id"]: 20 for made in carols}
        assert await spent(f"key_id={dave['id']}") == {dave["id"]: 20}, "a stream counts as any answer"
        assert await spent("user=nobody") == {}
        assert len(await spent("")) == 3


async def test_the_command_line_does_what_the_api_does(upstream: Upstream, database: dict[str, Any]) -> None:
    variables = {name.upper(): str(value) for name, value in database.items()}
    created = await run(
        "keys", "create", "CI", "--user", "carol", "--scope", "chat", "--rate-limit", "7", "60", **variables
    )
    secret = created.stdout.strip()
    assert (created.returncode, created.stdout) == (0, f"{secret}\n")
    assert secret.startswith("ak-")
    assert secret not in created.stderr
    async with run_runtime(upstream, **database) as runtime:
        reply = await runtime.chat(secret)
        assert (reply.status, reply.headers["x-ratelimit-limit-requests"]) == (200, "7")
        (key,) = (await ask(runtime, "GET", "keys?user=carol")).json["data"]
    listed = await run("keys", "list", "--user", "carol", **variables)
    assert listed.stdout.split("\t")[:4] == [key["id"], "CI", "carol", "chat"]
    assert "valid" in listed.stdout
    assert secret not in listed.stdout
    revoked = await run("keys", "revoke", key["id"], **variables)
    assert (revoked.returncode, revoked.stdout) == (0, "")
    assert "revoked" in (await run("keys", "list", **variables)).stdout
    async with run_runtime(upstream, **database) as runtime:
        assert (await runtime.chat(secret)).status == 401


@pytest.mark.parametrize(
    ("arguments", "variables", "code", "told"),
    [
        (["list"], {"DATA_DIR": "."}, 1, "SECRET_KEY: set it as the server has it"),
        (["list"], {"SECRET_KEY": "s" * 32}, 1, "set DATABASE_URL or DATA_DIR"),
        (
            ["list"],
            {"SECRET_KEY": "s" * 32, "DATABASE_URL": "postgresql://u:hidden@127.0.0.1:1/d"},
            1,
            "can't be reached",
        ),
        (["revoke", "key_1"], {"SECRET_KEY": "s" * 32, "DATA_DIR": "."}, 1, "there is no key 'key_1'"),
        (["create", "x", "--scope", "all"], {"SECRET_KEY": "s" * 32, "DATA_DIR": "."}, 1, "scopes[0]"),
        (["create", "x", "--rate-limit", "0", "1"], {"SECRET_KEY": "s" * 32, "DATA_DIR": "."}, 1, "requests"),
        (["create"], {}, 2, "name"),
    ],
)
async def test_a_command_that_cant_be_done_says_why(
    arguments: list[str], variables: dict[str, str], code: int, told: str, tmp_path: Path
) -> None:
    given = variables | ({"DATA_DIR": str(tmp_path)} if "DATA_DIR" in variables else {})
    ended = await run("keys", *arguments, **given)
    assert (ended.returncode, ended.stdout) == (code, "")
    assert told in ended.stderr
    assert "hidden" not in ended.stderr
    assert "Traceback" not in ended.stderr


async def test_commands_are_in_the_audit_log(tmp_path: Path) -> None:
    variables = {"DATA_DIR": str(tmp_path), "SECRET_KEY": "s" * 32, "AUDIT_ENABLED": "true"}
    secret = (await run("keys", "create", "CI", **variables)).stdout.strip()
    with contextlib.closing(sqlite3.connect(tmp_path / "assistant.db")) as database:
        bodies = [
            json.loads(body) for (body,) in database.execute("SELECT body FROM assistant_audit ORDER BY sequence")
        ]
    assert [body["event"] for body in bodies] == ["chain_started", "command", "chain_ended"]
    assert bodies[1]["command"] == "keys create"
    assert secret not in str(bodies)
    assert (await run("audit", "verify", **variables)).returncode == 0


async def test_nobody_is_an_administrator_without_keys(upstream: Upstream, tmp_path: Path) -> None:
    async with run_runtime(upstream, data_dir=str(tmp_path)) as runtime:
        assert (await ask(runtime, "GET", "keys")).error["code"] == "insufficient_scope"


async def test_a_key_is_looked_up_by_indexes(server: PostgresServer) -> None:
    """Each request pays for it, however many keys there are."""
    where = server.new_database()
    credentials: dict[str, Any] = {"database_username": server.username, "database_password": server.password}
    connection = SqlConnection(engine_for(Settings(database_url=where, **credentials)), STEPS)
    asked: list[tuple[str, Any]] = []
    event.listen(connection.engine.sync_engine, "before_cursor_execute", lambda *seen: asked.append(seen[2:4]))
    await connection.open()
    assert await SqlKeys(connection).by_digest("d" * 64, ["e" * 64]) is None
    await connection.aclose()
    statement, values = asked[-1]
    planner = await asyncpg.connect(where, user=server.username, password=server.password)
    # Where there is another way at all, it is taken, as it is with many rows.
    await planner.execute("SET enable_seqscan = off")
    plan = json.dumps(await (await planner.prepare(statement)).explain(*values))
    await planner.close()
    assert "assistant_api_keys" in plan
    assert "Seq Scan" not in plan
