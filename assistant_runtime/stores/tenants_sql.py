"""Names of tenants as rows, see `tenants`."""

from collections.abc import Mapping, Sequence
from contextlib import suppress

from sqlalchemy import Column, MetaData, String, Table, insert, select

from assistant_runtime.stores.sql import SqlConnection, TakenError

METADATA = MetaData()

TENANTS = Table(
    "assistant_tenants",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("name", String(64), nullable=False),
)


class SqlTenantNames:
    """Names as rows.

    Parameters
    ----------
    connection
        The database.
    """

    def __init__(self, connection: SqlConnection) -> None:
        self._connection = connection

    async def find(self, ids: Sequence[str]) -> Mapping[str, str]:
        """Give the names that are kept under these ids."""
        rows = await self._connection.rows(select(TENANTS).where(TENANTS.c.id.in_(ids)))
        return {row["id"]: row["name"] for row in rows}

    async def add(self, tenant_id: str, name: str) -> None:
        """Keep a name; one that is there already stays."""
        row = insert(TENANTS).values(id=tenant_id, name=name)
        with suppress(TakenError):
            await self._connection.write(lambda connection: connection.execute(row))
