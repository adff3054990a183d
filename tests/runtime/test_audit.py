"""The audit log: what is in it, what is not, and that tampering shows."""

import asyncio
import dataclasses
import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant_runtime.audit_check import verify
from assistant_runtime.errors import SettingsError
from assistant_runtime.security.audit import Chain, audit_key, problems
from assistant_runtime.settings import Settings
from assistant_runtime.stores.audit import AuditRecord
from tests.support.mongodb import MongoServer
from tests.support.runtime import eventually, run_runtime
from tests.support.upstream import Upstream

KEY = b"key of the chain"
ALICE = "alice-0123456789"
COMMON = {"api_keys": ALICE, "secret_key": "s" * 32, "audit_enabled": True}


def chain(length: int, anchors: dict[str, list[Any]] | None = None) -> list[AuditRecord]:
    own = Chain(KEY)
    first = own.record("chain_started", {"anchors": anchors or {}})
    return [first, *(own.record("request", {"number": index}) for index in range(length - 1))]


def found(records: list[AuditRecord]) -> list[str]:
    async def read() -> AsyncIterator[AuditRecord]:
        for record in sorted(records, key=lambda each: (each.chain, each.sequence)):
            yield record

    async def collect() -> list[str]:
        return [problem async for problem in problems(KEY, read)]

    return asyncio.run(collect())


@given(st.integers(1, 8), st.data())
def test_any_change_of_a_chain_shows(length: int, data: st.DataObject) -> None:
    records = chain(length)
    assert found(records) == []
    at = data.draw(st.integers(0, length - 1))
    victim = records[at]
    forged = Chain(b"another key").record("request", {"number": at})
    assert found([*records[:at], dataclasses.replace(victim, body=victim.body + " "), *records[at + 1 :]])
    assert found([*records[:at], dataclasses.replace(victim, mac=forged.mac), *records[at + 1 :]])
    if at < length - 1:
        assert found([*records[:at], *records[at + 1 :]]), "left out"
        following = dataclasses.replace(records[at + 1], sequence=victim.sequence)
        assert found([*records[:at], following, *records[at + 2 :]]), "moved"


def test_a_chain_that_was_cut_off_is_missed_by_the_next() -> None:
    first = chain(4)
    second = chain(2, {first[-1].chain: [first[-1].sequence, first[-1].mac]})
    assert found([*first, *second]) == []
    assert found([*first[:-1], *second])
    assert found(second)


async def test_requests_are_recorded_and_no_secret(upstream: Upstream, tmp_path: Path) -> None:
    async with run_runtime(upstream, **COMMON, data_dir=str(tmp_path)) as runtime:
        assert (await runtime.chat(ALICE)).status == 200
        assert (await runtime.chat("wrong-key-0123456789")).status == 401
        await runtime.get("/health")
    bodies = await asyncio.to_thread(in_sqlite, tmp_path, "SELECT body FROM assistant_audit ORDER BY sequence")
    events = [json.loads(body) for body in bodies]
    assert [event["event"] for event in events] == ["chain_started", "request", "request", "chain_ended"]
    assert [event["status"] for event in events[1:3]] == [200, 401]
    assert events[1]["tenant"]
    assert {event["path"] for event in events[1:3]} == {"/v1/chat/completions"}
    for secret in (ALICE, "wrong-key", "capital of France"):
        assert secret not in "".join(bodies)


def in_sqlite(folder: Path, statement: str) -> list[str]:
    with closing(sqlite3.connect(folder / "assistant.db")) as database, database:
        return [row[0] for row in database.execute(statement)]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE assistant_audit SET body = replace(body, '200', '201') WHERE sequence = 2",
        "DELETE FROM assistant_audit WHERE sequence = 2",
        "DELETE FROM assistant_audit WHERE sequence = 3 AND chain = (SELECT min(chain) FROM assistant_audit)",
        "DELETE FROM assistant_audit WHERE chain = (SELECT min(chain) FROM assistant_audit)",
    ],
)
async def test_the_command_finds_tampering(
    upstream: Upstream, tmp_path: Path, capsys: pytest.CaptureFixture[str], statement: str
) -> None:
    for _ in range(2):
        async with run_runtime(upstream, **COMMON, data_dir=str(tmp_path)) as runtime:
            await runtime.chat(ALICE)
    settings = Settings.load(**COMMON, data_dir=str(tmp_path))
    assert await asyncio.to_thread(verify, settings, None) == 0
    assert "6 records, 0 problems" in capsys.readouterr().out
    await asyncio.to_thread(in_sqlite, tmp_path, statement)
    assert await asyncio.to_thread(verify, settings, None) == 1


async def test_records_wait_for_mongodb(
    upstream: Upstream, mongodb: MongoServer, capsys: pytest.CaptureFixture[str]
) -> None:
    store = {
        "mongodb_url": mongodb.url,
        "mongodb_username": mongodb.username,
        "mongodb_password": mongodb.password,
    }
    async with run_runtime(upstream, **COMMON, **store) as runtime:
        await runtime.chat(ALICE)
        await asyncio.to_thread(mongodb.kill)
        for index in range(5):
            assert (await runtime.chat(ALICE, user=str(index))).status == 200
        await asyncio.to_thread(mongodb.start)

        async def up() -> bool:
            return bool((await runtime.ready())["checks"]["mongodb"]["status"] == "up")

        await eventually(up)
    assert await asyncio.to_thread(verify, Settings.load(**COMMON, **store), None) == 0
    assert "8 records, 0 problems" in capsys.readouterr().out


async def test_log_lines_can_be_verified(
    upstream: Upstream, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = tmp_path / "log"
    own = Chain(audit_key(Settings.load(**COMMON).hmac_key))
    records = [own.record("chain_started", {"anchors": {}}), own.record("request", {})]

    def events() -> str:
        return "\n".join(json.dumps({"event": "audit", **dataclasses.asdict(record)}) for record in records)

    lines.write_text(f"not JSON\n{events()}\n")
    assert await asyncio.to_thread(verify, Settings.load(**COMMON), str(lines)) == 0
    records[1] = dataclasses.replace(records[1], body=records[1].body.replace("request", "nothing"))
    lines.write_text(events())
    assert await asyncio.to_thread(verify, Settings.load(**COMMON), str(lines)) == 1
    assert "record 2: it was changed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("settings", "remedy"),
    [(Settings(), "SECRET_KEY: set it as the server has it"), (Settings(secret_key="s" * 32), "name a file of them")],
)
def test_an_audit_log_that_cant_be_judged_is_not_called_whole(
    settings: Settings, remedy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert verify(settings, None) == 1
    assert remedy in capsys.readouterr().err


async def test_a_log_with_a_torn_line_is_verified_as_far_as_it_can_be_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = tmp_path / "log"
    own = Chain(audit_key(Settings.load(**COMMON).hmac_key))
    told = [
        json.dumps({"event": "audit", "level": "info", **dataclasses.asdict(own.record("request", {"number": number}))})
        for number in range(3)
    ]
    numbered_by_text = json.dumps({**json.loads(told[1]), "sequence": "2"})
    lines.write_text("\n".join([told[0], numbered_by_text, told[2][:-20]]))
    assert await asyncio.to_thread(verify, Settings.load(**COMMON), str(lines)) == 1
    assert capsys.readouterr().out == "line 2: it can't be read\nline 3: it can't be read\n1 records, 2 problems\n"


def test_an_audit_log_needs_a_key_that_lasts() -> None:
    with pytest.raises(SettingsError, match="SECRET_KEY"):
        Settings.load(audit_enabled=True)
