"""Answers that are kept under the key that a client chose, and claims of those that are still being made.

An entry is whatever bytes its writer wrote, and whoever holds a claim changes it only while the entry is still its own.
"""

from typing import TYPE_CHECKING, Protocol

from assistant_runtime.stores.memory import MemoryCache

if TYPE_CHECKING:
    from assistant_runtime.stores.redis import RedisConnection

MAX_BYTES = 16 * 1024 * 1024
"""What this process keeps where there is no Redis."""

CLAIM = """
local kept = redis.call('GET', KEYS[1])
if kept then return kept end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
return false
"""

REPLACE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[2] == '' then
  redis.call('DEL', KEYS[1])
else
  redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
end
return 1
"""


class AnswerStore(Protocol):
    """Keeps entries for a time. Every method raises StoreUnavailableError."""

    async def claim(self, name: str, entry: bytes, seconds: int) -> bytes | None:
        """Put an entry where there is none, in one atomic step; gives the one that is there, None: it is ours now."""

    async def replace(self, name: str, entry: bytes, new: bytes, seconds: int) -> None:
        """Put a new entry in place of ours, or none where `new` is empty; does nothing where ours is gone."""


class MemoryAnswers:
    """Keeps entries in this process; the least recently used go first."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._entries = MemoryCache(max_bytes)

    async def claim(self, name: str, entry: bytes, seconds: int) -> bytes | None:
        """Put an entry where there is none; gives the one that is there."""
        kept = await self._entries.get(name)
        if kept is None:
            await self._entries.put(name, entry, seconds)
        return kept

    async def replace(self, name: str, entry: bytes, new: bytes, seconds: int) -> None:
        """Put a new entry in place of ours; an empty one is as none."""
        if await self._entries.get(name) == entry:
            await self._entries.put(name, new, seconds if new else 0)


class RedisAnswers:
    """Keeps entries for all replicas.

    Parameters
    ----------
    connection
        The Redis.
    """

    def __init__(self, connection: "RedisConnection") -> None:
        from assistant_runtime.stores.redis import Script  # noqa: PLC0415 - imported only where it is used

        self._connection = connection
        self._claim = Script(CLAIM)
        self._replace = Script(REPLACE)

    async def claim(self, name: str, entry: bytes, seconds: int) -> bytes | None:
        """Put an entry where there is none; gives the one that is there."""
        kept = await self._connection.evaluate(self._claim, (_key(name),), entry, seconds)
        return kept if isinstance(kept, bytes) else None

    async def replace(self, name: str, entry: bytes, new: bytes, seconds: int) -> None:
        """Put a new entry in place of ours."""
        await self._connection.evaluate(self._replace, (_key(name),), entry, new, seconds)


def _key(name: str) -> str:
    return f"assistant:answer:{name}"
