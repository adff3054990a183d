"""Users, their API keys, and what each key has spent: tables of the SQL database.

A key is kept as an HMAC alone. Whoever reads the tables can neither use a key nor find it by guessing without
SECRET_KEY.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import orjson
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Float,
    Index,
    MetaData,
    RowMapping,
    String,
    Table,
    Text,
    case,
    func,
    insert,
    inspect,
    select,
    text,
    tuple_,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from assistant_runtime.stores.budgets import Counted
from assistant_runtime.stores.sql import SqlConnection

METADATA = MetaData()

USERS = Table(
    "assistant_users",
    METADATA,
    Column("tenant", String(64), primary_key=True),
    Column("name", String(128), nullable=False, unique=True),
    Column("created", Float(53), nullable=False),
    Column("disabled", Float(53)),
)

KEYS = Table(
    "assistant_api_keys",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("digest", String(64), nullable=False, unique=True),
    Column("hint", String(16), nullable=False),
    Column("name", String(128), nullable=False),
    Column("user", String(128), nullable=False),
    Column("tenant", String(64), nullable=False),
    Column("scopes", Text, nullable=False),
    Column("rate_limit_requests", BigInteger),
    Column("rate_limit_window", BigInteger),
    Column("budget_daily", BigInteger),
    Column("budget_monthly", BigInteger),
    Column("tokens_per_minute", BigInteger),
    Column("max_parallel_requests", BigInteger),
    Column("models", Text),
    Column("tools", Text),
    Column("created", Float(53), nullable=False),
    Column("expires", Float(53)),
    Column("revoked", Float(53)),
)

DIGESTS = Table(
    "assistant_api_key_digests",
    METADATA,
    Column("digest", String(64), primary_key=True),
    Column("key_id", String(64), nullable=False),
)
"""HMACs of keys under a SECRET_KEY that came after the one which a key was made under."""

USAGE = Table(
    "assistant_usage",
    METADATA,
    Column("key_id", String(64), primary_key=True),
    Column("model", String(256), primary_key=True),
    Column("day", String(10), primary_key=True),
    Column("requests", BigInteger, nullable=False),
    Column("input_tokens", BigInteger, nullable=False),
    Column("output_tokens", BigInteger, nullable=False),
)

USAGE_BY_DAY = Index("assistant_usage_by_day", USAGE.c.day, USAGE.c.key_id, USAGE.c.model)
"""Usage is read by day, and expires by it."""


def add_digests(connection: Connection) -> None:
    """Make the table of a database that was made before it."""
    DIGESTS.create(connection, checkfirst=True)


def add_usage_by_day(connection: Connection) -> None:
    """Make the index of a database that was made before it."""
    USAGE_BY_DAY.create(connection, checkfirst=True)


def add_disabled(connection: Connection) -> None:
    """Let the users be disabled of a database that was made before they could."""
    if "disabled" not in {column["name"] for column in inspect(connection).get_columns(USERS.name)}:
        connection.execute(text(f"ALTER TABLE {USERS.name} ADD COLUMN disabled DOUBLE PRECISION"))


def add_limits(connection: Connection) -> None:
    """Let the keys have limits of tokens a minute and parallel requests, of a database made before they had."""
    there = {column["name"] for column in inspect(connection).get_columns(KEYS.name)}
    for name in {"tokens_per_minute", "max_parallel_requests"} - there:
        connection.execute(text(f"ALTER TABLE {KEYS.name} ADD COLUMN {name} BIGINT"))


def add_allowed(connection: Connection) -> None:
    """Let the keys name models and tools, of a database made before they did."""
    there = {column["name"] for column in inspect(connection).get_columns(KEYS.name)}
    for name in sorted({"models", "tools"} - there):
        connection.execute(text(f"ALTER TABLE {KEYS.name} ADD COLUMN {name} TEXT"))


LISTS = ("scopes", "models", "tools")
"""Columns that hold a JSON list."""

COUNTS = ("requests", "input_tokens", "output_tokens")


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A key without its secret. Times are seconds since 1970."""

    id: str
    digest: str
    hint: str
    """The secret's last characters, by which its owner recognises it."""
    name: str
    user: str
    tenant: str
    scopes: tuple[str, ...]
    created: float
    rate_limit_requests: int | None = None
    rate_limit_window: int | None = None
    budget_daily: int | None = None
    budget_monthly: int | None = None
    tokens_per_minute: int | None = None
    max_parallel_requests: int | None = None
    models: tuple[str, ...] | None = None
    """Models that may be asked; None: all."""
    tools: tuple[str, ...] | None = None
    """Tools of the runtime that may be used; None: all."""
    expires: float | None = None
    revoked: float | None = None

    def valid(self, now: float) -> bool:
        """Whether it opens anything."""
        return self.revoked is None and (self.expires is None or now < self.expires)


@dataclass(frozen=True, slots=True)
class UsageRow:
    """What a key spent on a model in a day (UTC)."""

    key_id: str
    model: str
    day: str
    requests: int
    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class WantedUsage:
    """Days of usage (YYYY-MM-DD), both included: of a key, of a user, or of everyone."""

    since: str
    until: str
    key_id: str | None = None
    user: str | None = None


FIRST = ("", "", "")
"""A place before every row of usage: day, key and model."""

MAX_SPENT = 500
"""Rows of usage in one statement: far below what PostgreSQL and SQLite take of parameters."""


class SqlKeys:
    """Keys and usage as rows.

    Parameters
    ----------
    connection
        The database, with the tables above.
    """

    def __init__(self, connection: SqlConnection) -> None:
        self._connection = connection

    async def add(self, key: StoredKey) -> None:
        """Keep a new key, and its user."""

        async def both(connection: AsyncConnection) -> None:
            known = await connection.execute(select(USERS.c.tenant).where(USERS.c.tenant == key.tenant))
            if key.user and known.first() is None:
                user = {"tenant": key.tenant, "name": key.user, "created": key.created}
                await connection.execute(self._insert(USERS).values(user).on_conflict_do_nothing())
            row = _encoded(asdict(key))
            await connection.execute(insert(KEYS).values(row))

        await self._connection.write(both)

    async def by_digest(self, digest: str, older: Sequence[str] = ()) -> StoredKey | None:
        """Give the key whose secret has this HMAC, or one of the older ones, unless its user is disabled."""
        digests = [digest, *older]
        own = select(KEYS.c.id).where(KEYS.c.digest.in_(digests))
        further = select(DIGESTS.c.key_id).where(DIGESTS.c.digest.in_(digests))
        query = select(KEYS).outerjoin(USERS, USERS.c.tenant == KEYS.c.tenant)
        # A union, because PostgreSQL reads every key where one column or another is to match.
        rows = await self._connection.rows(
            query.where(KEYS.c.id.in_(own.union_all(further)), USERS.c.disabled.is_(None))
        )
        return _key(rows[0]) if rows else None

    async def add_digest(self, digest: str, key_id: str) -> None:
        """Keep a further HMAC by which a key is found."""
        row = self._insert(DIGESTS).values(digest=digest, key_id=key_id).on_conflict_do_nothing()
        await self._connection.write(lambda connection: connection.execute(row))

    async def get(self, key_id: str) -> StoredKey | None:
        """Give a key."""
        rows = await self._connection.rows(select(KEYS).where(KEYS.c.id == key_id))
        return _key(rows[0]) if rows else None

    async def listed(self, limit: int, after: str, user: str | None = None) -> list[StoredKey]:
        """List keys by id, behind the id `after`; those of one user where one is named."""
        query = select(KEYS).where(KEYS.c.id > after)
        if user is not None:
            query = query.where(KEYS.c.user == user)
        return [_key(row) for row in await self._connection.rows(query.order_by(KEYS.c.id).limit(limit))]

    async def update(self, key_id: str, values: Mapping[str, Any]) -> bool:
        """Set some of a key's fields; says whether there is such a key."""
        encoded = _encoded(values)
        own = update(KEYS).where(KEYS.c.id == key_id).values({"id": key_id, **encoded})
        return bool((await self._connection.write(lambda connection: connection.execute(own))).rowcount)

    async def revoke(self, key_id: str, now: float) -> bool:
        """Revoke a key; says whether there is such a key. One that was revoked keeps its time."""

        async def work(connection: AsyncConnection) -> bool:
            if (await connection.execute(select(KEYS.c.id).where(KEYS.c.id == key_id))).first() is None:
                return False
            own = update(KEYS).where(KEYS.c.id == key_id, KEYS.c.revoked.is_(None))
            await connection.execute(own.values(revoked=now))
            return True

        return await self._connection.write(work)

    async def spend(self, rows: Sequence[UsageRow]) -> None:
        """Add to what is counted, all or nothing, in one statement: at most MAX_SPENT rows, each key and day once."""
        statement = self._insert(USAGE).values([asdict(row) for row in rows])
        added = {name: USAGE.c[name] + statement.excluded[name] for name in COUNTS}
        whole = statement.on_conflict_do_update(index_elements=["key_id", "model", "day"], set_=added)
        await self._connection.write(lambda connection: connection.execute(whole), aside=True)

    async def counted(self, key_id: str, today: str) -> Counted:
        """Give the tokens that a key has spent on a day, as 2026-11-29, and since its month's first."""
        tokens = USAGE.c.input_tokens + USAGE.c.output_tokens
        of_day = func.coalesce(func.sum(case((USAGE.c.day == today, tokens), else_=0)), 0)
        of_month = func.coalesce(func.sum(tokens), 0)
        since = f"{today[:7]}-01"
        query = select(of_day.label("day"), of_month.label("month")).where(
            USAGE.c.key_id == key_id, USAGE.c.day >= since, USAGE.c.day <= today
        )
        (row,) = await self._connection.rows(query)
        return Counted(int(row["day"]), int(row["month"]))

    async def usage(self, wanted: WantedUsage, limit: int, after: tuple[str, str, str] = FIRST) -> list[UsageRow]:
        """Give what was spent by day, key and model, behind those of `after`."""
        order = (USAGE.c.day, USAGE.c.key_id, USAGE.c.model)
        query = select(USAGE).where(tuple_(*order) > tuple_(*after), USAGE.c.day.between(wanted.since, wanted.until))
        if wanted.key_id is not None:
            query = query.where(USAGE.c.key_id == wanted.key_id)
        if wanted.user is not None:
            query = query.where(USAGE.c.key_id.in_(select(KEYS.c.id).where(KEYS.c.user == wanted.user)))
        return [UsageRow(**row) for row in await self._connection.rows(query.order_by(*order).limit(limit))]

    def _insert(self, table: Table) -> Any:
        """Give an insert that knows of conflicts; each dialect has one of its own."""
        dialect = postgresql if self._connection.engine.dialect.name == "postgresql" else sqlite
        return dialect.insert(table)


def _key(row: RowMapping) -> StoredKey:
    lists = {name: tuple(orjson.loads(row[name])) for name in LISTS if row[name] is not None}
    return StoredKey(**{**row, **lists})


def _encoded(values: Mapping[str, Any]) -> dict[str, Any]:
    lists = {name: orjson.dumps(values[name]).decode() for name in LISTS if values.get(name) is not None}
    return {**values, **lists}
