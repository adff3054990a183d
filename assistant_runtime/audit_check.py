"""`assistant-runtime audit verify`: read an audit log, and say what is wrong with it."""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import orjson

from assistant_runtime.errors import SettingsError, StoreUnavailableError
from assistant_runtime.security.audit import audit_key, problems
from assistant_runtime.security.choice import audit_sink
from assistant_runtime.settings import Settings
from assistant_runtime.stores.audit import AuditRecord
from assistant_runtime.stores.choice import choose_stores


def verify(settings: Settings, file: str | None) -> int:
    """Print what is wrong, and how many records there are; gives the exit code."""
    try:
        count, found = asyncio.run(_read(settings, file))
    except (OSError, SettingsError, StoreUnavailableError, orjson.JSONDecodeError) as error:
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
    try:
        for backend in stores.backends:
            await backend.probe()
        found = [problem async for problem in problems(audit_key(settings.hmac_key), sink.records)]
        return sum([1 async for _ in sink.records()]), found
    finally:
        for backend in stores.backends:
            await backend.aclose()


async def _of_file(settings: Settings, file: str) -> tuple[int, list[str]]:
    lines = await asyncio.to_thread(Path(file).read_bytes)
    events = [orjson.loads(line) for line in lines.splitlines() if line.startswith(b"{")]
    names = ("chain", "sequence", "body", "mac")
    records = [
        AuditRecord(*(event[name] for name in names))
        for event in events
        if event.get("event") == "audit" and all(name in event for name in names)
    ]
    records.sort(key=lambda record: (record.chain, record.sequence))

    async def read() -> AsyncIterator[AuditRecord]:
        for record in records:
            yield record

    return len(records), [problem async for problem in problems(audit_key(settings.hmac_key), read)]
