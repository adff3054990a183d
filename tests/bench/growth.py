"""`make bench-growth`: whether what the runtime asks of its stores costs the same over few rows as over millions.

Each database stands twice on one server, small and large, and each operation is asked of both in turn, so that whatever
else the machine does falls on both alike. What counts is the ratio of the medians. PostgreSQL fills itself by
generate_series; MongoDB's stand-in takes documents by insert_many, and fewer of them.
"""

import asyncio
import itertools
import logging
import os
import platform
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg
import structlog

from assistant_runtime.security.audit import AuditLog, Chain
from assistant_runtime.security.audit_expiry import AuditExpiry
from assistant_runtime.security.choice import audit_sink
from assistant_runtime.settings import Settings
from assistant_runtime.stores.choice import Stores, choose_stores
from assistant_runtime.stores.keys import MAX_SPENT, SqlKeys, UsageRow, WantedUsage
from assistant_runtime.writers.job import Assignment, new_job
from assistant_runtime.writers.mongodb_store import MongoJobs
from tests.bench import growth_documents, growth_rows, report
from tests.bench.report import say
from tests.support.milvus import MilvusServer, run_milvus
from tests.support.mongodb import MongoServer, run_mongodb
from tests.support.postgresql import PostgresServer, run_postgresql

ROWS = 5_000_000
MONGO_ROWS = 3_000
PASSAGES = 100_000
SMALL_ROWS = 1000
ROUNDS = 40
COLUMNS = ("store", "what", "small, ms", "large, ms", "large / small")
KEY = b"key of the bench's chains"
DAY = 86_400.0

Operation = Callable[[], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Row:
    """What an operation took, in milliseconds: medians."""

    store: str
    name: str
    small: float
    large: float


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much the large ones hold."""

    rows: int
    documents: int
    passages: int


def main() -> None:
    """Run everything, print it, and write it into docs/benchmarks.md."""
    parser = report.parser(__doc__)
    number = report.at_least(SMALL_ROWS)
    parser.add_argument("--rows", type=number, default=ROWS, help=f"rows of each large table (default {ROWS})")
    parser.add_argument(
        "--mongo-rows", type=number, default=MONGO_ROWS, help=f"documents of each large collection ({MONGO_ROWS})"
    )
    parser.add_argument(
        "--passages", type=number, default=PASSAGES, help=f"passages of the large collection in Milvus ({PASSAGES})"
    )
    options = report.parse(parser)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    sizes = Sizes(options.rows, options.mongo_rows, options.passages)
    report.publish("growth", _report(sizes, asyncio.run(_measure(sizes))), write=not options.no_write)


async def _measure(sizes: Sizes) -> list[Row]:
    with run_postgresql() as server:
        found = await _postgresql(server, sizes.rows)
    with run_mongodb() as mongo:
        found += await _mongodb(mongo, sizes.documents)
    with run_milvus() as milvus:
        return found + await _milvus(milvus, sizes.passages)


async def _postgresql(server: PostgresServer, rows: int) -> list[Row]:
    credentials = {"database_username": server.username, "database_password": server.password}
    pair = [credentials | {"database_url": server.new_database()} for _ in range(2)]
    for settings, count in zip(pair, (SMALL_ROWS, rows), strict=True):
        async with _opened(settings):
            await _fill_postgresql(settings, count)
    return await _compared("PostgreSQL", pair, _of_database)


async def _fill_postgresql(settings: dict[str, str], rows: int) -> None:
    connection = await asyncpg.connect(
        settings["database_url"], user=settings["database_username"], password=settings["database_password"]
    )
    try:
        for table, statement in growth_rows.STATEMENTS.items():
            say(f"PostgreSQL: {rows} rows of {table}")
            await connection.execute(statement.replace("$rows", str(rows)))
        say("PostgreSQL: statistics, as its own autovacuum makes them")
        await connection.execute("VACUUM ANALYZE")
        await connection.execute("CHECKPOINT")
    finally:
        await connection.close()


async def _mongodb(server: MongoServer, rows: int) -> list[Row]:
    credentials = {"mongodb_username": server.username, "mongodb_password": server.password}
    pair = [credentials | {"mongodb_url": f"{server.url}/{name}?authSource=admin"} for name in ("small", "large")]
    for settings, count in zip(pair, (SMALL_ROWS, rows), strict=True):
        async with _opened(settings):
            await asyncio.to_thread(_fill_mongodb, server, settings["mongodb_url"].split("/")[-1].split("?")[0], count)
    return await _compared("MongoDB's stand-in", pair, _of_mongodb)


def _fill_mongodb(server: MongoServer, database: str, rows: int) -> None:
    with server.client() as client:
        for collection, documents in growth_rows.documents(rows).items():
            say(f"MongoDB's stand-in: {rows} documents of {collection}")
            for batch in _batches(documents, 1000):
                client[database][collection].insert_many(batch, ordered=False)


def _batches(documents: Iterable[dict[str, Any]], size: int) -> Iterable[list[dict[str, Any]]]:
    iterator = iter(documents)
    while batch := list(itertools.islice(iterator, size)):
        yield batch


async def _compared(
    store: str, pair: Sequence[dict[str, str]], operations_of: Callable[[Stores], dict[str, Operation]]
) -> list[Row]:
    """Ask both databases in turn, operation by operation."""
    async with AsyncExitStack() as stack:
        small, large = [operations_of(await stack.enter_async_context(_opened(settings))) for settings in pair]
        starts = {"a start: tables and indexes are there": [_started(settings) for settings in pair]}
        return await _rows(store, starts | {name: [small[name], large[name]] for name in small})


async def _milvus(server: MilvusServer, passages: int) -> list[Row]:
    small = await growth_documents.filled(server, "small", SMALL_ROWS)
    large = await growth_documents.filled(server, "large", passages)
    try:
        both = [growth_documents.operations(each) for each in (small, large)]
        return await _rows("Milvus 2.3.5", {name: [own[name] for own in both] for name in both[0]})
    finally:
        await small.aclose()
        await large.aclose()


async def _rows(store: str, both: Mapping[str, Sequence[Operation]]) -> list[Row]:
    rows = []
    for name, operations in both.items():
        say(f"{store}: {name}")
        rows.append(Row(store, name, *await _medians(operations)))
    return rows


async def _medians(operations: Sequence[Operation]) -> list[float]:
    times: list[list[float]] = [[] for _ in operations]
    for operation in operations:
        await operation()  # what is read first is read from disk
    for _ in range(ROUNDS):
        for own, operation in zip(times, operations, strict=True):
            begun = time.perf_counter()
            await operation()
            own.append((time.perf_counter() - begun) * 1000)
    return [statistics.median(own) for own in times]


def _started(settings: dict[str, str]) -> Operation:
    async def start() -> None:
        async with _opened(settings):
            return

    return start


@asynccontextmanager
async def _opened(settings: dict[str, str]) -> AsyncIterator[Stores]:
    stores = choose_stores(Settings.load(**settings))
    audit_sink(stores)
    try:
        for backend in stores.backends:
            await backend.open()
        yield stores
    finally:
        for backend in stores.backends:
            await backend.aclose()


def _of_database(stores: Stores) -> dict[str, Operation]:
    assert stores.database is not None
    keys, numbers = SqlKeys(stores.database), itertools.count()

    async def flush() -> None:
        day = f"flush{next(numbers):05}"
        await keys.spend([UsageRow(f"key_{number}", "m", day, 1, 2, 3) for number in range(MAX_SPENT)])

    wanted = WantedUsage("0000-00-00", "9999-99-99", "key_7")
    return {
        "admission: a key is looked up": lambda: keys.by_digest(growth_rows.digest(7)),
        **_of_sessions(stores),
        "a flush of usage, 500 rows": flush,
        "usage of a key, a page": lambda: keys.usage(wanted, 100),
        "keys, a page": lambda: keys.listed(100, ""),
        **_of_audit(stores),
    }


def _of_mongodb(stores: Stores) -> dict[str, Operation]:
    assert stores.mongodb is not None
    jobs = MongoJobs(stores.mongodb)
    made = new_job("tenant0", Assignment(prompt="Write.", writers=("one",), checkers=()), time.time())

    async def begin_and_end() -> None:
        await jobs.create(made)
        await jobs.delete(made.tenant, made.id)

    return {**_of_sessions(stores), "a writing job, begun and deleted": begin_and_end, **_of_audit(stores)}


def _of_sessions(stores: Stores) -> dict[str, Operation]:
    conversations, tenant = stores.conversations, "tenant0"
    session, message = growth_rows.session(7), {"role": "user", "content": "hello"}
    numbers = itertools.count()

    async def begin() -> None:
        await conversations.delete(tenant, (await conversations.create(tenant)).id)

    return {
        "a session, begun and deleted": begin,
        "an append": lambda: conversations.append(tenant, session, [message], f"bench{next(numbers)}"),
        "a session's last messages": lambda: conversations.log.latest(session, 50),
        "a list of sessions": lambda: conversations.listed(tenant, 21),
        "models: names of a tenant's agents": lambda: stores.agents.names(tenant),
        "retention with nothing old": lambda: stores.expiry.sessions(365 * DAY, 20),
        "the same of stored responses": lambda: stores.expiry.responses(30 * DAY, 20),
    }


def _of_audit(stores: Stores) -> dict[str, Operation]:
    sink = audit_sink(stores)

    async def begin_chain() -> None:
        log = AuditLog(sink, Chain(KEY), 400)
        log.add("request", {})
        await log.flush()

    expiry = AuditExpiry(AuditLog(sink, Chain(KEY), 400))
    return {
        "an audit chain, begun": begin_chain,
        "retention of the audit log with nothing old": lambda: expiry.delete(400 * DAY, 500),
    }


def _report(sizes: Sizes, found: Iterable[Row]) -> str:
    lines = [
        (row.store, row.name, f"{row.small:.1f}", f"{row.large:.1f}", f"{row.large / row.small:.2f}") for row in found
    ]
    return (
        f"Measured on {time.strftime('%Y-%m-%d')}: PostgreSQL with {SMALL_ROWS:,} and {sizes.rows:,} rows of each "
        f"table, MongoDB's stand-in with {SMALL_ROWS:,} and {sizes.documents:,} documents of each collection, Milvus "
        f"with {SMALL_ROWS:,} and {sizes.passages:,} passages; medians of {ROUNDS} rounds, small and large in turn. "
        f"{os.cpu_count()} cores shared by runtime, servers and other work, Python {platform.python_version()}.\n\n"
        f"{report.table(COLUMNS, lines)}"
    )


if __name__ == "__main__":
    main()
