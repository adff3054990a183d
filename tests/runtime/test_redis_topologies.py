"""Redis as a Cluster, and as a master that Sentinels name: limits and cache work, and a lost master is got over."""

import asyncio
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support.redis import RedisServer
from tests.support.redis_topologies import (
    ClusterNode,
    RedisCluster,
    RedisSentinels,
    run_redis_cluster,
    run_redis_sentinels,
)
from tests.support.runtime import Reply, Runtime, eventually, run_runtime
from tests.support.server import running
from tests.support.tls import Authority, strict_by_default
from tests.support.upstream import Upstream


@pytest.fixture
def cluster() -> Iterator[RedisCluster]:
    with run_redis_cluster() as found:
        yield found


@pytest.fixture
def sentinels() -> Iterator[RedisSentinels]:
    with run_redis_sentinels() as found:
        yield found


def by_cluster(found: RedisCluster) -> dict[str, Any]:
    hosts = ",".join(f"127.0.0.1:{node.port}" for node in found.nodes[:3])
    return {"redis_url": f"redis://{hosts}/0", "redis_topology": "cluster"}


def by_sentinels(found: RedisSentinels) -> dict[str, Any]:
    hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in found.sentinels)
    return {
        "redis_url": f"redis://{hosts}/0",
        "redis_topology": "sentinel",
        "redis_sentinel_master": found.master_name,
    }


async def redis_is(runtime: Runtime, status: str) -> bool:
    return bool((await runtime.ready())["checks"]["redis"]["status"] == status)


async def works(upstream: Upstream, settings: dict[str, Any]) -> None:
    """Limits, cache, budgets and sessions are common to two replicas."""
    common = {**settings, "secret_key": "s" * 32, "rate_limit_requests": 6, "token_budget_daily": 10_000_000}
    async with run_runtime(upstream, **common) as one, run_runtime(upstream, **common) as other:
        for runtime in (one, other):
            await eventually(partial(redis_is, runtime, "up"))
        replies = [await runtime.chat() for runtime in (one, other, one, other, one, other, one)]
    assert [reply.status for reply in replies] == [200] * 6 + [429]
    assert [reply.headers["x-cache"] for reply in replies[:6]] == ["miss"] + ["hit"] * 5


async def survives(upstream: Upstream, settings: dict[str, Any], master: RedisServer) -> None:
    """A master that is killed under load costs no chat, and Redis is in use again when another has taken over."""
    async with run_runtime(upstream, **settings, rate_limit_requests=100_000) as runtime:
        await eventually(lambda: redis_is(runtime, "up"))
        replies: list[Reply] = []
        stop = asyncio.Event()

        async def ask_on() -> None:
            while not stop.is_set():
                replies.append(await runtime.chat(user=str(len(replies) % 50)))

        asking = [asyncio.create_task(ask_on()) for _ in range(2)]
        await eventually(lambda: any(reply.headers["x-cache"] == "hit" for reply in replies))
        await asyncio.to_thread(master.kill)
        await eventually(lambda: redis_is(runtime, "down"))
        await eventually(lambda: redis_is(runtime, "up"))
        before = len(replies)
        await eventually(lambda: any(reply.headers["x-cache"] == "hit" for reply in replies[before:]))
        stop.set()
        await asyncio.gather(*asking)
    assert {reply.status for reply in replies} == {200}


async def test_a_cluster_is_shared(upstream: Upstream, cluster: RedisCluster) -> None:
    await works(upstream, by_cluster(cluster))


async def test_a_cluster_that_loses_a_master(upstream: Upstream, cluster: RedisCluster) -> None:
    await survives(upstream, by_cluster(cluster), cluster.masters()[0])


async def caches_everything(runtime: Runtime) -> bool:
    """Whether every one of many answers, which all masters share, is kept and found again."""
    questions = [[{"role": "user", "content": f"What is {number}?"}] for number in range(30)]
    for wanted in ("miss", "hit"):
        for messages in questions:
            cached = (await runtime.chat(messages=messages)).headers["x-cache"]
            if cached not in (wanted, "hit"):
                return False
    return True


async def test_a_cluster_whose_master_says_nothing_at_all(
    upstream: Upstream, cluster: RedisCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the address of a pod that is gone: it neither answers nor refuses."""
    monkeypatch.setattr("assistant_runtime.stores.redis.COMMAND_SECONDS", 2.0)
    async with run_runtime(upstream, **by_cluster(cluster), rate_limit_requests=100_000) as runtime:
        await eventually(lambda: caches_everything(runtime))
        cluster.masters()[0].freeze()
        await asyncio.to_thread(cluster.wait)
        await eventually(lambda: caches_everything(runtime))


async def test_a_cluster_that_is_formed_after_the_runtime_started(upstream: Upstream) -> None:
    with running(ClusterNode) as node:
        settings = {"redis_url": node.url, "redis_topology": "cluster", "rate_limit_requests": 100_000}
        async with run_runtime(upstream, **settings) as runtime:
            await eventually(lambda: redis_is(runtime, "down"))
            assert (await runtime.chat()).status == 200
            node.command("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
            await eventually(lambda: caches_everything(runtime))


async def test_the_master_of_sentinels_is_shared(upstream: Upstream, sentinels: RedisSentinels) -> None:
    await works(upstream, by_sentinels(sentinels))


async def test_sentinels_may_have_no_password_or_one_of_their_own(
    upstream: Upstream, sentinels: RedisSentinels
) -> None:
    for server in sentinels.servers:
        server.command("CONFIG", "SET", "masterauth", "of-redis", "requirepass", "of-redis")
    for sentinel in sentinels.sentinels:
        sentinel.command("SENTINEL", "SET", sentinels.master_name, "auth-pass", "of-redis")
    settings = {**by_sentinels(sentinels), "redis_password": "of-redis"}
    await works(upstream, {**settings, "redis_sentinel_auth_enabled": False})
    for sentinel in sentinels.sentinels:
        sentinel.command("ACL", "SETUSER", "default", "resetpass", ">of-sentinels")
    for refused in (None, "another"):
        async with run_runtime(upstream, **{**settings, "redis_sentinel_password": refused}) as runtime:
            await eventually(partial(redis_is, runtime, "down"))
            told = (await runtime.ready())["checks"]["redis"]["detail"]
        assert told.startswith("the Sentinels refuse the password in REDIS_SENTINEL_PASSWORD or")
    another_database = settings["redis_url"].removesuffix("0") + "1"
    await works(upstream, {**settings, "redis_url": another_database, "redis_sentinel_password": "of-sentinels"})


async def test_sentinels_of_which_the_first_say_nothing_at_all(
    upstream: Upstream, sentinels: RedisSentinels, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the addresses of pods that are gone: they neither answer nor refuse."""
    monkeypatch.setattr("assistant_runtime.stores.redis.COMMAND_SECONDS", 2.0)
    for lost in sentinels.sentinels[:2]:
        lost.freeze()
    async with run_runtime(upstream, **by_sentinels(sentinels)) as runtime:
        await eventually(lambda: redis_is(runtime, "up"))


async def test_sentinels_name_another_master(upstream: Upstream, sentinels: RedisSentinels) -> None:
    await survives(upstream, by_sentinels(sentinels), sentinels.master())


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
    strict_by_default(monkeypatch)
    return Authority(tmp_path, "ours")


async def is_not_trusted(upstream: Upstream, settings: dict[str, Any], folder: Path) -> None:
    """With another authority, and without any, the reason says so, and chat goes on."""
    other = {"redis_ca_file": str(Authority(folder, "other").certificate)}
    of_the_system = {"redis_url": settings["redis_url"].replace("redis://", "rediss://")}
    for changed in (other, of_the_system):
        async with run_runtime(upstream, **{**settings, **changed}) as runtime:
            await eventually(lambda: redis_is(runtime, "down"))
            assert (await runtime.chat()).status == 200
            told = (await runtime.ready())["checks"]["redis"]["detail"]
        assert "has a certificate that is not trusted" in told
        assert "set REDIS_CA_FILE to the authority that it comes from" in told


async def holds_over_tls(
    upstream: Upstream, settings: dict[str, Any], authority: Authority, folder: Path, master: RedisServer
) -> None:
    """Without our authority nobody is trusted; with it Redis works, and survives the loss of a master."""
    await is_not_trusted(upstream, settings, folder)
    trusted = {**settings, "redis_ca_file": str(authority.certificate)}
    await works(upstream, trusted)
    await survives(upstream, trusted, master)


async def test_a_cluster_over_tls(upstream: Upstream, authority: Authority, tmp_path: Path) -> None:
    with run_redis_cluster(authority) as found:
        await holds_over_tls(upstream, by_cluster(found), authority, tmp_path, found.masters()[0])


async def test_sentinels_over_tls(upstream: Upstream, authority: Authority, tmp_path: Path) -> None:
    with run_redis_sentinels(authority) as found:
        await holds_over_tls(upstream, by_sentinels(found), authority, tmp_path, found.master())
