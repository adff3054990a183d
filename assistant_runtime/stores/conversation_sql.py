"""Conversations in PostgreSQL or SQLite: a row a session, a row a unit, both written in one transaction."""

from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Float,
    Index,
    Integer,
    MetaData,
    RowMapping,
    String,
    Table,
    Text,
    UniqueConstraint,
    cast,
    delete,
    func,
    insert,
    inspect,
    literal,
    select,
    text,
    tuple_,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from assistant_runtime.stores.conversation_record import as_json, session_fields, session_of, unit_fields, unit_of
from assistant_runtime.stores.conversations import RELEASED, RESPONSES_METADATA, Commit, Session, Unit, up_to
from assistant_runtime.stores.sql import SqlConnection, TakenError

METADATA = MetaData()

SESSIONS = Table(
    "assistant_sessions",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("tenant", String(64), nullable=False),
    Column("title", Text, nullable=False),
    Column("metadata", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("message_count", Integer, nullable=False),
    Column("created", Float(53), nullable=False),
    Column("updated", Float(53), nullable=False),
    Index("assistant_sessions_by_tenant", "tenant", "created", "id"),
)

UNITS = Table(
    "assistant_session_units",
    METADATA,
    Column("session_id", String(64), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("key", String(256), nullable=False),
    Column("first", Integer, nullable=False),
    Column("last", Integer, nullable=False),
    Column("messages", Text, nullable=False),
    Column("open_calls", Text, nullable=False),
    Column("incomplete", Boolean, nullable=False),
    Column("created", Float(53), nullable=False),
    Column("about", Text),
    UniqueConstraint("session_id", "key"),
    Index("assistant_session_units_by_last", "session_id", "last"),
)


OF_RESPONSES = SESSIONS.c.metadata == literal(as_json(RESPONSES_METADATA), literal_execute=True)
"""Whether a session keeps stored responses. Written out in each statement, so that PostgreSQL sees that the indexes
below fit."""

EXPIRY_INDEXES = (
    Index(
        "assistant_sessions_by_change", SESSIONS.c.updated, postgresql_where=~OF_RESPONSES, sqlite_where=~OF_RESPONSES
    ),
    Index(
        "assistant_responses_by_change", SESSIONS.c.updated, postgresql_where=OF_RESPONSES, sqlite_where=OF_RESPONSES
    ),
)
"""Sessions and stored responses expire by when they were changed last."""


def add_expiry_indexes(connection: Connection) -> None:
    """Make the indexes of a database that was made before them."""
    for index in EXPIRY_INDEXES:
        index.create(connection, checkfirst=True)


WITHOUT_ABOUT = [column for column in UNITS.c if column.name != "about"]
"""What a chat reads of each unit before it answers."""


def add_about(connection: Connection) -> None:
    """Let units have `about` in a database that was made before they could."""
    if "about" not in {column["name"] for column in inspect(connection).get_columns(UNITS.name)}:
        connection.execute(text(f"ALTER TABLE {UNITS.name} ADD COLUMN about TEXT"))


class SqlConversationLog:
    """Sessions and units as rows.

    Parameters
    ----------
    connection
        The database, with the tables above.
    """

    def __init__(self, connection: SqlConnection) -> None:
        self._connection = connection

    async def create(self, session: Session) -> None:
        """Keep a new session."""
        values = {"id": session.id, **session_fields(session)}
        await self._connection.write(lambda connection: connection.execute(insert(SESSIONS).values(values)))

    async def session(self, tenant: str, session_id: str) -> Session | None:
        """Give a tenant's session."""
        rows = await self._connection.rows(
            select(SESSIONS).where(SESSIONS.c.id == session_id, SESSIONS.c.tenant == tenant)
        )
        return _session(rows[0]) if rows else None

    async def sessions(self, tenant: str, limit: int, before: tuple[float, str] | None) -> list[Session]:
        """List a tenant's sessions, the newest first."""
        query = select(SESSIONS).where(SESSIONS.c.tenant == tenant)
        if before is not None:
            query = query.where(tuple_(SESSIONS.c.created, SESSIONS.c.id) < tuple_(*before))
        rows = await self._connection.rows(query.order_by(SESSIONS.c.created.desc(), SESSIONS.c.id.desc()).limit(limit))
        return [_session(row) for row in rows]

    async def count(self, tenant: str) -> int:
        """Count a tenant's sessions."""
        query = select(func.count().label("sessions")).select_from(SESSIONS).where(SESSIONS.c.tenant == tenant)
        return int((await self._connection.rows(query))[0]["sessions"])

    async def update(self, tenant: str, session_id: str, title: str | None, metadata: dict[str, str] | None) -> bool:
        """Set what is given."""
        values = {"id": session_id}
        if title is not None:
            values["title"] = title
        if metadata is not None:
            values["metadata"] = as_json(metadata)
        own = update(SESSIONS).where(SESSIONS.c.id == session_id, SESSIONS.c.tenant == tenant).values(values)
        return bool((await self._connection.write(lambda connection: connection.execute(own))).rowcount)

    async def delete(self, tenant: str, session_id: str) -> bool:
        """Delete a session and its units."""

        async def both(connection: AsyncConnection) -> bool:
            own = delete(SESSIONS).where(SESSIONS.c.id == session_id, SESSIONS.c.tenant == tenant)
            if not (await connection.execute(own)).rowcount:
                return False
            await connection.execute(delete(UNITS).where(UNITS.c.session_id == session_id))
            return True

        return await self._connection.write(both)

    async def commit(self, tenant: str, unit: Unit) -> Commit:
        """Take a unit, if neither its number nor its key is taken."""

        async def both(connection: AsyncConnection) -> Commit:
            # First, because a write holds SQLite's only place for a writer from the transaction's beginning.
            head = update(SESSIONS).where(SESSIONS.c.id == unit.session_id, SESSIONS.c.tenant == tenant)
            following = head.where(SESSIONS.c.version == unit.version - 1).values(
                version=unit.version, message_count=unit.last, updated=unit.created
            )
            if (await connection.execute(following)).rowcount:
                await connection.execute(insert(UNITS).values(session_id=unit.session_id, **unit_fields(unit)))
                return Commit.DONE
            there = await connection.execute(select(SESSIONS.c.id).where(SESSIONS.c.id == unit.session_id))
            return Commit.TAKEN if there.first() else Commit.GONE

        try:
            return await self._connection.write(both)
        except TakenError:
            return Commit.TAKEN

    async def latest(self, session_id: str, messages: int) -> list[Unit]:
        """Give the last units, in order, until they hold so many messages."""
        end = select(func.coalesce(func.max(UNITS.c.last), 0)).where(UNITS.c.session_id == session_id)
        own = (UNITS.c.session_id == session_id, UNITS.c.last > end.scalar_subquery() - messages)
        query = select(*WITHOUT_ABOUT).where(*own)
        return [_unit(row) for row in await self._connection.rows(query.order_by(UNITS.c.version))]

    async def by_key(self, session_id: str, key: str) -> Unit | None:
        """Give the unit that was appended under the key."""
        rows = await self._connection.rows(select(UNITS).where(UNITS.c.session_id == session_id, UNITS.c.key == key))
        return _unit(rows[0]) if rows else None

    async def release(self, session_id: str, key: str) -> int | None:
        """Take a unit's key away; gives how many of the session's units have theirs."""

        async def both(connection: AsyncConnection) -> int | None:
            own = update(UNITS).where(UNITS.c.session_id == session_id, UNITS.c.key == key)
            released = literal(RELEASED) + cast(UNITS.c.version, String)
            if not (await connection.execute(own.values(key=released, about=None))).rowcount:
                return None
            held = (UNITS.c.session_id == session_id, UNITS.c.key.not_like(f"{RELEASED}%"))
            return int((await connection.execute(select(func.count()).where(*held))).scalar_one())

        return await self._connection.write(both)

    async def after(self, session_id: str, sequence: int, messages: int) -> list[Unit]:
        """Give the units with messages beyond `sequence`."""
        query = select(UNITS).where(UNITS.c.session_id == session_id, UNITS.c.last > sequence)
        rows = await self._connection.rows(query.order_by(UNITS.c.version).limit(messages))
        return up_to([_unit(row) for row in rows], sequence, messages)


def _session(row: RowMapping) -> Session:
    return session_of(row["id"], {**row})


def _unit(row: RowMapping) -> Unit:
    return unit_of(row["session_id"], {**row})
