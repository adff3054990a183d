"""Where writing jobs are kept: the Protocol, and the embedded store of one process.

A job that is being worked on is leased to one replica. Whoever works renews the lease; a replica that is killed does
not, and when the lease is over another one takes the job up.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import islice
from typing import Protocol

from assistant_runtime.writers.job import ENDED, Job

MAX_JOBS = 1000
"""Jobs that a process keeps; the oldest that has ended goes first."""


class JobStore(Protocol):
    """Keeps jobs. Every method raises StoreUnavailableError."""

    async def create(self, job: Job) -> None:
        """Keep a new job."""

    async def get(self, tenant: str, job_id: str) -> Job | None:
        """Give a tenant's job."""

    async def list(self, tenant: str, limit: int, after: str = "") -> list[Job]:
        """List a tenant's jobs, the newest first, behind the job `after` if that is there."""

    async def replace(self, job: Job, owner: str | None = None) -> bool:
        """Keep a job in place of its version before; says whether that was there.

        With `owner`, it must hold the lease.
        """

    async def delete(self, tenant: str, job_id: str) -> bool:
        """Delete a job; says whether it was there."""

    async def expire(self, age: float, limit: int) -> int:
        """Delete at most so many jobs that ended `age` seconds ago, and give how many."""

    async def claim(self, owner: str, seconds: float) -> Job | None:
        """Lease the oldest job that waits, or whose lease is over; None where there is none."""

    async def renew(self, job_id: str, owner: str, seconds: float) -> bool:
        """Lease a job on, 0 seconds to give it back; says whether the owner had it."""


@dataclass(frozen=True, slots=True)
class _Kept:
    job: Job
    owner: str = ""
    until: float = 0.0


class MemoryJobs:
    """Jobs in this process: they end with it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kept: dict[str, _Kept] = {}

    async def create(self, job: Job) -> None:
        """Keep a new job."""
        self._kept[job.id] = _Kept(job)
        if len(self._kept) > MAX_JOBS:
            ended = next((key for key, kept in self._kept.items() if kept.job.status in ENDED), None)
            del self._kept[ended or next(iter(self._kept))]

    async def get(self, tenant: str, job_id: str) -> Job | None:
        """Give a tenant's job."""
        kept = self._kept.get(job_id)
        return kept.job if kept and kept.job.tenant == tenant else None

    async def list(self, tenant: str, limit: int, after: str = "") -> list[Job]:
        """List a tenant's jobs, the newest first, behind the job `after` if that is there."""
        own = [kept.job for kept in reversed(self._kept.values()) if kept.job.tenant == tenant]
        first = next((place for place, job in enumerate(own, 1) if job.id == after), 0)
        return own[first : first + limit]

    async def replace(self, job: Job, owner: str | None = None) -> bool:
        """Keep a job in place of its version before."""
        kept = self._kept.get(job.id)
        if kept is None or kept.job.version != job.version - 1 or (owner is not None and kept.owner != owner):
            return False
        self._kept[job.id] = replace(kept, job=job)
        return True

    async def delete(self, tenant: str, job_id: str) -> bool:
        """Delete a job."""
        if await self.get(tenant, job_id) is None:
            return False
        del self._kept[job_id]
        return True

    async def expire(self, age: float, limit: int) -> int:
        """Delete jobs that ended `age` seconds ago."""
        before = time.time() - age
        old = (key for key, kept in self._kept.items() if kept.job.status in ENDED and kept.job.updated < before)
        due = list(islice(old, limit))
        for key in due:
            del self._kept[key]
        return len(due)

    async def claim(self, owner: str, seconds: float) -> Job | None:
        """Lease the oldest job that waits, or whose lease is over."""
        now = self._clock()
        for kept in self._kept.values():
            if kept.job.status not in ENDED and kept.until <= now:
                job = kept.job.model_copy(
                    update={"status": "running", "version": kept.job.version + 1, "attempts": kept.job.attempts + 1}
                )
                self._kept[job.id] = _Kept(job, owner, now + seconds)
                return job
        return None

    async def renew(self, job_id: str, owner: str, seconds: float) -> bool:
        """Lease a job on."""
        kept = self._kept.get(job_id)
        if kept is None or kept.owner != owner:
            return False
        self._kept[job_id] = replace(kept, until=self._clock() + seconds)
        return True
