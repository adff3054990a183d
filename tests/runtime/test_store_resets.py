"""Connections that break while nobody uses them, under the event loop of production."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import uvloop

from assistant_runtime.settings import Settings
from assistant_runtime.stores.connection import StoreConnection
from assistant_runtime.stores.redis_client import redis_connection
from tests.support.chaos import ChaosProxy, Fault, Kind, chaos
from tests.support.redis import RedisServer
from tests.support.runtime import eventually


def under_uvloop(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(test())


def test_an_idle_connection_that_is_reset_costs_redis_one_probe_at_most(redis: RedisServer) -> None:
    """uvloop raises a RuntimeError for a write to a transport whose peer has reset the connection."""

    async def test() -> None:
        with chaos(redis.port) as proxy:
            connection = redis_connection(Settings.load(redis_url=f"redis://127.0.0.1:{proxy.port}/0"))
            await connection.probe()
            await connection.execute("PING")  # takes the probe's connection for the pipeline
            await connection.probe()
            assert proxy.connections == 2
            proxy.strike(Fault(Kind.RESET))
            await works_again(connection, proxy)
            await connection.aclose()

    under_uvloop(test)


async def works_again(connection: StoreConnection, proxy: ChaosProxy) -> None:
    """The probe's task lives on, and finds out that the server answers."""
    probing = asyncio.create_task(connection.run())
    try:
        await eventually(lambda: probing.done() or (proxy.connections and connection.available))
        connection._failed.set()
        await eventually(lambda: probing.done() or connection.available)
        assert not probing.done()
    finally:
        probing.cancel()
        await asyncio.gather(probing, return_exceptions=True)
