"""The end of tasks: of those that miss that they are cancelled, and of work that must not be cut in two."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

AGAIN_SECONDS = 10.0
"""Longer than what a task still does in its end, such as ending a child or giving a lease back."""

T = TypeVar("T")


async def end(*tasks: asyncio.Task[Any]) -> None:
    """Cancel tasks and wait until they have ended, with whatever they end.

    Python 3.11's `asyncio.wait_for`, by which drivers of stores bound their reads and writes, loses a cancellation that
    comes in the same moment as the result (https://github.com/python/cpython/issues/86296): so they are cancelled
    again.
    """
    running = {task for task in tasks if not task.done()}
    while running:
        for task in running:
            task.cancel()
        _, running = await asyncio.wait(running, timeout=AGAIN_SECONDS)
    await asyncio.gather(*tasks, return_exceptions=True)


async def to_its_end(work: Coroutine[Any, Any, T]) -> T:
    """Give what short work gives, and let it run to its end however often its caller is cancelled meanwhile.

    Of a write that is cut in two nobody knows whether it was done.

    Raises
    ------
    asyncio.CancelledError
        The caller was cancelled; the work is done, or has failed.
    """
    task = asyncio.create_task(work)  # noqa: TID251 - it is waited for
    cancelled = False
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            cancelled = True
    if not cancelled:
        return task.result()
    if not task.cancelled() and (error := task.exception()) is not None:
        raise asyncio.CancelledError from error
    raise asyncio.CancelledError


def is_cancelled() -> bool:
    """Tell whether someone cancelled the current task itself, and not only something that it waits for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
