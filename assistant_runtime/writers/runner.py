"""Takes jobs up, works on them, and gives them back: every replica does, a few jobs at a time."""

import asyncio
import secrets
import time
from collections.abc import Callable
from contextlib import suppress

import structlog

from assistant_runtime.ending import end
from assistant_runtime.errors import StoreRefusedError, StoreUnavailableError
from assistant_runtime.writers.job import ENDED, Job
from assistant_runtime.writers.panel import Ask, Change, JobLostError, Panel
from assistant_runtime.writers.store import JobStore

LEASE_SECONDS = 30.0
"""How long a killed replica's job lies still; and how long a store may be away while a job goes on."""

RENEWALS = 3
"""Renewals within a lease: one may fail without the job being lost."""

POLL_SECONDS = 2.0
"""How soon a job of another replica is seen; one of this replica's own is taken up at once."""

RETRY_SECONDS = 0.5
MAX_ATTEMPTS = 5
"""A job that so many replicas did not survive is likely what they did not survive."""


class Runner:
    """Works on the jobs of a store.

    Parameters
    ----------
    store
        Where the jobs are.
    asking
        Gives how models are asked for a job.
    at_once
        Jobs that are worked on at the same time.
    clock
        Seconds since 1970.
    """

    def __init__(
        self, store: JobStore, asking: Callable[[Job], Ask], at_once: int, clock: Callable[[], float] = time.time
    ) -> None:
        self._store, self._asking, self._at_once, self._clock = store, asking, at_once, clock
        self._owner = secrets.token_hex(8)
        self._wake = asyncio.Event()
        self._log = structlog.get_logger(__name__)

    def wake(self) -> None:
        """Look for jobs now."""
        self._wake.set()

    async def run(self) -> None:
        """Work until cancelled; what is unfinished then is given back."""
        async with asyncio.TaskGroup() as tasks:  # noqa: TID251 - within supervised work
            free = asyncio.Semaphore(self._at_once)
            while True:
                await free.acquire()
                job = await self._next()
                tasks.create_task(self._work(job)).add_done_callback(lambda _: free.release())

    async def _next(self) -> Job:
        while True:
            self._wake.clear()
            try:
                if job := await self._store.claim(self._owner, LEASE_SECONDS):
                    return job
            except StoreUnavailableError:
                pass
            except Exception:  # noqa: BLE001 - logged: a job that can't be read must not end those under way
                self._log.exception("writing_not_claimed")
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await self._wake.wait()

    async def _work(self, job: Job) -> None:
        """Work on one job for as long as it is this replica's."""
        with structlog.contextvars.bound_contextvars(job=job.id):
            try:
                ended = await self._panel(job)
                self._log.info("writing_ended", status=ended.status, drafts=len(ended.drafts))
            except JobLostError as lost:
                self._log.warning("writing_lost", detail=str(lost))
            except asyncio.CancelledError:
                with suppress(StoreUnavailableError):
                    await self._store.renew(job.id, self._owner, 0)
                raise
            except Exception:  # noqa: BLE001 - logged: a defect met by one job must not stop the others
                self._log.exception("writing_crashed")

    async def _panel(self, job: Job) -> Job:
        """Work on a job while another task keeps its lease."""
        held = _Held(self._store, self._owner, job)
        if job.attempts > MAX_ATTEMPTS:
            reason = f"{MAX_ATTEMPTS} replicas took this job up, and none brought it to its end."
            return await held.commit(lambda it: it.changed(self._clock(), status="failed", error=reason))
        panel = Panel(self._asking(job), held.commit, self._clock)
        work = asyncio.create_task(panel.work(job))  # noqa: TID251 - one job, which ends
        keep = asyncio.create_task(held.keep())  # noqa: TID251 - one job ends it
        try:
            await asyncio.wait({work, keep}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                raise JobLostError("the lease is lost")
            return work.result()
        except StoreRefusedError as refused:
            # What was kept before goes on to be the job, and says why there is no more.
            reason = f"{refused}."
            return await held.commit(lambda it: it.changed(self._clock(), status="failed", error=reason))
        finally:
            await end(work, keep)


class _Held:
    """A job that this replica has leased, as it is now."""

    def __init__(self, store: JobStore, owner: str, job: Job) -> None:
        self._store, self._owner, self._job = store, owner, job
        self._lock = asyncio.Lock()

    async def commit(self, change: Change) -> Job:
        """Keep a change, waiting for a store that is away for as long as the lease can last."""
        async with self._lock:
            changed = change(self._job)
            if changed is not self._job:
                await self._replace(changed)
                self._job = changed
            return changed

    async def _replace(self, changed: Job) -> None:
        failed = False
        deadline = time.monotonic() + LEASE_SECONDS
        while True:
            try:
                if await self._store.replace(changed, self._owner):
                    return
                # An attempt that seemed to fail may have been kept all the same.
                if failed and await self._store.get(changed.tenant, changed.id) == changed:
                    return
                raise JobLostError("it was cancelled, or another replica has it")
            except StoreRefusedError:
                raise
            except StoreUnavailableError:
                failed = True
                if time.monotonic() > deadline:
                    raise JobLostError("its store is away") from None
                await asyncio.sleep(RETRY_SECONDS)

    async def keep(self) -> None:
        """Renew the lease until it is lost."""
        while True:
            await asyncio.sleep(LEASE_SECONDS / RENEWALS)
            with suppress(StoreUnavailableError):
                if not await self._store.renew(self._job.id, self._owner, LEASE_SECONDS):
                    return


def has_ended(job: Job) -> bool:
    """Tell whether nothing more will come of a job."""
    return job.status in ENDED
