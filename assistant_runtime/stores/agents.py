"""Tenants' agents as rows of the SQL database.

Each is one JSON text: an agent is read and written as a whole, and nothing but its tenant and name is asked for.
"""

from collections.abc import Sequence

from sqlalchemy import Column, MetaData, String, Table, Text, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from assistant_runtime.settings.agents import Agent
from assistant_runtime.stores.sql import SqlConnection, TakenError

METADATA = MetaData()

AGENTS = Table(
    "assistant_agents",
    METADATA,
    Column("tenant", String(64), primary_key=True),
    Column("name", String(64), primary_key=True),
    Column("agent", Text, nullable=False),
)


class SqlAgents:
    """Agents by tenant and name.

    Parameters
    ----------
    connection
        The database, with the table above.
    """

    def __init__(self, connection: SqlConnection) -> None:
        self._connection = connection

    async def get(self, tenant: str, name: str) -> Agent | None:
        """Give an agent."""
        rows = await self._connection.rows(
            select(AGENTS.c.agent).where(AGENTS.c.tenant == tenant, AGENTS.c.name == name)
        )
        return Agent.model_validate_json(rows[0]["agent"]) if rows else None

    async def list(self, tenant: str) -> Sequence[Agent]:
        """Give the tenant's agents, by name."""
        rows = await self._connection.rows(
            select(AGENTS.c.agent).where(AGENTS.c.tenant == tenant).order_by(AGENTS.c.name)
        )
        return [Agent.model_validate_json(row["agent"]) for row in rows]

    async def put(self, tenant: str, agent: Agent) -> bool:
        """Keep an agent in the place of any of its name; whether it is new."""
        row = {"tenant": tenant, "name": agent.name, "agent": agent.model_dump_json()}

        async def replace(connection: AsyncConnection) -> bool:
            found = await connection.execute(
                update(AGENTS).where(AGENTS.c.tenant == tenant, AGENTS.c.name == agent.name).values(agent=row["agent"])
            )
            if found.rowcount:
                return False
            await connection.execute(insert(AGENTS).values(row))
            return True

        try:
            return await self._connection.write(replace)
        except TakenError:
            # Another replica made it at the same moment: now there is a row to update.
            return await self._connection.write(replace)

    async def delete(self, tenant: str, name: str) -> bool:
        """Forget an agent; whether there was one."""

        async def remove(connection: AsyncConnection) -> bool:
            found = await connection.execute(delete(AGENTS).where(AGENTS.c.tenant == tenant, AGENTS.c.name == name))
            return bool(found.rowcount)

        return await self._connection.write(remove)
