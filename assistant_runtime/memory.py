"""How much memory this process's container has left, and who of its children may take how much of it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
MEMINFO = Path("/proc/meminfo")

V2 = ("memory.max", "memory.current", "memory.stat", "inactive_file")
V1 = ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat", "total_inactive_file")
"""Files of a limit, of the use, of its parts, and the part that the kernel takes back when it needs it: cgroups of
version 2, and of 1."""

RESERVE_BYTES = 64 * 1024 * 1024
"""What children leave to the process itself: requests in flight and their answers."""

POLL_SECONDS = 0.2
"""How soon whoever waits sees that there is memory again: others than children take and give it too."""


class NoMemoryError(Exception):
    """There is not enough memory, and nobody here will give any back."""


def left(cgroup: Path = CGROUP, meminfo: Path = MEMINFO) -> int | None:
    """Give the bytes that the container's limit leaves, or the machine where there is none; None: nobody knows."""
    machine = _numbers(meminfo)
    available = machine["MemAvailable:"] * 1024 if "MemAvailable:" in machine else None
    for limit_file, used_file, parts_file, reclaimable in (V2, V1):
        try:
            limit = int((cgroup / limit_file).read_text())
            used = int((cgroup / used_file).read_text())
        except (OSError, ValueError):  # a version that this is not, or a limit that is `max`
            continue
        own = limit - used + _numbers(cgroup / parts_file).get(reclaimable, 0)
        return own if available is None else min(own, available)
    return available


def _numbers(file: Path) -> dict[str, int]:
    """Read a file of names and numbers; empty where it can't be read."""
    try:
        lines = [line.split() for line in file.read_text().splitlines()]
    except OSError:
        return {}
    return {words[0]: int(words[1]) for words in lines if len(words) > 1 and words[1].isdigit()}


class MemoryShares:
    """Hands out what is left.

    Parameters
    ----------
    measure
        Gives the bytes that are left; None: nobody knows, and everybody gets what they want.
    """

    def __init__(self, measure: Callable[[], int | None] = left) -> None:
        self._measure = measure
        self._held: list[int] = []

    @asynccontextmanager
    async def share(self, wanted: int, least: int) -> AsyncIterator[int]:
        """Hold a number of bytes: as many as wanted, once others have given back theirs; fewer where nobody holds any.

        Raises
        ------
        NoMemoryError
            Nobody holds any, and there are fewer than the least.
        """
        # Memory comes back from elsewhere too, so that no event tells of it.
        while (share := self._granted(wanted, least)) is None:  # noqa: ASYNC110
            await asyncio.sleep(POLL_SECONDS)
        self._held.append(share)
        try:
            yield share
        finally:
            self._held.remove(share)

    def _granted(self, wanted: int, least: int) -> int | None:
        """Give a share; None: wait."""
        available = self._measure()
        if available is None:
            return wanted
        # What holders have taken already is counted twice, which errs on the safe side.
        free = available - RESERVE_BYTES - sum(self._held)
        if free >= wanted:
            return wanted
        if self._held:
            return None
        if free < least:
            raise NoMemoryError
        return free
