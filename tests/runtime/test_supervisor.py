"""Background tasks: whatever one raises, it runs again, and /ready and the metrics report it."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from assistant_runtime import supervisor
from assistant_runtime.supervisor import Supervisor, Work
from assistant_runtime.telemetry import Metrics
from tests.support.runtime import Runtime, cancelled, eventually, run_runtime
from tests.support.server import free_port
from tests.support.upstream import Upstream


class DefectError(Exception):
    """What no code of the runtime expects."""


class Breaking:
    """Work that ends by a DefectError when it first waits for something, and is itself from then on."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._broken = False
        self.running_again = False

    async def run(self) -> None:
        if self._broken:
            self.running_again = True
            await self._work()
        self._broken = True
        begun = asyncio.create_task(self._work())
        await asyncio.sleep(0.01)
        await cancelled(begun)
        raise DefectError


def everything(folder: Path) -> dict[str, Any]:
    """Every part that has work in the background; the servers need not answer for that."""

    def address() -> str:
        return f"127.0.0.1:{free_port()}"

    return {
        "redis_url": f"redis://{address()}",
        "mongodb_url": f"mongodb://{address()}",
        "database_url": f"sqlite:///{folder}/keys.db",
        "milvus_url": f"http://{address()}",
        "searxng_url": f"http://{address()}",
        "firecrawl_deployment_mode": "docker",
        "firecrawl_tool_enabled": True,
        "firecrawl_docker_url": f"http://{address()}",
        "jina_reranker_url": f"http://{address()}",
        "mcp_servers": [{"name": "desk", "url": f"http://{address()}/mcp"}],
        "oidc_issuer": f"http://{address()}",
        "oidc_audience": "assistant",
        "api_keys": "sk-admin-key-of-this-test",
        "audit_enabled": True,
        "multi_writer_enabled": True,
        "secret_key": "s" * 32,
    }


WORKS = {
    "audit",
    "database",
    "database-preparation",
    "event-loop",
    "firecrawl",
    "mcp-desk",
    "milvus",
    "mongodb",
    "mongodb-preparation",
    "oidc",
    "provider-first",
    "redis",
    "reranker",
    "retention",
    "retention-of-jobs",
    "searxng",
    "usage",
    "writing-jobs",
}


async def test_every_background_task_that_raises_runs_again(
    upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    breaking: dict[str, Breaking] = {}
    running = Supervisor.running

    @asynccontextmanager
    async def broken_once(self: Supervisor, works: Mapping[str, Work]) -> AsyncIterator[None]:
        breaking.update({name: Breaking(work) for name, work in works.items()})
        async with running(self, {name: each.run for name, each in breaking.items()}):
            yield

    monkeypatch.setattr(Supervisor, "running", broken_once)
    monkeypatch.setattr("assistant_runtime.app.FIRST_PROBE_SECONDS", 0.1)
    async with run_runtime(upstream, **everything(tmp_path)) as runtime:
        await eventually(lambda: all(each.running_again for each in breaking.values()))
        assert set(breaking) == WORKS
        assert await eventually(partial(all_up, runtime))
        assert (await runtime.get("/ready")).status == 200
        told = (await runtime.ready())["checks"]["background"]
        assert told["degraded"]
        assert "redis (DefectError)" in told["detail"]


async def all_up(runtime: Runtime) -> bool:
    lines = (await runtime.get("/metrics")).body.decode().splitlines()
    up = {line for line in lines if line.startswith("background_task_up{")}
    assert 'background_task_restarts_total{task="redis"} 1.0' in lines
    return up == {f'background_task_up{{task="{name}"}} 1.0' for name in WORKS}


async def test_the_application_has_no_other_work(
    upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What goes on while nobody asks anything is the supervisor's, the server's or a driver's."""
    monkeypatch.setattr("assistant_runtime.app.FIRST_PROBE_SECONDS", 0.1)
    async with run_runtime(upstream, **everything(tmp_path)) as runtime:
        assert (await runtime.get("/health")).status == 200
        await eventually(lambda: {task.get_name() for task in asyncio.all_tasks()} >= WORKS)
        ours = {task for task in asyncio.all_tasks() if "assistant_runtime" in str(task.get_coro())}
        coroutines = {task.get_coro().__qualname__ for task in ours if task.get_name() not in WORKS}  # type: ignore[union-attr]
    assert coroutines <= {"RuntimeServer.serve", "SharedCall._run"}


async def test_work_that_ends_or_is_cancelled_from_within_is_restarted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "FIRST_PAUSE_SECONDS", 0.001)
    starts = 0

    async def ends() -> None:
        nonlocal starts
        starts += 1
        if starts % 2:
            raise asyncio.CancelledError

    async with Supervisor(Metrics(enabled=False)).running({"work": ends}):
        await eventually(lambda: starts > 4)


async def test_what_fails_each_time_is_tried_ever_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    done = asyncio.Event()

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 30:
            done.set()
            await asyncio.Event().wait()

    async def fails() -> None:
        raise DefectError

    monkeypatch.setattr("assistant_runtime.supervisor.asyncio.sleep", sleep)
    monkeypatch.setattr("assistant_runtime.supervisor.random.uniform", lambda least, most: (least + most) / 2)
    async with Supervisor(Metrics(enabled=False)).running({"work": fails}):
        await done.wait()
    assert pauses[0] == supervisor.FIRST_PAUSE_SECONDS
    assert max(pauses) <= supervisor.LONGEST_PAUSE_SECONDS
    assert min(pauses[15:]) > 1, "by then it is rare"


async def test_a_failure_is_forgotten_when_the_work_has_run_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    watched = Supervisor(Metrics(enabled=False), clock=lambda: now)
    monkeypatch.setattr(supervisor, "FIRST_PAUSE_SECONDS", 0.001)
    failed = False

    async def fails_once() -> None:
        nonlocal failed
        if not failed:
            failed = True
            raise DefectError
        await asyncio.Event().wait()

    async with watched.running({"work": fails_once}):
        assert await eventually(lambda: watched.check().get("degraded"))
        now = supervisor.SETTLED_SECONDS + 1
        assert watched.check() == {"status": "up", "required": False}
