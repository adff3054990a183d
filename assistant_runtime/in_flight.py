"""Requests in flight, counted over all workers of one port: in memory that they share, where each writes its own place.

Whoever started the workers makes the file, and clears the place of a worker that ended.
"""

import mmap
import os
from pathlib import Path

from assistant_runtime.telemetry import SHARED_DIRECTORY

WORKER_VARIABLE = "ASSISTANT_RUNTIME_WORKER"
"""Tells a worker its number, from 0."""

FILE = "in_flight"
"""Name of the file, in the folder that the workers share."""

BYTES = 8
"""Of a place."""


class InFlight:
    """Counts of one process alone, or of several workers.

    Parameters
    ----------
    counts
        A count for each process.
    own
        This process's place among them.
    """

    def __init__(self, counts: "memoryview[int] | list[int]", own: int = 0) -> None:
        self._counts = counts
        self._own = own

    @classmethod
    def of_worker(cls, folder: str, workers: int, own: int) -> "InFlight":
        """Give the counts of all workers, as one of them."""
        with Path(folder, FILE).open("r+b") as file:
            return cls(memoryview(mmap.mmap(file.fileno(), workers * BYTES)).cast("q"), own)

    @property
    def total(self) -> int:
        """Requests in flight."""
        return sum(self._counts)

    def add(self, difference: int) -> None:
        """Count requests in, or out."""
        self._counts[self._own] += difference

    def clear(self) -> None:
        """Forget what this place's process had in flight, because it has ended."""
        self._counts[self._own] = 0


def make_file(folder: str, workers: int) -> None:
    """Make the file that workers share."""
    Path(folder, FILE).write_bytes(bytes(workers * BYTES))


def counts_of_workers(workers: int) -> InFlight | None:
    """Give what this process counts in as one of several workers; None where it is the only one."""
    if workers == 1:
        return None
    return InFlight.of_worker(os.environ[SHARED_DIRECTORY], workers, int(os.environ[WORKER_VARIABLE]))
