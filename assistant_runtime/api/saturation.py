"""How much a process takes on: a bound on the requests in flight.

Requests above the bound are refused with `Retry-After`, because a queue would only hide that there are too many. Load
never makes the pod unready: when all pods are busy, a Service without endpoints would refuse every request, also those
that could be answered. /ready reports it as a remark.
"""

from typing import Any

from assistant_runtime.checks import optional
from assistant_runtime.in_flight import InFlight

LAGGING_TIMES = 2
"""Measurements in a row: one pause, as of a garbage collection, is no saturation."""


class Saturation:
    """Counts requests in flight, and hears of the event loop's lag.

    Parameters
    ----------
    limit
        Requests in flight that are admitted.
    max_lag
        Seconds that the event loop may run late.
    in_flight
        Where requests are counted; None: for this process alone.
    """

    def __init__(self, limit: int, max_lag: float, in_flight: InFlight | None = None) -> None:
        self._limit = limit
        self._max_lag = max_lag
        self._in_flight = in_flight or InFlight([0])
        self._late = 0

    def enter(self) -> bool:
        """Count a request in; false if there are too many."""
        # Counted before it is looked, so that of two workers at the last place neither goes beyond the bound.
        self._in_flight.add(1)
        if self._in_flight.total <= self._limit:
            return True
        self._in_flight.add(-1)
        return False

    def leave(self) -> None:
        """Count a request out."""
        self._in_flight.add(-1)

    def note_lag(self, seconds: float) -> None:
        """Take a measurement of the event loop's lag."""
        if seconds > self._max_lag:
            self._late += 1
        elif self._late < LAGGING_TIMES or seconds < self._max_lag / 2:
            self._late = 0

    def check(self) -> dict[str, Any]:
        """Give the readiness check `capacity`."""
        total = self._in_flight.total
        if total >= self._limit:
            return optional("saturated", f"{total} requests in flight of MAX_CONCURRENT_REQUESTS={self._limit}")
        if self._late >= LAGGING_TIMES:
            detail = f"the event loop is more than {self._max_lag} s late: the process has too little CPU"
            return optional("saturated", detail)
        return optional("up", "")
