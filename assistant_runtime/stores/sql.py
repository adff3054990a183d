"""PostgreSQL, or SQLite in a file: the connection, and the tables' versions.

The schema grows by numbered steps. Whoever connects first takes the steps that are missing, in one transaction that no
two replicas are in at once; a replica of an older version leaves a newer schema alone.
"""

import time
import weakref
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit, urlunsplit

from sqlalchemy import (
    Column,
    Connection,
    Integer,
    MetaData,
    RowMapping,
    Select,
    Table,
    event,
    func,
    insert,
    select,
    text,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from assistant_runtime.errors import AssistantError, StoreRefusedError
from assistant_runtime.settings import Settings
from assistant_runtime.stores.connection import StoreConnection
from assistant_runtime.stores.sql_refusals import is_taken, refusal_of
from assistant_runtime.trust import trusting

SQL_SECONDS = 4.0
"""A transaction of several statements, on a server that may be busy; nothing of the chat's hot path waits for it."""

SQLITE_FILE = "assistant.db"
"""Name of the file below DATA_DIR."""

MIGRATION_LOCK = 4_918_273_645
"""Key of PostgreSQL's advisory lock while the schema changes; any number that nobody else uses."""

VERSIONS = Table("assistant_schema", MetaData(), Column("version", Integer, primary_key=True, autoincrement=False))

T = TypeVar("T")

Step = Callable[[Connection], None]


class TakenError(AssistantError):
    """A row with one of the keys exists."""


class SqlConnection(StoreConnection):
    """A SQL database, and whether it answers.

    Parameters
    ----------
    engine
        What connects.
    steps
        The schema, step by step.
    """

    def __init__(self, engine: AsyncEngine, steps: tuple[Step, ...]) -> None:
        super().__init__("Database", SQL_SECONDS, "keys and usage are as last known", prepared=False)
        self.engine = engine
        self._connections = _connections_of(engine)
        self._steps = steps

    async def prepare(self) -> None:
        """Bring the schema up to date."""
        async with self.engine.begin() as connection:
            if self.engine.dialect.name == "postgresql":
                await connection.execute(select(func.pg_advisory_xact_lock(MIGRATION_LOCK)))
            await connection.run_sync(migrate, self._steps)

    async def ping(self) -> None:
        """Ask for nothing."""
        async with self.engine.connect() as connection:
            await connection.execute(text("SELECT 1"))

    async def rows(self, query: Any) -> list[RowMapping]:
        """Read rows; raises StoreUnavailableError."""

        async def read() -> list[RowMapping]:
            async with self.engine.connect() as connection:
                return list((await connection.execute(query)).mappings())

        return await self.call(read)

    async def write(self, work: Callable[[AsyncConnection], Awaitable[T]], *, aside: bool = False) -> T:
        """Run work in one transaction.

        Parameters
        ----------
        aside
            Whether nobody waits for it, see `StoreConnection.aside`.

        Raises
        ------
        TakenError
            A row with one of the keys exists; nothing was written.
        StoreUnavailableError
            The database does not answer.
        """

        async def transaction() -> T:
            try:
                async with self.engine.begin() as connection:
                    return await work(connection)
            except IntegrityError as error:
                if is_taken(error):
                    raise TakenError from error
                raise

        return await (self.aside(transaction) if aside else self.call(transaction))

    async def delete(self, returning: Any) -> int:
        """Delete rows while nobody waits, and give how many; SQLite counts only those that the statement returns."""

        async def work(connection: AsyncConnection) -> int:
            return len((await connection.execute(returning)).all())

        return await self.write(work, aside=True)

    async def now(self) -> float:
        """Give seconds since 1970 on the clock that all replicas share: the server's, or for a file this machine's."""
        if self.engine.dialect.name != "postgresql":
            return time.time()
        return float((await self.rows(text("SELECT extract(epoch FROM now()) AS now")))[0]["now"])

    def reason(self, error: Exception) -> str:
        """Say what is wrong without the URL, which may hold a password."""
        if "password" in str(error) or "authentication" in str(error):
            return "the database refuses the user or password of DATABASE_URL"
        return super().reason(error)

    def refusal(self, error: Exception) -> StoreRefusedError | None:
        """Give what the database refuses of one statement."""
        return refusal_of(error) or super().refusal(error)

    async def renew(self) -> None:
        """Drop every connection, without a goodbye to a server that is down."""
        if self.engine.dialect.name != "postgresql":
            return  # nothing is between this process and a file
        await self.engine.dispose(close=False)
        for connection in list(self._connections):
            connection.terminate()

    async def disconnect(self) -> None:
        """Close every connection."""
        await self.engine.dispose()


def _connections_of(engine: AsyncEngine) -> "weakref.WeakSet[Any]":
    """Give a set that holds the driver's connections while they are: the pool does not name those in use."""
    connections: weakref.WeakSet[Any] = weakref.WeakSet()
    if engine.dialect.name == "postgresql":

        @event.listens_for(engine.sync_engine, "connect")
        def note(connection: Any, _: Any) -> None:
            connections.add(connection.driver_connection)

    return connections


def insert_or_ignore(connection: SqlConnection, table: Table) -> Any:
    """Give an insert that leaves rows alone which are there; each dialect has one of its own."""
    dialect = postgresql if connection.engine.dialect.name == "postgresql" else sqlite
    return dialect.insert(table).on_conflict_do_nothing()


def once(rows: Select[Any]) -> Any:
    """Give rows to delete, as what a column or a tuple is to be in; PostgreSQL passes over those that others delete.

    A subquery with a limit would be planned as a join that PostgreSQL may run again and again, and so delete them all.
    """
    return select(rows.with_for_update(skip_locked=True).cte("due"))


def migrate(connection: Connection, steps: tuple[Step, ...]) -> None:
    """Take the steps that the database has not taken."""
    VERSIONS.create(connection, checkfirst=True)
    taken = connection.execute(select(func.coalesce(func.max(VERSIONS.c.version), 0))).scalar_one()
    for number, step in enumerate(steps, 1):
        if number > taken:
            step(connection)
            connection.execute(insert(VERSIONS).values(version=number))


def engine_for(settings: Settings) -> AsyncEngine:
    """Give the engine for DATABASE_URL, else for the file below DATA_DIR; its errors do not tell what was written."""
    if settings.database_url is None:
        folder = Path(settings.data_dir or ".")
        with suppress(OSError):  # a folder that can't be made shows as a database that is down
            folder.mkdir(parents=True, exist_ok=True)
        return _sqlite(folder / SQLITE_FILE)
    url = settings.database_url.get_secret_value()
    return _sqlite(Path(make_url(url).database or "")) if url.startswith("sqlite:") else _postgresql(settings, url)


def _postgresql(settings: Settings, written: str) -> AsyncEngine:
    parts = urlsplit(written)
    options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    url = make_url(urlunsplit(("postgresql+asyncpg", parts.netloc, parts.path, "", "")))
    if settings.database_username is not None:
        url = url.set(username=settings.database_username)
    if settings.database_password is not None:
        url = url.set(password=settings.database_password.get_secret_value())
    from assistant_runtime.stores.postgresql import HastyConnection  # noqa: PLC0415 - imports the driver

    arguments: dict[str, Any] = {
        "timeout": SQL_SECONDS,
        "connection_class": HastyConnection,
        "server_settings": {"application_name": options.get("application_name", "assistant-runtime")},
    }
    authority = settings.database_ca_file or options.get("sslrootcert")
    if authority:
        arguments["ssl"] = trusting(authority)
    elif "sslmode" in options:
        arguments["ssl"] = options["sslmode"]
    return create_async_engine(
        url,
        pool_size=settings.database_pool_size,
        max_overflow=settings.database_max_overflow,
        # Sooner than a command is given up: a pool that is busy is no database that hangs.
        pool_timeout=SQL_SECONDS * 3 / 4,
        connect_args=arguments,
        hide_parameters=True,
    )


def _sqlite(path: Path) -> AsyncEngine:
    engine = create_async_engine(URL.create("sqlite+aiosqlite", database=str(path)), hide_parameters=True)

    @event.listens_for(engine.sync_engine, "connect")
    def configure(connection: Any, _: Any) -> None:
        cursor = connection.cursor()
        # Readers and one writer side by side; whoever meets another writer waits for it.
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute(f"PRAGMA busy_timeout={SQL_SECONDS * 1000:.0f}")
        cursor.close()

    return engine
