"""MongoDB: the connection, and whether it answers."""

from collections.abc import Awaitable, Callable
from typing import Any

from pymongo import AsyncMongoClient
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import ConfigurationError, OperationFailure
from pymongo.write_concern import WriteConcern

from assistant_runtime.settings import Settings
from assistant_runtime.stores.connection import StoreConnection

MONGODB_SECONDS = 5.0
"""A fail-over to another member takes longer anyway; nothing that could be answered without MongoDB waits for it."""

DATABASE = "ai_assistant"
"""The deployment guide's name, where the URL has none."""

MAX_CONNECTIONS = 50
"""As many as PostgreSQL's pool and overflow: one pod is not to take a server's all."""

AUTHENTICATION_FAILED = 18
"""MongoDB's error code."""


class MongoConnection(StoreConnection):
    """A MongoDB, and whether it answers.

    Parameters
    ----------
    settings
        MONGODB_URL, and what stands beside it.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__("MongoDB", MONGODB_SECONDS, "sessions are not kept")
        self._settings = settings
        self._client: AsyncMongoClient[dict[str, Any]] | None = None
        self._preparations: list[Callable[[], Awaitable[None]]] = []

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
        """Run this once, when the server first answers: indexes, and what a crash left half done."""
        self._preparations.append(preparation)

    async def prepare(self) -> None:
        """Make the indexes."""
        for preparation in self._preparations:
            await preparation()

    async def ping(self) -> None:
        """Ask for nothing."""
        await self.client.admin.command("ping")

    async def now(self) -> float:
        """Give seconds since 1970 on the server's clock, which all replicas share."""
        return float((await self.client.admin.command("hello"))["localTime"].timestamp())

    def reason(self, error: Exception) -> str:
        """Say what is wrong without the URL, which may hold a password."""
        if isinstance(error, OperationFailure) and error.code == AUTHENTICATION_FAILED:
            return "MongoDB refuses the user or password of MONGODB_URL"
        if isinstance(error, ConfigurationError):
            return "the options of MONGODB_URL can't be used"
        if isinstance(error, OperationFailure):
            return f"MongoDB answered with error {error.code}"
        return super().reason(error)

    async def aclose(self) -> None:
        """Close every connection."""
        if self._client is not None:
            await self._client.close()


def _options(settings: Settings) -> dict[str, Any]:
    if settings.mongodb_url is None:
        raise ValueError("there is no MONGODB_URL")
    milliseconds = int(MONGODB_SECONDS * 1000)
    options: dict[str, Any] = {
        "host": settings.mongodb_url.get_secret_value(),
        "appname": "assistant-runtime",
        # Sooner than a command is given up, because only the driver says why, such as a certificate.
        "serverSelectionTimeoutMS": milliseconds * 3 // 4,
        "connectTimeoutMS": milliseconds,
        "socketTimeoutMS": milliseconds,
        "maxPoolSize": MAX_CONNECTIONS,
    }
    if settings.mongodb_username is not None and settings.mongodb_password is not None:
        options |= {"username": settings.mongodb_username, "password": settings.mongodb_password.get_secret_value()}
    if settings.mongodb_ca_file is not None:
        options |= {"tls": True, "tlsCAFile": settings.mongodb_ca_file}
    return options
