"""Which stores are in use: those with a server where its URL is set, and embedded ones otherwise.

An SDK is imported only where its server is used.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from assistant_runtime.checks import Check
from assistant_runtime.settings import Settings
from assistant_runtime.stores import Backend, CacheStore, RateLimitStore
from assistant_runtime.stores.agents import AgentStore
from assistant_runtime.stores.agents_memory import MemoryAgents
from assistant_runtime.stores.budgets import BudgetStore, MemoryBudgets, RedisBudgets
from assistant_runtime.stores.conversation_memory import MemoryConversationLog, MemoryExpiry
from assistant_runtime.stores.conversations import ConversationLog, Conversations
from assistant_runtime.stores.embedded import Embedded
from assistant_runtime.stores.history import History, WindowCache
from assistant_runtime.stores.kept_answers import AnswerStore, MemoryAnswers, RedisAnswers
from assistant_runtime.stores.memory import MemoryCache, MemoryRateLimits
from assistant_runtime.stores.tenants import MemoryTenantNames, MongoTenantNames, TenantNames

if TYPE_CHECKING:
    from assistant_runtime.stores.mongodb import MongoConnection
    from assistant_runtime.stores.sql import SqlConnection


class Expiry(Protocol):
    """Deletes old sessions; every method gives how many, and raises StoreUnavailableError."""

    async def sessions(self, age: float, limit: int) -> int:
        """Delete at most so many sessions whose last change is `age` seconds ago, by the store's clock."""

    async def responses(self, age: float, limit: int) -> int:
        """Delete at most so many sessions of stored responses, likewise."""


@dataclass(frozen=True, slots=True)
class Stores:
    """The stores in use, what keeps them, and what /ready says of them."""

    limits: RateLimitStore
    cache: CacheStore
    budgets: BudgetStore
    answers: AnswerStore
    conversations: Conversations
    history: History
    agents: AgentStore
    tenants: TenantNames
    expiry: "Expiry"
    mongodb: "MongoConnection | None"
    database: "SqlConnection | None"
    checks: Mapping[str, Check]
    backends: Sequence[Backend]


def choose_stores(settings: Settings) -> Stores:
    """Pick the stores."""
    checks: dict[str, Check] = {}
    backends: list[Backend] = []
    limits, cache, budgets, answers, windows = _redis(settings, checks, backends)
    mongodb = _mongodb(settings, checks, backends)
    database = _database(settings, checks, backends)
    log = _log(mongodb, database, checks)
    conversations = Conversations(
        log,
        max_messages=settings.session_max_messages,
        max_sessions=settings.sessions_per_tenant,
    )
    history = History(conversations, windows, settings.session_history_messages)
    agents, tenants = _agents(mongodb, database), _tenants(mongodb, database)
    expiry = _expiry(mongodb, database, log)
    return Stores(
        limits,
        cache,
        budgets,
        answers,
        conversations,
        history,
        agents,
        tenants,
        expiry,
        mongodb,
        database,
        checks,
        backends,
    )


def _redis(
    settings: Settings, checks: dict[str, Check], backends: list[Backend]
) -> tuple[RateLimitStore, CacheStore, BudgetStore, AnswerStore, WindowCache | None]:
    if settings.redis_url is None:
        checks["redis"] = Embedded("REDIS_URL is not set: limits and cache are kept in this process alone")
        return MemoryRateLimits(), MemoryCache(), MemoryBudgets(), MemoryAnswers(), None
    from assistant_runtime.stores.redis import (  # noqa: PLC0415 - see the module's docstring
        RedisCache,
        RedisRateLimits,
    )
    from assistant_runtime.stores.redis_client import redis_connection  # noqa: PLC0415
    from assistant_runtime.stores.session_windows import RedisWindows  # noqa: PLC0415

    connection = redis_connection(settings)
    checks["redis"] = connection
    backends.append(connection)
    return (
        RedisRateLimits(connection),
        RedisCache(connection),
        RedisBudgets(connection),
        RedisAnswers(connection),
        RedisWindows(connection),
    )


def _mongodb(settings: Settings, checks: dict[str, Check], backends: list[Backend]) -> "MongoConnection | None":
    if settings.mongodb_url is None:
        return None
    from assistant_runtime.stores.mongodb import MongoConnection  # noqa: PLC0415 - see the module's docstring

    mongodb = MongoConnection(settings)
    checks["mongodb"] = mongodb
    backends.append(mongodb)
    return mongodb


def _log(
    mongodb: "MongoConnection | None", database: "SqlConnection | None", checks: dict[str, Check]
) -> ConversationLog:
    """Pick where conversations are kept: MongoDB, else the SQL database, else this process."""
    if mongodb is not None:
        from assistant_runtime.stores.conversation_mongodb import MongoConversationLog  # noqa: PLC0415

        log: ConversationLog = MongoConversationLog(mongodb)
    elif database is not None:
        from assistant_runtime.stores.conversation_sql import SqlConversationLog  # noqa: PLC0415

        log = SqlConversationLog(database)
    else:
        checks["sessions"] = Embedded(
            "MONGODB_URL is not set: sessions and agents are kept in this process, and lost with it"
        )
        log = MemoryConversationLog()
    return log


def _expiry(mongodb: "MongoConnection | None", database: "SqlConnection | None", log: ConversationLog) -> Expiry:
    """Pick what deletes old sessions, as `_log` picks where they are kept."""
    if mongodb is not None:
        from assistant_runtime.stores.expiry_mongodb import MongoExpiry  # noqa: PLC0415 - see the module's docstring

        return MongoExpiry(mongodb)
    if database is not None:
        from assistant_runtime.stores.expiry_sql import SqlExpiry  # noqa: PLC0415

        return SqlExpiry(database)
    assert isinstance(log, MemoryConversationLog)  # noqa: S101 - what is left
    return MemoryExpiry(log)


def _agents(mongodb: "MongoConnection | None", database: "SqlConnection | None") -> AgentStore:
    """Pick where tenants' agents are kept, as conversations are."""
    if mongodb is not None:
        from assistant_runtime.stores.agents_mongodb import MongoAgents  # noqa: PLC0415 - see the module's docstring

        return MongoAgents(mongodb)
    if database is not None:
        from assistant_runtime.stores.agents_sql import SqlAgents  # noqa: PLC0415

        return SqlAgents(database)
    return MemoryAgents()


def _tenants(mongodb: "MongoConnection | None", database: "SqlConnection | None") -> TenantNames:
    """Pick where tenants' names are kept, as conversations are."""
    if mongodb is not None:
        return MongoTenantNames(mongodb)
    if database is not None:
        from assistant_runtime.stores.tenants_sql import SqlTenantNames  # noqa: PLC0415 - see the module's docstring

        return SqlTenantNames(database)
    return MemoryTenantNames()


def _database(settings: Settings, checks: dict[str, Check], backends: list[Backend]) -> "SqlConnection | None":
    if settings.database_url is None and settings.data_dir is None:
        return None
    from assistant_runtime.stores.schema import STEPS  # noqa: PLC0415 - see the module's docstring
    from assistant_runtime.stores.sql import SqlConnection, engine_for  # noqa: PLC0415

    database = SqlConnection(engine_for(settings), STEPS)
    checks["database"] = database
    backends.append(database)
    return database
