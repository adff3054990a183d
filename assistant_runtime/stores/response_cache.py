"""The exact response cache: the same tenant asking the same model the same thing gets the same answer.

The key is an HMAC over tenant, provider, model and the canonical body, so that a key tells nothing about a prompt, and
no tenant can meet another's answer. Answers are kept as the provider sent them.
"""

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any

import orjson
import zstandard

from assistant_runtime.stores import CacheStore

MAX_CACHED_BYTES = 1024 * 1024
"""Longer answers are rare, and would push many common ones out."""

PLAIN, ZSTD = b"\x00", b"\x01"
"""First byte of an entry, so that CACHE_COMPRESSION can change under a filled cache."""

COMPRESSION_LEVEL = 1
"""A few kilobytes of JSON shrink to a third in some 20 microseconds; higher levels add a few per cent."""


class ResponseCache:
    """Answers, by request.

    Parameters
    ----------
    store
        Where they are kept.
    hmac_key
        Key of the keys; the same for every replica.
    ttl
        Seconds that an answer is kept.
    compression
        Whether new entries are compressed.
    """

    def __init__(self, store: CacheStore, hmac_key: bytes, ttl: int, *, compression: bool) -> None:
        self._store = store
        self._hmac_key = hmac_key
        self._ttl = ttl
        self._compress = zstandard.ZstdCompressor(level=COMPRESSION_LEVEL).compress if compression else None
        self._decompress = zstandard.ZstdDecompressor().decompress

    def key(self, tenant: str, provider: str, model: str, payload: Mapping[str, Any], *, text: bool = False) -> str:
        """Give the key of a chat or, with `text`, of a text; field order and spacing make no difference."""
        asked = {name: value for name, value in payload.items() if name not in {"stream", "stream_options"}}
        # A request may have the fields of both, and their answers have different forms.
        kind = ["text"] if text else []
        canonical = orjson.dumps([tenant, provider, asked | {"model": model}, *kind], option=orjson.OPT_SORT_KEYS)
        return hmac.digest(self._hmac_key, canonical, hashlib.sha256).hex()

    async def get(self, key: str) -> bytes | None:
        """Give the cached answer, or None; raises StoreUnavailableError."""
        entry = await self._store.get(key)
        if not entry:
            return None
        if entry[:1] == PLAIN:
            return entry[1:]
        try:
            return self._decompress(entry[1:], max_output_size=MAX_CACHED_BYTES)
        except zstandard.ZstdError:
            return None

    async def put(self, key: str, answer: bytes) -> None:
        """Keep an answer; raises StoreUnavailableError."""
        if len(answer) > MAX_CACHED_BYTES:
            return
        entry = ZSTD + self._compress(answer) if self._compress else PLAIN + answer
        await self._store.put(key, entry, self._ttl)
