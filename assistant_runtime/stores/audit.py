"""Where the audit log's records are kept: MongoDB, the SQL database, or the process's own log."""

import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol

import structlog

if TYPE_CHECKING:
    from assistant_runtime.stores.mongodb import MongoConnection
    from assistant_runtime.stores.sql import SqlConnection

PAGE = 500
"""Records that are read at once."""


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """One record of a chain."""

    chain: str
    sequence: int
    """1 for the chain's first."""
    body: str
    """What happened, as JSON; exactly what the MAC is of."""
    mac: str


class AuditSink(Protocol):
    """Keeps records, and never changes one. Every method raises StoreUnavailableError."""

    keeps: bool
    """Whether there is a store to read and delete from; else records are for whoever collects logs."""

    async def append(self, records: Sequence[AuditRecord]) -> None:
        """Keep records; those that are kept already are left alone, so that writing again does no harm."""

    async def heads(self, limit: int) -> list[AuditRecord]:
        """Give the last record of each of the chains that were begun last."""

    def records(self) -> AsyncIterator[AuditRecord]:
        """Give every record, chain by chain and in order."""

    async def now(self) -> float:
        """Give seconds since 1970 on the clock that all replicas share."""

    async def last_after(self, chain: str) -> AuditRecord | None:
        """Give the last record of the first chain behind one, in the order of their beginnings."""

    async def drop(self, chain: str, limit: int) -> int:
        """Delete the first records of a chain, at most so many; gives how many."""


class SqlAudit:
    """Records as rows.

    Parameters
    ----------
    connection
        The database.
    """

    keeps = True

    def __init__(self, connection: "SqlConnection") -> None:
        from assistant_runtime.stores.audit_table import AUDIT  # noqa: PLC0415 - imports SQLAlchemy

        self._connection = connection
        self._table = AUDIT

    async def append(self, records: Sequence[AuditRecord]) -> None:
        """Keep records."""
        from assistant_runtime.stores.sql import insert_or_ignore  # noqa: PLC0415 - imports SQLAlchemy

        rows = [asdict(record) for record in records]
        statement = insert_or_ignore(self._connection, self._table)
        await self._connection.write(lambda connection: connection.execute(statement, rows))

    async def heads(self, limit: int) -> list[AuditRecord]:
        """Give the last record of each of the chains that were begun last."""
        from assistant_runtime.stores.audit_table import heads  # noqa: PLC0415 - imports SQLAlchemy

        return [_row(row) for row in await self._connection.rows(heads(limit))]

    async def records(self) -> AsyncIterator[AuditRecord]:
        """Give every record, chain by chain and in order."""
        from assistant_runtime.stores.audit_table import behind  # noqa: PLC0415 - imports SQLAlchemy

        chain, sequence = "", 0
        while rows := await self._connection.rows(behind(chain, sequence, PAGE)):
            for row in rows:
                yield _row(row)
            chain, sequence = rows[-1]["chain"], rows[-1]["sequence"]

    async def now(self) -> float:
        """Give the time of the database's clock."""
        return await self._connection.now()

    async def last_after(self, chain: str) -> AuditRecord | None:
        """Give the last record of the first chain behind one."""
        from assistant_runtime.stores.audit_table import last_after  # noqa: PLC0415 - imports SQLAlchemy

        rows = await self._connection.rows(last_after(chain))
        return _row(rows[0]) if rows else None

    async def drop(self, chain: str, limit: int) -> int:
        """Delete the first records of a chain."""
        from assistant_runtime.stores.audit_table import first  # noqa: PLC0415 - imports SQLAlchemy

        return await self._connection.delete(first(chain, limit))


class MongoAudit:
    """Records as documents, with chain and number as `_id`.

    Parameters
    ----------
    connection
        The MongoDB.
    """

    keeps = True

    def __init__(self, connection: "MongoConnection") -> None:
        self._connection = connection
        connection.before_use(self._prepare)

    async def append(self, records: Sequence[AuditRecord]) -> None:
        """Keep records."""
        documents = [{"_id": f"{record.chain}/{record.sequence}", **asdict(record)} for record in records]
        await self._connection.call(lambda: self._insert(documents))

    async def heads(self, limit: int) -> list[AuditRecord]:
        """Give the last record of each of the chains that were begun last."""

        async def read() -> list[AuditRecord]:
            firsts = self._collection.find({"sequence": 1}, sort=[("chain", -1)], limit=limit)
            lasts = [
                await self._collection.find_one({"chain": first["chain"]}, sort=[("sequence", -1)])
                async for first in firsts
            ]
            # Retention may have deleted a chain in between.
            return [_row(last) for last in lasts if last is not None]

        return await self._connection.call(read)

    async def records(self) -> AsyncIterator[AuditRecord]:
        """Give every record, chain by chain and in order."""
        chain, sequence = "", 0
        while True:
            behind = {"$or": [{"chain": {"$gt": chain}}, {"chain": chain, "sequence": {"$gt": sequence}}]}
            cursor = self._collection.find(behind, sort=[("chain", 1), ("sequence", 1)], limit=PAGE)
            page = await self._connection.call(cursor.to_list)
            for found in page:
                yield _row(found)
            if len(page) < PAGE:
                return
            chain, sequence = page[-1]["chain"], page[-1]["sequence"]

    async def now(self) -> float:
        """Give the time of the server's clock."""
        return await self._connection.call(self._connection.now)

    async def last_after(self, chain: str) -> AuditRecord | None:
        """Give the last record of the first chain behind one."""

        async def read() -> AuditRecord | None:
            behind = {"chain": {"$gt": chain}}
            while first := await self._collection.find_one(behind, sort=[("chain", 1), ("sequence", 1)]):
                # Another replica may delete the chain in between.
                if last := await self._collection.find_one({"chain": first["chain"]}, sort=[("sequence", -1)]):
                    return _row(last)
            return None

        return await self._connection.call(read)

    async def drop(self, chain: str, limit: int) -> int:
        """Delete the first records of a chain."""

        async def remove() -> int:
            found = self._collection.find({"chain": chain}, {"_id": 1}, sort=[("sequence", 1)], limit=limit)
            due = [each["_id"] async for each in found]
            return int((await self._collection.delete_many({"_id": {"$in": due}})).deleted_count) if due else 0

        return await self._connection.aside(remove)

    async def _insert(self, documents: list[dict[str, Any]]) -> None:
        from pymongo.errors import BulkWriteError  # noqa: PLC0415 - the SDK is imported only where it is used

        from assistant_runtime.stores.mongodb import DUPLICATE_KEY  # noqa: PLC0415 - imports the SDK

        try:
            await self._collection.insert_many(documents, ordered=False)
        except BulkWriteError as error:
            if any(each["code"] != DUPLICATE_KEY for each in error.details["writeErrors"]):
                raise

    async def _prepare(self) -> None:
        await self._collection.create_index([("chain", 1), ("sequence", 1)], unique=True)
        await self._collection.create_index([("sequence", 1), ("chain", -1)])

    @property
    def _collection(self) -> Any:
        return self._connection.collection("audit")


class LogAudit:
    """Records as events `audit` of the process's log, for whoever collects logs."""

    keeps = False

    def __init__(self) -> None:
        self._log = structlog.get_logger(__name__)

    async def append(self, records: Sequence[AuditRecord]) -> None:
        """Log records."""
        for record in records:
            self._log.info("audit", **asdict(record))

    async def heads(self, limit: int) -> list[AuditRecord]:  # noqa: ARG002 - the Protocol's
        """Give none: a log is not read."""
        return []

    async def records(self) -> AsyncIterator[AuditRecord]:
        """Give none: a log is not read."""
        nothing: list[AuditRecord] = []
        for record in nothing:
            yield record

    async def now(self) -> float:
        """Give this machine's time."""
        return time.time()

    async def last_after(self, chain: str) -> AuditRecord | None:  # noqa: ARG002 - the Protocol's
        """Give none: a log is not read."""
        return None

    async def drop(self, chain: str, limit: int) -> int:  # noqa: ARG002 - the Protocol's
        """Delete nothing: whoever collects logs does."""
        return 0


def _row(row: Any) -> AuditRecord:
    return AuditRecord(row["chain"], row["sequence"], row["body"], row["mac"])
