"""`assistant-runtime audit verify`: read an audit log, and say what is wrong with it."""

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import orjson
from pydantic import TypeAdapter, ValidationError

from assistant_runtime.errors import SettingsError, StoreUnavailableError
from assistant_runtime.security.audit import audit_keys, problems
from assistant_runtime.security.choice import audit_sink
from assistant_runtime.security.key_ring import key_ring_of
from assistant_runtime.settings import Settings
from assistant_runtime.stores.audit import AuditRecord
from assistant_runtime.stores.choice import choose_stores

_LINE = TypeAdapter(AuditRecord)


def verify(settings: Settings, file: str | None) -> int:
    """Print what is wrong, and how many records there are; gives the exit code."""
    try:
        count, found = asyncio.run(_read(settings, file))
    except (OSError, SettingsError, StoreUnavailableError) as error:
        print(f"assistant-runtime: the audit log can't be read: {error}", file=sys.stderr)  # noqa: T201 - its output
        return 1
    for problem in found:
        print(problem)  # noqa: T201 - a command's output
    print(f"{count} records, {len(found)} problems")  # noqa: T201 - a command's output
    return 1 if found else 0


async def _read(settings: Settings, file: str | None) -> tuple[int, list[str]]:
    if settings.secret_key is None:
        raise SettingsError("SECRET_KEY: set it as the server has it, or every record would seem to be changed")
    return await (_of_file(settings, file) if file else _of_stores(settings))


async def _of_stores(settings: Settings) -> tuple[int, list[str]]:
    stores = choose_stores(settings)
    if stores.mongodb is None and stores.database is None:
        raise SettingsError(
            "without a store it is among the log's lines: name a file of them, or set MONGODB_URL, DATABASE_URL or "
            "DATA_DIR as the server has it"
        )
    sink = audit_sink(stores)
    key, older = audit_keys(key_ring_of(settings))
    try:
        for backend in stores.backends:
            await backend.open()
        found = [problem async for problem in problems(key, sink.records, older)]
        return sum([1 async for _ in sink.records()]), found
    finally:
        for backend in stores.backends:
            await backend.aclose()


async def _of_file(settings: Settings, file: str) -> tuple[int, list[str]]:
    lines = (await asyncio.to_thread(Path(file).read_bytes)).splitlines()
    records, unreadable = _recorded(lines)
    key, older = audit_keys(key_ring_of(settings))

    async def read() -> AsyncIterator[AuditRecord]:
        for record in records:
            yield record

    found = [problem async for problem in problems(key, read, older)]
    return len(records), [*unreadable, *found]


def _recorded(lines: Sequence[bytes]) -> tuple[list[AuditRecord], list[str]]:
    """Give the records in order, and the lines that can't be read: one that a killed process did not end, say."""
    records, unreadable = [], []
    for number, line in enumerate(lines, 1):
        if line.startswith(b"{"):
            try:
                event = orjson.loads(line)
                records += [_LINE.validate_json(line, strict=True)] if event.get("event") == "audit" else []
            except (orjson.JSONDecodeError, ValidationError):
                unreadable.append(f"line {number}: it can't be read")
    return sorted(records, key=lambda record: (record.chain, record.sequence)), unreadable
