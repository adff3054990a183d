"""Whether the API server answers at all, so that a watch is only called dead while others are alive."""

import time

DEAD_SECONDS = 50
"""A watch without a sign of life for longer is dead: one that is well has one at least twice in a minute."""
OUTAGE_SECONDS = 600
"""An API server that is away is no reason to restart. After so long it may be the process that looks elsewhere."""


class Pulse:
    """The signs of life of all watches together."""

    def __init__(self) -> None:
        self._last = self._since = time.monotonic()

    def beat(self) -> None:
        """Take note of a sign of life."""
        now = time.monotonic()
        if now - self._last > DEAD_SECONDS / 2:
            self._since = now  # the API server is back, and each watch has its time to find out
        self._last = now

    def misses(self, last_contact: float) -> bool:
        """Tell whether a watch with that last sign of life is dead, while the API server answers others."""
        now = time.monotonic()
        alive = now - self._last <= DEAD_SECONDS / 2
        return alive and now - max(last_contact, self._since) > DEAD_SECONDS

    @property
    def is_lost(self) -> bool:
        """Whether the API server has answered nobody for long."""
        return time.monotonic() - self._last > OUTAGE_SECONDS
