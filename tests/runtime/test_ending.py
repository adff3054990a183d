"""The end of tasks: no background work outlives it, and no write is cut in two, however often it is cancelled."""

import asyncio

import pytest

from assistant_runtime import ending
from assistant_runtime.ending import end, to_its_end


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


@pytest.mark.parametrize("cancellations", [0, 1, 2])
async def test_work_that_must_not_be_cut_in_two_is_done_before_a_cancellation_is_raised(cancellations: int) -> None:
    writing, may_end, written = asyncio.Event(), asyncio.Event(), []

    async def write() -> str:
        writing.set()
        await may_end.wait()
        written.append("all of it")
        return "done"

    caller = asyncio.create_task(to_its_end(write()))
    await writing.wait()
    for _ in range(cancellations):
        caller.cancel()
        await asyncio.sleep(0)
    assert not caller.done()
    may_end.set()
    await asyncio.wait({caller})
    assert written == ["all of it"]
    assert caller.cancelled() == bool(cancellations)
    assert cancellations or caller.result() == "done"


async def test_what_the_work_raises_is_raised() -> None:
    async def fails() -> None:
        raise OSError("the connection is gone")

    with pytest.raises(OSError, match="gone"):
        await to_its_end(fails())
