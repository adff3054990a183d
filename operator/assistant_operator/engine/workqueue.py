"""A work queue of keys: each key waits once, is worked on by one worker at a time, and comes back after a failure.

The rules are client-go's (https://pkg.go.dev/k8s.io/client-go/util/workqueue): a key that is added while it is worked
on is worked on again after that; failures back off per key, exponentially and with jitter.
"""

import asyncio
import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

BACKOFF_SECONDS = 0.5
"""Wait after the first failure; it doubles with each one that follows."""
MAX_BACKOFF_SECONDS = 120.0


class WorkQueue(Generic[K]):
    """Keys to work on. It is bounded by the number of keys, since a key never waits twice."""

    def __init__(self, jitter: Callable[[], float] = random.random) -> None:
        self._jitter = jitter
        self._ready: deque[K] = deque()
        self._waiting: set[K] = set()
        self._working: set[K] = set()
        self._again: set[K] = set()
        self._failures: dict[K, int] = {}
        self._later: list[tuple[float, int, K]] = []
        self._due: dict[K, float] = {}
        self._sequence = itertools.count()
        self._wakeup = asyncio.Event()

    def __len__(self) -> int:
        return len(self._ready)

    def add(self, key: K) -> None:
        """Have a key worked on as soon as a worker is free."""
        self._due.pop(key, None)
        if key in self._working:
            self._again.add(key)
        elif key not in self._waiting:
            self._waiting.add(key)
            self._ready.append(key)
            self._wakeup.set()

    def add_after(self, key: K, seconds: float) -> None:
        """Have a key worked on after a while; an earlier date that stands is kept."""
        due = asyncio.get_running_loop().time() + seconds
        if self._due.get(key, float("inf")) <= due:
            return
        self._due[key] = due
        heapq.heappush(self._later, (due, next(self._sequence), key))
        self._wakeup.set()

    async def take(self) -> K:
        """Wait for a key, and take it."""
        while True:
            self._promote()
            if self._ready:
                key = self._ready.popleft()
                self._waiting.discard(key)
                self._working.add(key)
                return key
            await self._sleep()

    def done(self, key: K, *, failed: bool = False) -> None:
        """Give a key back; a failed one returns after its backoff."""
        self._working.discard(key)
        if failed:
            failures = self._failures[key] = self._failures.get(key, 0) + 1
            delay = min(BACKOFF_SECONDS * 2.0 ** (failures - 1), MAX_BACKOFF_SECONDS)
            self.add_after(key, delay * (0.75 + self._jitter() / 2))
        else:
            self._failures.pop(key, None)
        if key in self._again:
            self._again.discard(key)
            self.add(key)

    def forget(self, key: K) -> None:
        """Drop what is remembered of a key that is gone."""
        self._failures.pop(key, None)
        self._due.pop(key, None)

    def _promote(self) -> None:
        """Move keys whose time has come to the ready ones."""
        now = asyncio.get_running_loop().time()
        while self._later and self._later[0][0] <= now:
            due, _, key = heapq.heappop(self._later)
            if self._due.get(key) == due:
                self.add(key)

    async def _sleep(self) -> None:
        self._wakeup.clear()
        timeout = None
        if self._later:
            timeout = max(0.0, self._later[0][0] - asyncio.get_running_loop().time())
        try:
            async with asyncio.timeout(timeout):
                await self._wakeup.wait()
        except TimeoutError:
            return
