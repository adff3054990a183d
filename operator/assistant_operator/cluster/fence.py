"""The fence before every write: without the lease nothing is written, whatever else goes on in the process.

It is part of the client, so that no pass, retry or forgotten task goes round it
(docs/decisions/20261129-leader-election.md).
"""

import asyncio
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""No step of the wall clock changes it, and it goes on while the machine sleeps."""


def now() -> float:
    """Return the seconds of the clock by which leases are judged."""
    return time.clock_gettime(CLOCK)


class FencedError(Exception):
    """The operator is not the leader, or may soon not be: the write was not sent."""


class Fence:
    """Admits writes until a time that each renewal of the lease moves on; one that nobody shut is open for ever.

    Parameters
    ----------
    margin_seconds
        Time between the last write that is admitted and the first of another operator; none without leader election.
    """

    def __init__(self, clock: Callable[[], float] = now, *, margin_seconds: float = 0) -> None:
        self._clock = clock
        self.margin_seconds = margin_seconds
        self._until = math.inf
        self._writing = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def open_until(self, until: float) -> None:
        """Admit writes that end before a time of the clock."""
        self._until = until

    def shut(self) -> None:
        """Admit no further write; those in flight go on."""
        self._until = -math.inf

    def remaining(self) -> float:
        """Return for how many seconds writes are admitted; none where it is shut, infinity without leader election."""
        return max(0.0, self._until - self._clock())

    @contextmanager
    def write(self) -> Iterator[float]:
        """Admit a write, and give the seconds within which it must end.

        Raises
        ------
        FencedError
            It may not be sent.
        """
        remaining = self.remaining()
        if not remaining:
            raise FencedError("this operator is not the leader")
        self._writing += 1
        self._idle.clear()
        try:
            yield remaining
        finally:
            self._writing -= 1
            if not self._writing:
                self._idle.set()

    async def drained(self) -> None:
        """Wait until no write is in flight."""
        await self._idle.wait()
