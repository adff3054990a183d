"""A circuit breaker: a provider that keeps failing is left alone for a while, then tried with one request.

Without it every request would wait for a dead provider's timeout before it goes on to the next one, and a provider that
is overloaded would get no rest.
"""

import time
from collections.abc import Callable

MAX_REST_FACTOR = 8
"""The rest doubles with each probe that fails, up to this many times the first one."""


class Breaker:
    """Closed while a provider works, open while it rests, half open while one request finds out.

    Parameters
    ----------
    failures
        Requests that fail in a row which open it; 0: it never opens.
    rest
        Seconds that it first stays open.
    clock
        Gives seconds.
    """

    def __init__(self, failures: int, rest: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._threshold = failures
        self._rest = rest
        self._clock = clock
        self._failures = 0
        self._next_rest = rest
        self._open_until: float | None = None
        self._probing = False

    @property
    def closed(self) -> bool:
        """Whether requests pass freely."""
        return self._open_until is None

    def enter(self) -> float:
        """Ask to send a request: 0 if it may go, else the seconds until another may try."""
        if self._open_until is None:
            return 0.0
        left = self._open_until - self._clock()
        if left > 0 or self._probing:
            return max(left, 1.0)
        self._probing = True
        return 0.0

    def succeeded(self) -> None:
        """Close: the provider answered."""
        self._failures = 0
        if self._open_until is not None:
            self._open_until, self._probing, self._next_rest = None, False, self._rest

    def failed(self, *, probe: bool, again: bool = False) -> None:
        """Count a request that failed.

        Parameters
        ----------
        probe
            Whether it was let through while the breaker was not closed. While that one finds out, the failure of a
            request that began earlier says nothing new.
        again
            Whether it was only sent again: it counts no more.
        """
        if probe and self._probing:
            self._next_rest = min(self._next_rest * 2, self._rest * MAX_REST_FACTOR)
            self._open()
        elif self.closed and not again:
            self._failures += 1
            if self._threshold and self._failures >= self._threshold:
                self._open()

    def abandoned(self, *, probe: bool) -> None:
        """Let another request be the probe, if this one was: its client left."""
        if probe:
            self._probing = False

    def _open(self) -> None:
        self._open_until, self._probing = self._clock() + self._next_rest, False
