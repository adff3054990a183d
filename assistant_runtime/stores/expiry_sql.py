"""What expires in PostgreSQL or SQLite: sessions, stored responses and usage, by the indexes on when they changed.

Of rows that another replica deletes at the same moment PostgreSQL passes over those. A session that is appended to
meanwhile is no longer old when its turn comes, and stays.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import delete, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from assistant_runtime.stores.conversation_sql import OF_RESPONSES, SESSIONS, UNITS
from assistant_runtime.stores.keys import USAGE
from assistant_runtime.stores.sql import SqlConnection, once


class SqlExpiry:
    """Deletes old rows; every method raises StoreUnavailableError.

    Parameters
    ----------
    connection
        The database.
    """

    def __init__(self, connection: SqlConnection) -> None:
        self._connection = connection

    async def sessions(self, age: float, limit: int) -> int:
        """Delete sessions whose last change is `age` seconds ago, but for those that keep stored responses."""
        return await self._sessions(age, limit, ~OF_RESPONSES)

    async def responses(self, age: float, limit: int) -> int:
        """Delete the sessions of stored responses whose last one is `age` seconds old."""
        return await self._sessions(age, limit, OF_RESPONSES)

    async def usage(self, age: float, limit: int) -> int:
        """Delete usage of the days that ended `age` seconds ago."""
        day = f"{datetime.fromtimestamp(await self._connection.now() - age, UTC):%Y-%m-%d}"
        place = (USAGE.c.day, USAGE.c.key_id, USAGE.c.model)
        due = select(*place).where(USAGE.c.day < day).order_by(*place).limit(limit)
        return await self._connection.delete(delete(USAGE).where(tuple_(*place).in_(once(due))).returning(USAGE.c.day))

    async def _sessions(self, age: float, limit: int, kind: Any) -> int:
        before = await self._connection.now() - age
        due = select(SESSIONS.c.id).where(SESSIONS.c.updated < before, kind).order_by(SESSIONS.c.updated).limit(limit)
        # First, because a write holds SQLite's only place for a writer from the transaction's beginning.
        old = delete(SESSIONS).where(SESSIONS.c.id.in_(once(due))).returning(SESSIONS.c.id)

        async def both(connection: AsyncConnection) -> int:
            gone = (await connection.execute(old)).scalars().all()
            await connection.execute(delete(UNITS).where(UNITS.c.session_id.in_(gone)))
            return len(gone)

        return await self._connection.write(both, aside=True)
