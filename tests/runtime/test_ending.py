"""The end of background tasks: nothing that was begun outlives it, whatever a driver does with a cancellation."""

import asyncio

import pytest

from assistant_runtime import ending
from assistant_runtime.ending import end


async def forever() -> None:
    await asyncio.Event().wait()


async def misses_a_cancellation() -> None:
    """As `asyncio.wait_for` of Python 3.11 does in the moment of the result."""
    try:
        await forever()
    except asyncio.CancelledError:
        await forever()


async def fails_in_the_end() -> None:
    try:
        await forever()
    finally:
        raise OSError("the connection is gone")


async def test_every_task_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "AGAIN_SECONDS", 0.01)
    tasks = [asyncio.create_task(work()) for work in (forever, misses_a_cancellation, fails_in_the_end)]
    tasks.append(asyncio.create_task(asyncio.sleep(0)))
    await asyncio.sleep(0)
    await end(*tasks)
    assert all(task.done() for task in tasks)


async def test_no_tasks_end_at_once() -> None:
    await end()
