"""One run of some work for everyone who asks for it while it runs."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from assistant_runtime.ending import is_cancelled

T = TypeVar("T")


class CallEndedError(Exception):
    """The run that a caller waited for was ended, and the caller was not."""


class SharedCall(Generic[T]):
    """Work that must not run twice at once; whoever comes while it runs gets its result, or its failure.

    Parameters
    ----------
    work
        Begins the work.
    """

    def __init__(self, work: Callable[[], Awaitable[T]]) -> None:
        self._work = work
        self._task: asyncio.Task[T] | None = None

    async def __call__(self) -> T:
        """Give the result of the run that is under way, or of a new one; raises what it does, or CallEndedError."""
        if self._task is None:
            # A task of its own, because whoever waits may be cancelled.
            self._task = asyncio.create_task(self._run())  # noqa: TID251 - one call, which ends
            self._task.add_done_callback(_noted)
        try:
            return await asyncio.shield(self._task)
        except asyncio.CancelledError:
            if is_cancelled():
                raise
            raise CallEndedError("it was ended") from None

    def cancel(self) -> None:
        """End the run that is under way, if any."""
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> T:
        try:
            return await self._work()
        finally:
            self._task = None


def _noted(task: "asyncio.Task[T]") -> None:
    """Take a failure that nobody waits for any more."""
    if not task.cancelled():
        task.exception()
