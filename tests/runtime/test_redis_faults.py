"""A Redis that dies, hangs or comes back: chat goes on, limits hold, /ready says it."""

import asyncio

import pytest

from tests.support.redis import RedisServer
from tests.support.runtime import PATIENCE_SECONDS, Runtime, eventually, run_runtime
from tests.support.server import free_port
from tests.support.upstream import Upstream


async def redis_is(runtime: Runtime, status: str) -> bool:
    return bool((await runtime.ready())["checks"]["redis"]["status"] == status)


async def test_chat_goes_on_while_redis_is_killed_and_restarted(upstream: Upstream, redis: RedisServer) -> None:
    async with run_runtime(upstream, redis_url=redis.url, rate_limit_requests=10_000) as runtime:
        replies = []
        stop = asyncio.Event()

        async def ask_on() -> None:
            while not stop.is_set():
                replies.append(await runtime.chat())

        asking = [asyncio.create_task(ask_on()) for _ in range(4)]
        await eventually(lambda: any(reply.headers["x-cache"] == "hit" for reply in replies))
        await asyncio.to_thread(redis.kill)
        await eventually(lambda: redis_is(runtime, "down"))
        during = len(replies)
        await eventually(lambda: len(replies) > during + 20)
        await asyncio.to_thread(redis.start)
        await eventually(lambda: redis_is(runtime, "up"))
        after = len(replies)
        await eventually(lambda: any(reply.headers["x-cache"] == "hit" for reply in replies[after:]))
        stop.set()
        await asyncio.gather(*asking)
    assert {reply.status for reply in replies} == {200}
    assert any(reply.headers["x-cache"] == "bypass" for reply in replies[during:after])


async def test_redis_that_is_down_degrades_and_names_itself(upstream: Upstream) -> None:
    async with run_runtime(upstream, redis_url=f"redis://:geheim@127.0.0.1:{free_port()}/0") as runtime:
        await eventually(lambda: provider_up(runtime))
        reply = await runtime.get("/ready")
        assert (await runtime.chat()).status == 200
    assert reply.status == 200
    assert reply.json["status"] == "degraded"
    assert reply.json["degraded"] == ["redis"]
    assert reply.json["checks"]["redis"]["required"] is False
    assert b"geheim" not in reply.body


async def provider_up(runtime: Runtime) -> bool:
    return bool((await runtime.ready())["checks"]["provider"]["status"] == "up")


async def test_no_request_hangs_on_a_redis_that_hangs(
    upstream: Upstream, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("assistant_runtime.stores.redis.COMMAND_SECONDS", 1.0)
    async with run_runtime(upstream, redis_url=redis.url) as runtime:
        await eventually(lambda: redis_is(runtime, "up"))
        redis.freeze()
        replies = await asyncio.wait_for(
            asyncio.gather(*(runtime.chat(user=str(i)) for i in range(60))), PATIENCE_SECONDS
        )
        assert await redis_is(runtime, "down")
    assert {reply.status for reply in replies} == {200}


async def test_the_limit_holds_in_each_process_while_redis_is_down(upstream: Upstream, redis: RedisServer) -> None:
    async with run_runtime(upstream, redis_url=redis.url, rate_limit_requests=3) as runtime:
        await eventually(lambda: redis_is(runtime, "up"))
        assert (await runtime.chat()).status == 200
        redis.kill()
        statuses = [(await runtime.chat()).status for _ in range(5)]
    assert statuses == [200, 200, 200, 429, 429]


async def test_a_full_redis_still_counts_as_up(upstream: Upstream, redis: RedisServer) -> None:
    async with run_runtime(upstream, redis_url=redis.url) as runtime:
        await eventually(lambda: redis_is(runtime, "up"))
        assert (await runtime.chat()).headers["x-cache"] == "miss"
        redis.command("CONFIG", "SET", "maxmemory", "1")
        for _ in range(3):
            assert (await runtime.chat()).headers["x-cache"] == "hit", "it still reads"
        assert (await runtime.chat(user="other")).status == 200
        assert await redis_is(runtime, "up")
        assert "maxmemory" in await eventually(lambda: told_after_a_chat(runtime))


async def told_after_a_chat(runtime: Runtime) -> str:
    await runtime.chat()
    ready = await runtime.ready()
    return str(ready["checks"]["redis"].get("detail", "")) if ready["degraded"] == ["redis"] else ""


async def test_a_wrong_password_is_told_without_the_password(upstream: Upstream, redis: RedisServer) -> None:
    url = redis.url.replace("redis://", "redis://:wrong-password@")
    redis.command("CONFIG", "SET", "requirepass", "right-password")
    async with run_runtime(upstream, redis_url=url) as runtime:
        reply = await runtime.get("/ready")
    assert "REDIS_URL" in reply.json["checks"]["redis"]["detail"]
    assert b"wrong-password" not in reply.body
