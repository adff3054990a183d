"""What a SQL database refuses of one statement, while it serves others: told from its failures by its own codes."""

from typing import Any

from sqlalchemy.exc import DataError, DBAPIError, NotSupportedError, ProgrammingError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from assistant_runtime.errors import StoreRefusedError

FAILING_CLASSES = ("08", "28", "3D", "57", "58", "F0", "XX")
"""SQLSTATE's classes that are about the server: no connection, no access, no database, shutting down, broken."""

FAILING = frozenset({"53300", "25006"})
"""No room for another connection; a server that only reads, as one that is no primary any more."""

STATEMENT_CANCELLED = "57014"
"""Of a failing class, and about one statement: it took longer than the database allows."""

TOO_LARGE = frozenset({"54000", "54001", "54011", "54023", "SQLITE_TOOBIG"})

DATA_CLASSES = ("22", "23")
"""Data that can't be kept: a value out of range or of a wrong form, a constraint."""

SQLITE_DATA = ("SQLITE_CONSTRAINT", "SQLITE_MISMATCH", "SQLITE_RANGE")

SQLITE_REFUSALS = ("SQLITE_ERROR", "SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_FULL", "SQLITE_READONLY")
"""A statement that makes no sense here, another writer, a full disk, a file that may not be written: reads go on."""

TAKEN = frozenset({"23505", "SQLITE_CONSTRAINT_PRIMARYKEY", "SQLITE_CONSTRAINT_UNIQUE"})
"""A row with one of the keys exists; every other constraint is about the data alone."""

LASTING = frozenset({"42501", "53100", "SQLITE_FULL", "SQLITE_READONLY"})
"""A missing right, a full disk, a file that may not be written: other statements will meet it too."""


def refusal_of(error: Exception) -> StoreRefusedError | None:
    """Give the error of the request whose statement was refused; None where the database failed."""
    if isinstance(error, PoolTimeoutError):
        return StoreRefusedError("Every connection to the database is in use: try again, or raise DATABASE_POOL_SIZE")
    if not isinstance(error, StatementError):
        return None
    code = _code(error.orig)
    if code.startswith("SQLITE_"):
        return _by_sqlite(code)
    if code:
        return _by_state(code)
    # Refused by the driver, before it was sent.
    if isinstance(error, DataError | ProgrammingError | NotSupportedError) or not isinstance(error, DBAPIError):
        return StoreRefusedError("The database can't store a value of this request", status=400)
    return None


def is_taken(error: StatementError) -> bool:
    """Whether a row with one of the keys exists."""
    return _code(error.orig) in TAKEN


def _code(error: Any) -> str:
    """Give the database's own code: SQLSTATE of PostgreSQL, the name of SQLite's."""
    return str(getattr(error, "sqlstate", None) or getattr(error, "sqlite_errorname", None) or "")


def _by_state(state: str) -> StoreRefusedError | None:
    if state != STATEMENT_CANCELLED and (state in FAILING or state.startswith(FAILING_CLASSES)):
        return None
    return _refused(state, is_data=state.startswith(DATA_CLASSES))


def _by_sqlite(name: str) -> StoreRefusedError | None:
    is_data = name.startswith(SQLITE_DATA)
    if not is_data and name not in TOO_LARGE and not name.startswith(SQLITE_REFUSALS):
        return None
    return _refused(name, is_data=is_data)


def _refused(code: str, *, is_data: bool) -> StoreRefusedError:
    if code in TOO_LARGE:
        return StoreRefusedError(f"A value of this request is too large for the database ({code})", status=413)
    if is_data:
        return StoreRefusedError(f"The database can't store a value of this request ({code})", status=400)
    return StoreRefusedError(f"The database refuses a statement ({code})", lasting=code in LASTING)
