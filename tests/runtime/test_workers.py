"""Several workers, as real processes: one sum of metrics, one limit, a killed one replaced, all of them drained."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from assistant_runtime.errors import SettingsError
from assistant_runtime.settings import Settings
from tests.support.redis import RedisServer
from tests.support.runtime import PATIENCE_SECONDS, QUESTION, RuntimeProcess, eventually, run_process
from tests.support.upstream import MODEL, WORDS, Upstream, chunk, hang, paced, whole_stream

WORKERS = 2
LIMIT = 60
AT_ONCE = 12
KEY = "alice-0123456789"
HEADERS = {"authorization": f"Bearer {KEY}"}


@pytest.fixture
async def process(upstream: Upstream, redis: RedisServer, tmp_path: Path) -> AsyncIterator[RuntimeProcess]:
    async with run_workers(upstream, redis, tmp_path) as runtime:
        yield runtime


@asynccontextmanager
async def run_workers(
    upstream: Upstream, redis: RedisServer, tmp_path: Path, **more: str
) -> AsyncIterator[RuntimeProcess]:
    variables = {
        "OPENAI_COMPATIBLE_BASE_URL": upstream.url,
        "OPENAI_COMPATIBLE_DEFAULT_MODEL": MODEL,
        "WORKERS": str(WORKERS),
        "SECRET_KEY": "0123456789abcdef0123456789abcdef",
        "API_KEYS": KEY,
        "REDIS_URL": redis.url,
        "DATABASE_URL": f"sqlite:///{tmp_path}/assistant.db",
        "RATE_LIMIT_REQUESTS": str(LIMIT),
        "RATE_LIMIT_WINDOW": "3600",
        "REDIS_CACHE_ENABLED": "false",
        "DRAIN_DELAY_SECONDS": "0",
        "GRADIO_ENABLED": "false",
        "LOG_FORMAT": "json",
        **more,
    }
    with run_process(tmp_path / "log", **variables) as runtime:
        await asyncio.to_thread(runtime.wait_for, "/ready", 200)
        await eventually(lambda: serving(runtime) >= WORKERS)
        yield runtime
        if runtime.process.poll() is None:
            runtime.process.send_signal(signal.SIGTERM)
            await asyncio.to_thread(runtime.process.wait, PATIENCE_SECONDS)


def events(runtime: RuntimeProcess, name: str) -> list[dict[str, object]]:
    lines = [line for line in runtime.output.splitlines() if line.startswith("{")]
    return [event for event in map(json.loads, lines) if event.get("event") == name]


def serving(runtime: RuntimeProcess) -> int:
    """Count the workers that have begun to serve, from the start on."""
    return len(events(runtime, "redis_status"))


async def ask(runtime: RuntimeProcess) -> int:
    """Ask over a connection of its own, which any worker may take."""
    async with (
        aiohttp.ClientSession(headers=HEADERS) as client,
        client.post(f"{runtime.url}/v1/chat/completions", json=QUESTION) as answer,
    ):
        return answer.status


async def counted(runtime: RuntimeProcess) -> dict[str, float]:
    """Give the chats that were counted, by status."""
    async with aiohttp.ClientSession() as client, client.get(f"{runtime.url}/metrics") as answer:
        families = {family.name: family for family in text_string_to_metric_families(await answer.text())}
    return {
        sample.labels["status"]: sample.value
        for sample in families["http_requests"].samples
        if sample.labels["endpoint"] == "/v1/chat/completions" and sample.name == "http_requests_total"
    }


async def test_limits_and_counters_are_those_of_all_workers_and_outlive_one(process: RuntimeProcess) -> None:
    statuses = await asyncio.gather(*(ask(process) for _ in range(LIMIT)))
    assert statuses == [200] * LIMIT
    assert [await counted(process) for _ in range(8)] == [{"200": LIMIT}] * 8, "whichever worker is asked"

    first = events(process, "worker_started")[0]
    os.kill(int(str(first["pid"])), signal.SIGKILL)
    await eventually(lambda: serving(process) > WORKERS)
    assert [event["worker"] for event in events(process, "worker_ended")] == [first["worker"]]

    statuses = await asyncio.gather(*(ask(process) for _ in range(20)))
    assert statuses == [429] * 20, "the limit is not the new worker's own"
    assert [await counted(process) for _ in range(8)] == [{"200": LIMIT, "429": 20}] * 8


async def test_sigterm_drains_every_worker(process: RuntimeProcess, upstream: Upstream) -> None:
    streams = 8
    upstream.script = [paced] * streams
    clients = [aiohttp.ClientSession(headers=HEADERS) for _ in range(streams)]
    try:
        body = {**QUESTION, "stream": True}
        answers = [await client.post(f"{process.url}/v1/chat/completions", json=body) for client in clients]
        for answer in answers:
            assert await answer.content.readuntil(b"\n\n") == chunk(MODEL, WORDS[0])
        process.process.send_signal(signal.SIGTERM)
        await eventually(lambda: asyncio.to_thread(process.refuses_connections))
        upstream.release.set()
        rest = b"".join(whole_stream(MODEL)[1:])
        assert [await answer.read() for answer in answers] == [rest] * streams
    finally:
        for client in clients:
            await client.close()
    assert await asyncio.to_thread(process.process.wait, PATIENCE_SECONDS) == 0


async def test_requests_in_flight_are_bounded_over_all_workers_and_none_is_left_of_one_that_died(
    upstream: Upstream, redis: RedisServer, tmp_path: Path
) -> None:
    upstream.default = hang
    bound = {"MAX_CONCURRENT_REQUESTS": str(AT_ONCE), "RATE_LIMIT_ENABLED": "false"}
    async with run_workers(upstream, redis, tmp_path, **bound) as process:
        asking = [asyncio.create_task(ask(process)) for _ in range(AT_ONCE)]
        await eventually(lambda: len(upstream.requests) == AT_ONCE)
        assert {await ask(process) for _ in range(8)} == {503}, "whichever worker is asked"

        first = events(process, "worker_started")[0]
        os.kill(int(str(first["pid"])), signal.SIGKILL)
        await eventually(lambda: serving(process) > WORKERS)
        room = sum(each.done() for each in asking)
        asking += [asyncio.create_task(ask(process)) for _ in range(room)]
        await eventually(lambda: len(upstream.requests) == AT_ONCE + room)
        assert {await ask(process) for _ in range(8)} == {503}
        upstream.release.set()
        for each in asking:
            each.cancel()
        await asyncio.gather(*asking, return_exceptions=True)


def test_several_workers_need_what_they_share() -> None:
    with pytest.raises(SettingsError) as refused:
        Settings.load(workers=2, data_dir="/data")
    told = str(refused.value)
    assert [name for name in ("SECRET_KEY", "REDIS_URL", "MONGODB_URL", "DATA_DIR") if name not in told] == []
