"""Users: names that several API keys may have in common, in the SQL database.

A user's name is its identity: the id, which sessions and documents belong to, is made of it. So there is no renaming.
"""

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Select, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from assistant_runtime.stores.keys import KEYS, USERS
from assistant_runtime.stores.sql import SqlConnection, TakenError


@dataclass(frozen=True, slots=True)
class StoredUser:
    """A user. Times are seconds since 1970."""

    id: str
    name: str
    created: float
    disabled: float | None
    """Since when the user's keys open nothing; None: they do."""
    keys: int
    """How many keys of the user are not revoked."""


class SqlUsers:
    """Users as rows.

    Parameters
    ----------
    connection
        The database, with the tables of `keys`.
    """

    def __init__(self, connection: SqlConnection) -> None:
        self._connection = connection

    async def add(self, user_id: str, name: str, now: float) -> bool:
        """Keep a new user; says whether there was none of that name."""
        row = insert(USERS).values(tenant=user_id, name=name, created=now)
        try:
            await self._connection.write(lambda connection: connection.execute(row))
        except TakenError:
            return False
        return True

    async def get(self, user_id: str) -> StoredUser | None:
        """Give a user."""
        return next(iter(await self._read(_users().where(USERS.c.tenant == user_id))), None)

    async def id_of(self, name: str) -> str | None:
        """Give the id of the user of that name."""
        rows = await self._connection.rows(select(USERS.c.tenant).where(USERS.c.name == name))
        return str(rows[0]["tenant"]) if rows else None

    async def listed(self, limit: int, after: str) -> list[StoredUser]:
        """List users by name, behind the name `after`."""
        return await self._read(_users().where(USERS.c.name > after).order_by(USERS.c.name).limit(limit))

    async def disable(self, user_id: str, since: float | None) -> bool:
        """Let the user's keys open nothing, or, with None, let them open again; says whether there is such a user."""
        own = update(USERS).where(USERS.c.tenant == user_id)
        # Who is disabled already keeps the time.
        since_when = func.coalesce(USERS.c.disabled, since) if since is not None else None
        done = await self._connection.write(lambda connection: connection.execute(own.values(disabled=since_when)))
        return bool(done.rowcount)

    async def delete(self, user_id: str, now: float) -> bool:
        """Forget a user and revoke all of its keys; says whether there was such a user."""

        async def both(connection: AsyncConnection) -> bool:
            if not (await connection.execute(delete(USERS).where(USERS.c.tenant == user_id))).rowcount:
                return False
            keys = update(KEYS).where(_keys_of(user_id), KEYS.c.revoked.is_(None))
            await connection.execute(keys.values(revoked=now))
            return True

        return await self._connection.write(both)

    async def _read(self, query: Select[tuple[str, str, float, float | None, int]]) -> list[StoredUser]:
        return [
            StoredUser(row["tenant"], row["name"], row["created"], row["disabled"], row["keys"])
            for row in await self._connection.rows(query)
        ]


def _keys_of(user_id: str) -> ColumnElement[bool]:
    # A key without a user has an id of its own in the same column.
    return (KEYS.c.tenant == user_id) & (KEYS.c.user != "")


def _users() -> Select[tuple[str, str, float, float | None, int]]:
    living = select(func.count()).where(KEYS.c.tenant == USERS.c.tenant, KEYS.c.user != "", KEYS.c.revoked.is_(None))
    return select(USERS, living.scalar_subquery().label("keys"))
