"""The end of each session in Redis, at hand for the next chat, whichever replica gets it.

Only a copy: a session's truth is in its log, and a Redis that is lost costs a read of it. A copy is used where its
version is the log's, or while the log does not answer.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from typing import Any

import orjson
import zstandard

from assistant_runtime.errors import StoreUnavailableError
from assistant_runtime.stores.conversations import Unit
from assistant_runtime.stores.redis import KEY_PREFIX, RedisConnection
from assistant_runtime.stores.response_cache import COMPRESSION_LEVEL

TTL_SECONDS = 3600
"""A conversation that rests for an hour is read from its log again."""

MAX_WINDOW_BYTES = 4 * 1024 * 1024
"""Before compression; a longer one is read from its log, rather than pushing others out."""

KEEP_NEWER = """
local kept = redis.call('GETRANGE', KEYS[1], 0, 9)
if kept ~= '' and tonumber(kept) > tonumber(ARGV[1]) then return 0 end
redis.call('SET', KEYS[1], ARGV[1] .. ARGV[2], 'EX', ARGV[3])
return 1
"""
"""A replica that was slow must not put back what another has written past. The version leads, in ten digits."""

VERSION_DIGITS = 10


class RedisWindows:
    """Sessions' last units in Redis.

    Parameters
    ----------
    connection
        The Redis.
    """

    def __init__(self, connection: RedisConnection) -> None:
        self._connection = connection
        self._script = connection.client.register_script(KEEP_NEWER)
        self._compressor = zstandard.ZstdCompressor(level=COMPRESSION_LEVEL)
        self._decompressor = zstandard.ZstdDecompressor()

    async def get(self, session_id: str) -> tuple[str, list[Unit]] | None:
        """Give the session's tenant and its last units."""
        key = _key(session_id)
        try:
            kept = await self._connection.call(lambda: self._connection.client.get(key))
            if not kept:
                return None
            data = self._decompressor.decompress(kept[VERSION_DIGITS:], max_output_size=MAX_WINDOW_BYTES)
        except (StoreUnavailableError, zstandard.ZstdError):
            return None
        tenant, units = orjson.loads(data)
        return tenant, [
            Unit(**{**unit, "messages": tuple(unit["messages"]), "open_calls": tuple(unit["open_calls"])})
            for unit in units
        ]

    async def put(self, tenant: str, session_id: str, units: Sequence[Unit]) -> None:
        """Keep a session's last units, unless later ones are kept already."""
        data = orjson.dumps([tenant, [_written(unit) for unit in units]])
        if not units or len(data) > MAX_WINDOW_BYTES:
            return
        version = f"{units[-1].version:0{VERSION_DIGITS}}"
        arguments = [version, self._compressor.compress(data), TTL_SECONDS]
        with suppress(StoreUnavailableError):
            await self._connection.call(lambda: self._script([_key(session_id)], arguments))

    async def forget(self, session_id: str) -> None:
        """Drop a session that was deleted."""
        with suppress(StoreUnavailableError):
            await self._connection.call(lambda: self._connection.client.delete(_key(session_id)))


def _written(unit: Unit) -> dict[str, Any]:
    """Give a unit's fields, without those that a runtime of an earlier version does not know."""
    fields = asdict(replace(unit, about=None))
    del fields["about"]
    return fields


def _key(session_id: str) -> str:
    return f"{KEY_PREFIX}session:{session_id}"
