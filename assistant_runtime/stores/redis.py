"""Stores in Redis: what all replicas share.

One server, Sentinel or Cluster makes no difference here: the keys of a command or a script are on one server, so that a
Cluster can run it there.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeVar

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.sentinel import MasterNotFoundError
from redis.exceptions import (
    AskError,
    AuthenticationError,
    ClusterError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)

from assistant_runtime.errors import StoreRefusedError
from assistant_runtime.stores import LINGER_SECONDS, Verdict
from assistant_runtime.stores.connection import StoreConnection
from assistant_runtime.stores.redis_pipeline import Pipeline

COMMAND_SECONDS = 1.0
"""A dead Redis refuses at once; this is for one that hangs. Less would take a pause of our own for Redis's: a pod that
is throttled to its CPU limit stops for tenths of a second."""

MAX_CONNECTIONS = 8
"""A command takes well under a millisecond, so few connections serve thousands of requests a second; each costs
several milliseconds to open, all at once when a burst meets a process that has just started."""

OUT_OF_MEMORY = "Redis is out of memory and refuses to write: raise its maxmemory, or set an eviction policy"

NOT_SERVING = (ReadOnlyError, ClusterError, AskError, TryAgainError)
"""Answers to one command that are about the server: it is no master, or its cluster does not serve."""

MAX_REASON = 200
"""Characters of what Redis says."""

KEY_PREFIX = "assistant:"

SLIDING_WINDOW = """
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local limit, window = tonumber(ARGV[1]), tonumber(ARGV[2])
local oldest = redis.call('LINDEX', KEYS[1], -1)
while oldest and tonumber(oldest) <= now - window do
  redis.call('RPOP', KEYS[1])
  oldest = redis.call('LINDEX', KEYS[1], -1)
end
local count = redis.call('LLEN', KEYS[1])
local allowed = 0
if count < limit then
  redis.call('LPUSH', KEYS[1], string.format('%.0f', now))
  redis.call('PEXPIRE', KEYS[1], math.ceil(window / 1000) + tonumber(ARGV[3]) * 1000)
  allowed, count = 1, count + 1
end
local newest = tonumber(redis.call('LINDEX', KEYS[1], 0))
local wait = 0
if count >= limit then
  -- Where the limit was lowered, more than one must leave before the next is admitted.
  wait = tonumber(redis.call('LINDEX', KEYS[1], limit - 1)) + window - now
end
return {allowed, math.max(0, limit - count), wait, newest + window - now}
"""
"""The times of admitted requests, newest first, in microseconds of Redis's own clock, which all replicas share.

A log rather than a counter, because it is exact at every instant: no window of that length ever holds more. Entries of
a Redis list of numbers take about 10 bytes.
"""

MICROSECONDS = 1_000_000

T = TypeVar("T")
Execute = Callable[..., Awaitable[Any]]
"""Runs one command, given as its words."""


class Script:
    """A script, which Redis runs by its hash once it knows it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


class RedisConnection(StoreConnection):
    """A Redis, and whether it answers.

    Parameters
    ----------
    client
        Asks the server, or the master that Sentinels name.
    """

    def __init__(self, client: Redis | RedisCluster) -> None:
        loss = "limits are kept per process, the cache is off"
        super().__init__("Redis", COMMAND_SECONDS, loss)
        self.client: Any = client
        self._pipeline = Pipeline(client.connection_pool, COMMAND_SECONDS) if isinstance(client, Redis) else None
        # The client refuses a command without a free connection, and the pipeline keeps one for itself.
        self._slots = asyncio.Semaphore(MAX_CONNECTIONS - 1)

    async def ping(self) -> None:
        """Ask whether it serves."""
        await self.client.ping()

    def reason(self, error: Exception) -> str:
        """Say what is wrong without the URL, which may hold a password."""
        if isinstance(error, AuthenticationError | NoPermissionError):
            return "Redis refuses the user or password of REDIS_URL"
        if isinstance(error, MasterNotFoundError):
            return "the Sentinels know no master of the name in REDIS_SENTINEL_MASTER, or can't be reached"
        if isinstance(error, ResponseError):
            return f"Redis answered with an error: {error}"
        return super().reason(error)

    async def execute(self, *command: str | bytes | int) -> Any:
        """Run a command, in one exchange with those of other requests where there is no Cluster.

        Raises
        ------
        StoreUnavailableError
            The server is known to be down, or just failed.
        """
        return await self._run(lambda execute: execute(*command))

    async def evaluate(self, script: Script, keys: tuple[str, ...], *arguments: str | bytes | int) -> Any:
        """Run a script on keys, as `execute` does."""

        async def by_hash(execute: Execute) -> Any:
            try:
                return await execute("EVALSHA", script.sha, len(keys), *keys, *arguments)
            except NoScriptError:
                return await execute("EVAL", script.text, len(keys), *keys, *arguments)

        return await self._run(by_hash)

    async def _run(self, ask: Callable[[Execute], Awaitable[Any]]) -> Any:
        pipeline = self._pipeline
        if pipeline is None:
            return await self.call(lambda: ask(self.client.execute_command))
        self.check_available()
        generation = self.generation
        try:
            return await ask(pipeline.execute)
        except Exception as error:
            raise self.judged(error, generation) from error

    async def call(self, command: Callable[[], Awaitable[T]]) -> T:
        """Run a command on a connection of its own, unless the server is known to be down; raises as `execute`."""

        async def in_turn() -> T:
            async with self._slots:
                return await command()

        return await super().call(in_turn)

    def refusal(self, error: Exception) -> StoreRefusedError | None:
        """Give what Redis refuses while it serves everything else, such as writes when it is full."""
        if isinstance(error, OutOfMemoryError):
            return StoreRefusedError(OUT_OF_MEMORY, lasting=True)
        if (
            isinstance(error, ResponseError)
            and not isinstance(error, NOT_SERVING)
            and not str(error).startswith("BUSY")
        ):
            # All commands are the runtime's own, so that whatever is wrong with one is wrong for the next request too.
            return StoreRefusedError(f"Redis refuses a command: {str(error)[:MAX_REASON]}", lasting=True)
        return super().refusal(error)

    async def renew(self) -> None:
        """Drop every connection that no command uses; one that a command hangs on ends with it."""
        with suppress(RedisError, OSError):  # the end of a connection that is broken
            await self.client.connection_pool.disconnect(inuse_connections=False)

    async def disconnect(self) -> None:
        """Close every connection."""
        if self._pipeline is not None:
            await self._pipeline.aclose()
        await self.client.aclose()


class RedisRateLimits:
    """Rate limits that all replicas share, exactly."""

    def __init__(self, connection: RedisConnection) -> None:
        self._connection = connection
        self._script = Script(SLIDING_WINDOW)

    async def hit(self, key: str, limit: int, window: float) -> Verdict:
        """Admit the request if fewer than `limit` were admitted in the last `window` seconds."""
        allowed, remaining, wait, reset = await self._connection.evaluate(
            self._script, (f"{KEY_PREFIX}limit:{key}",), limit, int(window * MICROSECONDS), LINGER_SECONDS
        )
        return Verdict(bool(allowed), remaining, wait / MICROSECONDS, reset / MICROSECONDS)


class RedisCache:
    """A cache that all replicas share; Redis evicts by its own policy."""

    def __init__(self, connection: RedisConnection) -> None:
        self._connection = connection

    async def get(self, key: str) -> bytes | None:
        """Give the value, or None."""
        value = await self._connection.execute("GET", f"{KEY_PREFIX}cache:{key}")
        return value if isinstance(value, bytes) else None

    async def put(self, key: str, value: bytes, ttl: int) -> None:
        """Keep the value for `ttl` seconds."""
        await self._connection.execute("SET", f"{KEY_PREFIX}cache:{key}", value, "EX", ttl)
