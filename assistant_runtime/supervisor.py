"""Work that goes on for as long as the application does, and is started again when it fails.

Nothing that the runtime relies on may end silently: a probe that is gone leaves its server down for ever, a writer that
is gone loses what it was handed. So all such work is started here and nowhere else; a lint rule keeps it so.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from assistant_runtime.ending import end, is_cancelled

Work = Callable[[], Coroutine[Any, Any, None]]
"""Something that runs until it is cancelled."""

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.2, 30.0
"""Between a failure and the next start. A chance event is over at once; what fails each time must not take the CPU."""

SETTLED_SECONDS = 60.0
"""Work that ran this long was well: its next failure is a new one, and /ready no longer reports the last."""


class TaskMetrics(Protocol):
    """Counts what becomes of background work."""

    def task_started(self, task: str) -> None:
        """Note that the work runs."""

    def task_failed(self, task: str) -> None:
        """Note that the work failed, and will be started again."""


class WorkEndedError(Exception):
    """Work that should go on for ever came to an end."""


@dataclass(frozen=True, slots=True)
class _Failure:
    kind: str
    """The class of the exception."""
    at: float


class Supervisor:
    """Runs background work, and reports it as the readiness check `background`.

    Parameters
    ----------
    metrics
        Counts starts and failures.
    clock
        Monotonic seconds.
    """

    def __init__(self, metrics: TaskMetrics, clock: Callable[[], float] = time.monotonic) -> None:
        self._metrics = metrics
        self._clock = clock
        self._failures: dict[str, _Failure] = {}
        self._log = structlog.get_logger(__name__)

    @asynccontextmanager
    async def running(self, works: Mapping[str, Work]) -> AsyncIterator[None]:
        """Run work, by name, until the block ends."""
        tasks = [
            asyncio.create_task(self._keep(name, work), name=name)  # noqa: TID251 - the one place
            for name, work in works.items()
        ]
        try:
            yield
        finally:
            await end(*tasks)

    def check(self) -> dict[str, Any]:
        """Give the readiness check: a remark while work is being restarted, or was a moment ago."""
        since = self._clock() - SETTLED_SECONDS
        recent = [f"{name} ({failure.kind})" for name, failure in self._failures.items() if failure.at > since]
        if not recent:
            return {"status": "up", "required": False}
        detail = f"restarting after a failure: {', '.join(sorted(recent))}; the log has each"
        return {"status": "up", "required": False, "degraded": True, "detail": detail}

    async def _keep(self, name: str, work: Work) -> None:
        pause = FIRST_PAUSE_SECONDS
        while True:
            started = self._clock()
            self._metrics.task_started(name)
            failure = await self._failure_of(work)
            if self._clock() - started > SETTLED_SECONDS:
                pause = FIRST_PAUSE_SECONDS
            self._metrics.task_failed(name)
            self._failures[name] = _Failure(type(failure).__name__, self._clock())
            self._log.error("background_task_failed", task=name, restart_seconds=round(pause, 2), exc_info=failure)
            await asyncio.sleep(pause)
            # Not in step with other replicas, whose work may have failed by the same event.
            pause = min(LONGEST_PAUSE_SECONDS, random.uniform(FIRST_PAUSE_SECONDS, pause * 3))  # noqa: S311 - no secret

    async def _failure_of(self, work: Work) -> BaseException:
        """Run work until it fails."""
        try:
            await work()
        except asyncio.CancelledError as error:
            if is_cancelled():
                raise
            # Something that the work waited for was cancelled, and not the work.
            return error
        except Exception as error:  # noqa: BLE001 - whatever it was, it is logged, and the work goes on
            return error
        return WorkEndedError("it came to an end")
