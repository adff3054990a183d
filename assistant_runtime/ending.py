"""The end of tasks, also of those that miss that they are cancelled."""

import asyncio
from typing import Any

AGAIN_SECONDS = 10.0
"""Longer than what a task still does in its end, such as ending a child or giving a lease back."""


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
