"""MongoDB: the connection, and whether it answers."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pymongo
from bson.errors import InvalidDocument, InvalidStringData
from pymongo import AsyncMongoClient
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import BulkWriteError, ConfigurationError, DocumentTooLarge, DuplicateKeyError, OperationFailure
from pymongo.write_concern import WriteConcern

from assistant_runtime.errors import StoreRefusedError
from assistant_runtime.settings import Settings
from assistant_runtime.stores import connection
from assistant_runtime.stores.connection import StoreConnection

MONGODB_SECONDS = 4.0
"""A fail-over to another member takes longer anyway; nothing that could be answered without MongoDB waits for it."""

PREPARATION_SECONDS = 3600.0
"""For each index of a large collection; a server that is lost meanwhile ends it sooner."""

GOODBYE_SECONDS = 0.5
"""For the end of the sessions, which a server that hangs does not answer."""

DATABASE = "ai_assistant"
"""The deployment guide's name, where the URL has none."""

MAX_CONNECTIONS = 50
"""As many as PostgreSQL's pool and overflow: one pod is not to take a server's all."""

AUTHENTICATION_FAILED = 18
"""MongoDB's error code."""

FAILING = frozenset({AUTHENTICATION_FAILED, 8000})
"""Its error codes, and Atlas's, that are about every statement."""

TOO_LARGE = frozenset({10334, 17419, 17420})

INVALID = frozenset({121})
"""A document that the collection's own rules refuse."""

DUPLICATE_KEY = 11000

LASTING = frozenset({13, 64, 100, 14031})
"""A missing right, no majority of members that confirms a write, a full disk."""


class MongoConnection(StoreConnection):
    """A MongoDB, and whether it answers.

    Parameters
    ----------
    settings
        MONGODB_URL, and what stands beside it.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__("MongoDB", MONGODB_SECONDS, "sessions are not kept", prepared=False)
        self._settings = settings
        self._client: AsyncMongoClient[dict[str, Any]] | None = None
        self._preparations: list[Callable[[], Awaitable[None]]] = []
        self._leftovers: list[Callable[[], Awaitable[None]]] = []

    def collection(self, name: str) -> AsyncCollection[dict[str, Any]]:
        """Give a collection, whose writes count as done when they survive the loss of any one member."""
        database = self.client.get_default_database(DATABASE)
        return database.get_collection(name, write_concern=WriteConcern("majority"))

    @property
    def client(self) -> AsyncMongoClient[dict[str, Any]]:
        """The client; made on its event loop, when first asked for."""
        if self._client is None:
            self._client = AsyncMongoClient(**_options(self._settings))
        return self._client

    def before_use(self, preparation: Callable[[], Awaitable[None]]) -> None:
        """Run this when the server answers, and before anything else does: indexes, which cost nothing once made."""
        self._preparations.append(preparation)

    def after_preparation(self, work: Callable[[], Awaitable[None]]) -> None:
        """Run this when the server is in use: what a crash left half done."""
        self._leftovers.append(work)

    async def prepare(self) -> None:
        """Make the indexes; on a collection that has grown without them it takes minutes, more than a command has."""
        with pymongo.timeout(PREPARATION_SECONDS):
            for preparation in self._preparations:
                await preparation()

    async def use(self) -> None:
        """End what a crash left half done."""
        for work in self._leftovers:
            await work()

    async def renew(self) -> None:
        """Have a new client: the old one may hold connections that are broken without saying so."""
        await self.disconnect()

    async def ping(self) -> None:
        """Ask for nothing."""
        await self.client.admin.command("ping")

    async def now(self) -> float:
        """Give seconds since 1970 on the server's clock, which all replicas share."""
        return float((await self.client.admin.command("hello"))["localTime"].timestamp())

    def refusal(self, error: Exception) -> StoreRefusedError | None:
        """Give what MongoDB, or its driver, refuses of one statement."""
        codes = _codes(error)
        if isinstance(error, DocumentTooLarge) or (codes and codes <= TOO_LARGE):
            return StoreRefusedError("This request's data is too large: a document of MongoDB holds 16 MB", status=413)
        is_invalid = bool(codes) and codes <= TOO_LARGE | INVALID
        if is_invalid or isinstance(error, InvalidDocument | InvalidStringData | DuplicateKeyError):
            return StoreRefusedError(
                f"MongoDB can't store a value of this request ({type(error).__name__})", status=400
            )
        if isinstance(error, OperationFailure) and error.code not in FAILING:
            return StoreRefusedError(f"MongoDB refuses a statement (error {error.code})", lasting=error.code in LASTING)
        return super().refusal(error)

    def reason(self, error: Exception) -> str:
        """Say what is wrong without the URL, which may hold a password."""
        if isinstance(error, OperationFailure) and error.code == AUTHENTICATION_FAILED:
            return "MongoDB refuses the user or password of MONGODB_URL"
        if isinstance(error, ConfigurationError):
            return "the options of MONGODB_URL can't be used"
        if isinstance(error, OperationFailure):
            return f"MongoDB answered with error {error.code}"
        return super().reason(error)

    async def disconnect(self) -> None:
        """Close every connection."""
        client, self._client = self._client, None
        if client is None:
            return
        try:
            async with asyncio.timeout(GOODBYE_SECONDS):
                await client.close()
        except TimeoutError:
            # The goodbye was cut off, and with it the rest; what it says it says only once.
            await client.close()


def _codes(error: Exception) -> set[int | None]:
    """Give MongoDB's codes of an error: of a batch, those of its documents that were not there before."""
    if isinstance(error, BulkWriteError):
        return {each["code"] for each in error.details.get("writeErrors", ())} - {DUPLICATE_KEY}
    return {error.code} if isinstance(error, OperationFailure) else set()


def _options(settings: Settings) -> dict[str, Any]:
    if settings.mongodb_url is None:
        raise ValueError("there is no MONGODB_URL")
    milliseconds = int(MONGODB_SECONDS * 1000)
    options: dict[str, Any] = {
        "host": settings.mongodb_url.get_secret_value(),
        "appname": "assistant-runtime",
        # Sooner than a probe is given up, because only the driver says why, such as a certificate.
        "serverSelectionTimeoutMS": int(min(MONGODB_SECONDS, connection.PROBE_SECONDS) * 750),
        "connectTimeoutMS": milliseconds,
        "socketTimeoutMS": milliseconds,
        "maxPoolSize": MAX_CONNECTIONS,
    }
    if settings.mongodb_username is not None and settings.mongodb_password is not None:
        options |= {"username": settings.mongodb_username, "password": settings.mongodb_password.get_secret_value()}
    if settings.mongodb_ca_file is not None:
        options |= {"tls": True, "tlsCAFile": settings.mongodb_ca_file}
    return options
