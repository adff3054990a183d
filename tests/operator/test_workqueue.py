"""The queue's promises: a key waits once, is worked on by one at a time, and comes back after a failure."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant_operator.engine.workqueue import BACKOFF_SECONDS, MAX_BACKOFF_SECONDS, WorkQueue


async def test_a_key_that_waits_is_not_added_twice() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    queue.add("a")
    queue.add("b")
    assert [await queue.take(), await queue.take()] == ["a", "b"]
    assert len(queue) == 0


async def test_a_key_in_work_waits_until_it_is_given_back() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    assert await queue.take() == "a"
    queue.add("a")
    queue.add("a")
    assert len(queue) == 0
    queue.done("a")
    assert await queue.take() == "a"
    queue.done("a")
    assert len(queue) == 0


async def test_a_worker_sleeps_until_a_key_comes() -> None:
    queue: WorkQueue[str] = WorkQueue()
    worker = asyncio.create_task(queue.take())
    await asyncio.sleep(0)
    assert not worker.done()
    queue.add("a")
    assert await worker == "a"


@pytest.mark.parametrize("turns", range(5))
async def test_a_worker_that_is_cancelled_as_a_key_comes_ends(turns: int) -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add_after("late", 100)
    worker = asyncio.create_task(works_on(queue))
    await asyncio.sleep(0.01)
    queue.add("now")
    for _ in range(turns):
        await asyncio.sleep(0)
    worker.cancel()
    await asyncio.wait([worker], timeout=1)
    assert worker.cancelled()


async def works_on(queue: WorkQueue[str]) -> None:
    while True:
        queue.done(await queue.take())


async def test_a_later_key_comes_when_its_time_has_come() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add_after("late", 0.02)
    queue.add_after("soon", 0.01)
    queue.add("now")
    assert [await queue.take(), await queue.take(), await queue.take()] == ["now", "soon", "late"]


async def test_the_earlier_of_two_dates_counts_and_an_add_cancels_it() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add_after("a", 0.01)
    queue.add_after("a", 100)
    assert await queue.take() == "a"
    queue.done("a")
    queue.add_after("a", 0.01)
    queue.add("a")
    assert await queue.take() == "a"
    queue.done("a")
    queue.add_after("b", 0.02)
    assert await queue.take() == "b"


async def test_failures_back_off_doubling_up_to_a_limit_and_success_resets() -> None:
    queue: WorkQueue[str] = WorkQueue(jitter=lambda: 0.5)
    delays = []
    for _ in range(12):
        queue.add("a")
        await queue.take()
        before = asyncio.get_running_loop().time()
        queue.done("a", failed=True)
        delays.append(round(queue._due["a"] - before, 1))
    assert delays[:3] == [BACKOFF_SECONDS, BACKOFF_SECONDS * 2, BACKOFF_SECONDS * 4]
    assert delays[-1] == MAX_BACKOFF_SECONDS
    queue.add("a")
    await queue.take()
    queue.done("a")
    assert "a" not in queue._failures


@given(st.lists(st.tuples(st.sampled_from(["add", "take", "done"]), st.sampled_from("abc")), max_size=60))
def test_no_key_is_lost_doubled_or_worked_on_twice_at_once(steps: list[tuple[str, str]]) -> None:
    async def check() -> None:
        queue: WorkQueue[str] = WorkQueue()
        working: set[str] = set()
        owed: set[str] = set()
        for step, key in steps:
            if step == "add":
                queue.add(key)
                owed.add(key)
            elif step == "take" and len(queue):
                taken = await queue.take()
                assert taken not in working
                working.add(taken)
                owed.discard(taken)
            elif step == "done" and key in working:
                working.discard(key)
                queue.done(key)
        for key in list(working):
            queue.done(key)
        assert {await queue.take() for _ in range(len(queue))} == owed

    asyncio.run(check())
