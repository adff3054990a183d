"""Parallel requests of a key: bounded, told, and each place free again however its request ended."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.support.runtime import PATIENCE_SECONDS, Reply, Runtime, cancelled, eventually, run_runtime
from tests.support.upstream import Upstream, hang, paced, refuses

ALICE, BOB = "alice-0123456789", "bob-0123456789"


@asynccontextmanager
async def running(runtime: Runtime, upstream: Upstream, count: int) -> AsyncIterator[list[asyncio.Task[Reply]]]:
    """Have so many streams of Alice answered."""
    upstream.script = [paced] * count
    seen = len(upstream.requests)
    tasks = [asyncio.create_task(runtime.chat(ALICE, stream=True)) for _ in range(count)]
    await eventually(lambda: len(upstream.requests) == seen + count)
    yield tasks
    upstream.release.set()
    assert [(await task).status for task in tasks] == [200] * count


async def test_one_key_has_so_many_and_no_other_notices(upstream: Upstream) -> None:
    async with run_runtime(upstream, max_parallel_requests=2, api_keys=f"{ALICE}\n{BOB}") as runtime:
        async with running(runtime, upstream, 2):
            refused = await runtime.chat(ALICE)
            other = await runtime.chat(BOB)
        after = await runtime.chat(ALICE)
    assert refused.status == 429
    assert refused.error["type"] == "rate_limit_error"
    assert refused.error["code"] == "parallel_requests_exceeded"
    assert refused.headers["retry-after"] == "1"
    assert refused.headers["x-ratelimit-limit-parallel-requests"] == "2"
    assert refused.headers["x-ratelimit-remaining-parallel-requests"] == "0"
    assert [each.status for each in (other, after)] == [200, 200]
    assert other.headers["x-ratelimit-remaining-parallel-requests"] == "1"


async def test_a_refused_request_counts_towards_no_limit(upstream: Upstream) -> None:
    limits = {"max_parallel_requests": 1, "rate_limit_requests": 2}
    async with run_runtime(upstream, api_keys=ALICE, **limits) as runtime:
        async with running(runtime, upstream, 1):
            assert [(await runtime.chat(ALICE)).status for _ in range(3)] == [429] * 3
        assert (await runtime.chat(ALICE)).status == 200, "the parallel ones were not counted as requests"
        limited = [await runtime.chat(ALICE) for _ in range(2)]
    assert [each.error["code"] for each in limited] == ["rate_limit_exceeded"] * 2, "nor kept a place"


async def test_a_place_is_free_again_however_its_request_ended(upstream: Upstream) -> None:
    async with run_runtime(upstream, max_parallel_requests=1, rate_limit_requests=1000, api_keys=ALICE) as runtime:
        upstream.script = [refuses(400), hang]
        assert (await runtime.chat(ALICE)).status == 400
        assert (await runtime.post(b"{", {"authorization": f"Bearer {ALICE}"})).status == 400
        left = asyncio.create_task(runtime.chat(ALICE))
        await asyncio.wait_for(upstream.started.wait(), PATIENCE_SECONDS)
        await cancelled(left)

        async def answered() -> bool:
            return (await runtime.chat(ALICE)).status == 200

        await eventually(answered)


async def test_zero_is_without_a_limit(upstream: Upstream) -> None:
    async with run_runtime(upstream, max_parallel_requests=0) as runtime:
        reply = await runtime.chat()
    assert reply.status == 200
    assert "x-ratelimit-limit-parallel-requests" not in reply.headers
