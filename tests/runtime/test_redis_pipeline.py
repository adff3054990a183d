"""Commands that share an exchange with Redis: each is answered, refused and given up by itself."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis
from redis.exceptions import ReadOnlyError, RedisError, ResponseError

from assistant_runtime.stores.redis import RedisConnection, Script
from assistant_runtime.stores.redis_pipeline import Pipeline
from tests.support.redis import RedisServer
from tests.support.runtime import eventually


@pytest.fixture
async def client(redis: RedisServer) -> AsyncIterator[Redis]:
    async with Redis.from_url(redis.url) as client:
        yield client


async def commands(client: Redis) -> int:
    return int((await client.info("stats"))["total_commands_processed"])


async def reads(client: Redis) -> int:
    return int((await client.info("stats"))["total_reads_processed"])


async def test_everyone_gets_the_reply_to_their_own_command(client: Redis) -> None:
    pipeline = Pipeline(client.connection_pool, 30.0)
    before = await commands(client), await reads(client)
    replies = await asyncio.gather(*(pipeline.execute("ECHO", f"{number}") for number in range(500)))
    after = await commands(client), await reads(client)
    assert replies == [str(number).encode() for number in range(500)]
    assert after[0] - before[0] >= 500
    assert after[1] - before[1] < 50, "they went together"


async def test_a_command_that_is_refused_leaves_the_others_alone(client: Redis) -> None:
    pipeline = Pipeline(client.connection_pool, 30.0)
    await client.set("text", "one")
    asked = (pipeline.execute("ECHO", "a"), pipeline.execute("INCR", "text"), pipeline.execute("ECHO", "b"))
    first, refused, last = list(await asyncio.gather(*asked, return_exceptions=True))
    assert (first, last) == (b"a", b"b")
    assert isinstance(refused, ResponseError)


async def test_whoever_stops_waiting_leaves_the_others_their_replies(client: Redis) -> None:
    pipeline = Pipeline(client.connection_pool, 30.0)
    waiting = [asyncio.create_task(pipeline.execute("ECHO", f"{number}")) for number in range(100)]
    await asyncio.sleep(0)
    for task in waiting[::2]:
        task.cancel()
    await asyncio.wait(waiting)
    assert [task.result() for task in waiting[1::2]] == [str(number).encode() for number in range(1, 100, 2)]


async def test_a_server_that_hangs_is_given_up_for_everyone_and_comes_back(client: Redis, redis: RedisServer) -> None:
    pipeline = Pipeline(client.connection_pool, 0.2)
    redis.freeze()
    asked = [pipeline.execute("ECHO", "x") for _ in range(10)]
    results = await asyncio.gather(*asked, return_exceptions=True)
    assert all(isinstance(result, TimeoutError | RedisError) for result in results)
    redis.thaw()
    again = Pipeline(client.connection_pool, 30.0)
    assert await again.execute("ECHO", "y") == b"y", "no reply of before is left in the connection"


async def test_a_connection_that_the_server_closed_is_made_anew(client: Redis) -> None:
    pipeline = Pipeline(client.connection_pool, 30.0)
    first = await pipeline.execute("CLIENT", "ID")
    await client.client_kill_filter(_id=first)
    line = pipeline._line
    assert line is not None
    await eventually(lambda: not line.open)
    assert await pipeline.execute("CLIENT", "ID") != first


async def test_a_server_that_is_no_master_any_more_is_left(client: Redis) -> None:
    pipeline = Pipeline(client.connection_pool, 30.0)
    first = await pipeline.execute("CLIENT", "ID")
    await client.execute_command("REPLICAOF", "127.0.0.1", "1")
    try:
        with pytest.raises(ReadOnlyError):
            await pipeline.execute("SET", "text", "one")
    finally:
        await client.execute_command("REPLICAOF", "NO", "ONE")
    assert await pipeline.execute("CLIENT", "ID") != first


async def test_what_is_asked_in_one_turn_of_a_connection_that_breaks_fails_for_everyone(client: Redis) -> None:
    pipeline = Pipeline(client.connection_pool, 30.0)
    await pipeline.execute("PING")
    results = await asyncio.gather(
        pipeline.execute("QUIT"), *(pipeline.execute("ECHO", "x") for _ in range(10)), return_exceptions=True
    )
    assert results[0] == b"OK"
    assert all(isinstance(result, ConnectionError) for result in results[1:])
    assert await pipeline.execute("ECHO", "y") == b"y"


@pytest.mark.parametrize("turn", range(12))
async def test_a_process_that_gets_no_cpu_for_an_exchange_s_time_goes_on(client: Redis, turn: int) -> None:
    pipeline = Pipeline(client.connection_pool, 0.05)
    first = asyncio.create_task(pipeline.execute("ECHO", "a"))
    for _ in range(turn):
        await asyncio.sleep(0)
    second = asyncio.create_task(pipeline.execute("ECHO", "b"))
    time.sleep(0.1)  # noqa: ASYNC251 - the loop stands still, and the time is over
    results = await asyncio.gather(first, second, return_exceptions=True)
    answers = zip(results, (b"a", b"b"), strict=True)
    assert all(result == reply or isinstance(result, TimeoutError | RedisError) for result, reply in answers), results
    assert await Pipeline(client.connection_pool, 30.0).execute("ECHO", "c") == b"c"


async def test_a_script_that_redis_does_not_know_is_sent_once(client: Redis) -> None:
    connection = RedisConnection(client)
    await connection.probe()
    script = Script("return {KEYS[1], ARGV[1]}")
    assert await connection.evaluate(script, ("key",), 1) == [b"key", b"1"]
    assert (await client.script_exists(script.sha)) == [True]
    await client.script_flush()
    assert await connection.evaluate(script, ("key",), 2) == [b"key", b"2"]
    assert connection.available
