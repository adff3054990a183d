"""Time limits of connections, and how many there may be.

One look a second at every connection finds those that are late: a timer for each request would cost more than all that
it watches.
"""

import asyncio
import resource
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol, Self

from assistant_runtime.settings import Settings

LOOK_SECONDS = 1.0
"""Between two looks."""


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What a client may take of the server without an answer; all times in seconds."""

    head: float
    """From the first byte of a request, or the beginning of the connection, to the end of the head."""
    body: float
    """Longest stop in a body, and how far it may fall behind `body_rate`."""
    body_rate: int
    """Bytes a second at which a body must come."""
    write: float
    """How long an answer may wait for its client to read."""
    connections: int
    """Of this process."""

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Give the limits of these settings; connections take half of the files that the process may open."""
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        half = files // 2 if files != resource.RLIM_INFINITY else settings.max_connections
        return cls(
            settings.request_head_timeout_seconds,
            settings.request_body_timeout_seconds,
            settings.request_min_bytes_per_second,
            settings.stalled_write_timeout_seconds,
            min(settings.max_connections, half),
        )


class Limited(Protocol):
    """A connection with time limits."""

    def look(self, now: float, since: float) -> None:
        """End what is late at the loop's time `now`; the last look was `since` seconds ago."""


def look_again_and_again(loop: asyncio.AbstractEventLoop, connections: Callable[[], Iterable[Limited]]) -> None:
    """Look at all connections each second, for as long as the loop runs."""
    before = loop.time()

    def look() -> None:
        nonlocal before
        now = loop.time()
        for connection in list(connections()):
            connection.look(now, now - before)
        before = now
        loop.call_later(LOOK_SECONDS, look)

    loop.call_later(LOOK_SECONDS, look)
