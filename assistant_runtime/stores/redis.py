"""Stores in Redis: what all replicas share.

A dead or hanging Redis must cost a chat almost nothing. So each command has a second at most, nothing is retried,
the first failure marks Redis as down for everyone, and a background probe alone finds out when it is back.
"""

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

import structlog
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, NoPermissionError, OutOfMemoryError, RedisError, ResponseError

from assistant_runtime.errors import StoreUnavailableError
from assistant_runtime.stores import Verdict

COMMAND_SECONDS = 1.0
"""A dead Redis refuses at once; this is for one that hangs. Less would take a pause of our own for Redis's: a pod that
is throttled to its CPU limit stops for tenths of a second."""

UP_INTERVAL_SECONDS = 5.0
"""Only confirms what every request shows anyway, and notices an idle connection that died."""

DOWN_INTERVAL_SECONDS = 1.0
"""How long limits stay per process after Redis is back."""

MAX_CONNECTIONS = 8
"""A command takes well under a millisecond, so few connections serve thousands of requests a second; each costs
several milliseconds to open, all at once when a burst meets a process that has just started."""

OUT_OF_MEMORY = "Redis is out of memory and refuses to write: raise its maxmemory, or set an eviction policy"

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
  redis.call('PEXPIRE', KEYS[1], math.ceil(window / 1000))
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


class RedisConnection:
    """A Redis, and whether it answers.

    Parameters
    ----------
    url
        redis://, rediss:// or unix:// with any password in it.
    """

    def __init__(self, url: str) -> None:
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=MAX_CONNECTIONS,
            timeout=COMMAND_SECONDS,
            socket_timeout=COMMAND_SECONDS,
            socket_connect_timeout=COMMAND_SECONDS,
            retry=Retry(NoBackoff(), 0),
            client_name="assistant-runtime",
        )
        self.client: Redis = Redis.from_pool(pool)
        self._log = structlog.get_logger(__name__)
        self._status = "starting"
        self._detail = "not asked yet"
        self._full = False
        self._failed = asyncio.Event()

    async def run(self) -> None:
        """Probe until cancelled."""
        while True:
            self._failed.clear()
            self._full = False
            await self.probe()
            if self._status != "up":
                await asyncio.sleep(DOWN_INTERVAL_SECONDS)
                continue
            try:
                async with asyncio.timeout(UP_INTERVAL_SECONDS):
                    await self._failed.wait()
            except TimeoutError:
                continue
            await asyncio.sleep(DOWN_INTERVAL_SECONDS)

    async def call(self, command: Awaitable[T]) -> T:
        """Await a command of `client` for at most COMMAND_SECONDS.

        Raises
        ------
        StoreUnavailableError
            Redis is known to be down, or just failed.
        """
        try:
            async with asyncio.timeout(COMMAND_SECONDS):
                return await command
        except OutOfMemoryError as error:
            # It refuses to write, and still reads: one big answer must not turn it off for everyone.
            self._note_full()
            raise StoreUnavailableError("Redis is out of memory") from error
        except (RedisError, OSError, TimeoutError) as error:
            self._mark_down(error)
            raise StoreUnavailableError("Redis does not answer") from error

    @property
    def available(self) -> bool:
        """Whether a command is worth trying."""
        return self._status == "up"

    def check(self) -> dict[str, Any]:
        """Give the readiness check `redis`; chat goes on without it."""
        told: dict[str, Any] = {"status": self._status, "required": False}
        if self._status == "up" and self._full:
            return told | {"degraded": True, "detail": OUT_OF_MEMORY}
        return told | {"detail": self._detail} if self._detail else told

    async def aclose(self) -> None:
        """Close every connection."""
        await self.client.aclose()

    async def probe(self) -> None:
        """Find out whether Redis answers."""
        try:
            await self.call(self.client.ping())
        except StoreUnavailableError:
            return
        if self._status != "up":
            self._status, self._detail = "up", ""
            self._log.info("redis_status", status="up")

    def _note_full(self) -> None:
        """Note until the next probe that Redis refused to write."""
        if not self._full:
            self._log.warning("redis_full", detail=OUT_OF_MEMORY)
        self._full = True

    def _mark_down(self, error: Exception) -> None:
        if self._status != "down":
            self._log.warning("redis_status", status="down", detail=_reason(error))
        self._status, self._detail = "down", f"{_reason(error)}; limits are kept per process, the cache is off"
        self._failed.set()


def _reason(error: Exception) -> str:
    """Say what is wrong without the URL, which may hold a password."""
    if isinstance(error, AuthenticationError | NoPermissionError):
        return "Redis refuses the user or password of REDIS_URL"
    if isinstance(error, ResponseError):
        return f"Redis answered with an error: {error}"
    if isinstance(error, TimeoutError):
        return "Redis did not answer in time"
    return "Redis can't be reached"


class RedisRateLimits:
    """Rate limits that all replicas share, exactly."""

    def __init__(self, connection: RedisConnection) -> None:
        self._connection = connection
        self._script = connection.client.register_script(SLIDING_WINDOW)

    async def hit(self, key: str, limit: int, window: float) -> Verdict:
        """Admit the request if fewer than `limit` were admitted in the last `window` seconds."""
        if not self._connection.available:
            raise StoreUnavailableError("Redis is down")
        allowed, remaining, wait, reset = await self._connection.call(
            self._script(keys=[f"{KEY_PREFIX}limit:{key}"], args=[limit, int(window * MICROSECONDS)])
        )
        return Verdict(bool(allowed), remaining, wait / MICROSECONDS, reset / MICROSECONDS)


class RedisCache:
    """A cache that all replicas share; Redis evicts by its own policy."""

    def __init__(self, connection: RedisConnection) -> None:
        self._connection = connection

    async def get(self, key: str) -> bytes | None:
        """Give the value, or None."""
        if not self._connection.available:
            raise StoreUnavailableError("Redis is down")
        value = await self._connection.call(self._connection.client.get(f"{KEY_PREFIX}cache:{key}"))
        return value if isinstance(value, bytes) else None

    async def put(self, key: str, value: bytes, ttl: int) -> None:
        """Keep the value for `ttl` seconds."""
        if not self._connection.available:
            raise StoreUnavailableError("Redis is down")
        await self._connection.call(self._connection.client.set(f"{KEY_PREFIX}cache:{key}", value, ex=ttl))
