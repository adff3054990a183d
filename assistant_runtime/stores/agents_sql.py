"""Tenants' agents as rows of the SQL database.

Each is one JSON text: an agent is read and written as a whole, and nothing but its tenant and name is asked for.
"""

from collections.abc import Sequence

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Integer,
    MetaData,
    RowMapping,
    String,
    Table,
    Text,
    delete,
    insert,
    inspect,
    select,
    text,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from assistant_runtime.settings.agents import Agent
from assistant_runtime.stores.agents import KeptAgent
from assistant_runtime.stores.sql import SqlConnection, TakenError

METADATA = MetaData()

AGENTS = Table(
    "assistant_agents",
    METADATA,
    Column("tenant", String(64), primary_key=True),
    Column("name", String(64), primary_key=True),
    Column("version", Integer, nullable=False, server_default="1"),
    Column("agent", Text, nullable=False),
)


def add_version(connection: Connection) -> None:
    """Number the agents of a database that was made before they had versions."""
    if "version" not in {column["name"] for column in inspect(connection).get_columns(AGENTS.name)}:
        connection.execute(text(f"ALTER TABLE {AGENTS.name} ADD COLUMN version INTEGER NOT NULL DEFAULT 1"))


class SqlAgents:
    """Agents by tenant and name.

    Parameters
    ----------
    connection
        The database, with the table above.
    """

    def __init__(self, connection: SqlConnection) -> None:
        self._connection = connection

    async def get(self, tenant: str, name: str) -> KeptAgent | None:
        """Give an agent."""
        rows = await self._connection.rows(select(AGENTS).where(*_at(tenant, name)))
        return _kept(rows[0]) if rows else None

    async def names(self, tenant: str) -> Sequence[str]:
        """Give the names of the tenant's agents, in order."""
        query = select(AGENTS.c.name).where(AGENTS.c.tenant == tenant)
        return sorted(row["name"] for row in await self._connection.rows(query))

    async def list(self, tenant: str, limit: int, after: str = "") -> Sequence[KeptAgent]:
        """Give at most so many of the tenant's agents, by name, behind the name `after`."""
        # In the order of every other store and of Python: PostgreSQL has one of its language.
        place = AGENTS.c.name.collate("C") if self._connection.engine.dialect.name == "postgresql" else AGENTS.c.name
        query = select(AGENTS).where(AGENTS.c.tenant == tenant, place > after)
        rows = await self._connection.rows(query.order_by(place).limit(limit))
        return [_kept(row) for row in rows]

    async def put(self, tenant: str, agent: Agent, expected: int | None = None) -> int | None:
        """Keep an agent in the place of the version `expected`, and give its version now."""
        place, written = _at(tenant, agent.name, expected), agent.model_dump_json()

        async def keep(connection: AsyncConnection) -> int | None:
            change = update(AGENTS).where(*place).values(agent=written, version=AGENTS.c.version + 1)
            if (await connection.execute(change)).rowcount:
                version = select(AGENTS.c.version).where(*_at(tenant, agent.name))
                return int((await connection.execute(version)).scalar_one())
            if expected:
                return None
            row = {"tenant": tenant, "name": agent.name, "version": 1, "agent": written}
            await connection.execute(insert(AGENTS).values(row))
            return 1

        try:
            return await self._connection.write(keep)
        except TakenError:
            # There is one, or another replica made it at the same moment: a row to update, if any may be.
            return None if expected == 0 else await self._connection.write(keep)

    async def delete(self, tenant: str, name: str, expected: int | None = None) -> bool:
        """Forget an agent, of the version `expected` or of any; whether there was such a one."""

        async def remove(connection: AsyncConnection) -> bool:
            return bool((await connection.execute(delete(AGENTS).where(*_at(tenant, name, expected)))).rowcount)

        return await self._connection.write(remove)


def _at(tenant: str, name: str, version: int | None = None) -> list[ColumnElement[bool]]:
    """Give the conditions of an agent's row, of one version or of any."""
    where = [AGENTS.c.tenant == tenant, AGENTS.c.name == name]
    return where if version is None else [*where, AGENTS.c.version == version]


def _kept(row: RowMapping) -> KeptAgent:
    return KeptAgent(Agent.model_validate_json(row["agent"]), row["version"])
