"""Stores in this process: the default without Redis, and the fallback for rate limits while Redis is down.

Both are bounded, so that memory stays flat whatever clients send: the least recently used goes first.
"""

import time
from collections import OrderedDict, deque
from collections.abc import Callable

from assistant_runtime.stores import Verdict

Clock = Callable[[], float]

MAX_CACHE_BYTES = 32 * 1024 * 1024
"""An eighth of the smallest pod worth running; whoever needs more has Redis."""

MAX_LIMITED_KEYS = 10_000
"""Clients that are remembered at once: about 40 MB at 100 requests each in the worst case."""


class MemoryRateLimits:
    """A sliding-window log for each key; the same rule as in Redis."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._admitted: OrderedDict[str, deque[float]] = OrderedDict()

    async def hit(self, key: str, limit: int, window: float) -> Verdict:
        """Admit the request if fewer than `limit` were admitted in the last `window` seconds."""
        now = self._clock()
        times = self._times(key)
        while times and times[0] <= now - window:
            times.popleft()
        allowed = len(times) < limit
        if allowed:
            times.append(now)
        remaining = max(0, limit - len(times))
        return Verdict(
            allowed=allowed,
            remaining=remaining,
            # Where the limit was lowered, more than one must leave before the next is admitted.
            retry_after=0.0 if remaining else times[-limit] + window - now,
            reset_after=times[-1] + window - now,
        )

    def _times(self, key: str) -> deque[float]:
        times = self._admitted.setdefault(key, deque())
        self._admitted.move_to_end(key)
        if len(self._admitted) > MAX_LIMITED_KEYS:
            self._admitted.popitem(last=False)
        return times


class MemoryCache:
    """A cache of at most `max_bytes` bytes of values."""

    def __init__(self, max_bytes: int = MAX_CACHE_BYTES, clock: Clock = time.monotonic) -> None:
        self._max_bytes = max_bytes
        self._clock = clock
        self._size = 0
        self._entries: OrderedDict[str, tuple[float, bytes]] = OrderedDict()

    async def get(self, key: str) -> bytes | None:
        """Give the value, unless its time is over."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        expires, value = entry
        if expires <= self._clock():
            self._remove(key)
            return None
        self._entries.move_to_end(key)
        return value

    async def put(self, key: str, value: bytes, ttl: int) -> None:
        """Keep the value for `ttl` seconds, making room."""
        self._remove(key)
        if len(value) > self._max_bytes:
            return
        self._entries[key] = (self._clock() + ttl, value)
        self._size += len(value)
        while self._size > self._max_bytes:
            self._remove(next(iter(self._entries)))

    def _remove(self, key: str) -> None:
        _, value = self._entries.pop(key, (0.0, b""))
        self._size -= len(value)
