"""Several operators on a real API server: one writes, another takes its place, and never do two write at once."""

import asyncio
import signal
import subprocess
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

from assistant_operator.cluster import watch
from assistant_operator.cluster.client import ApiServer
from assistant_operator.cluster.fence import Fence
from assistant_operator.engine.engine import Engine
from assistant_operator.engine.leader import Elector, Terms
from assistant_operator.settings import Settings
from assistant_operator.telemetry import Metrics
from devcluster.cluster import Cluster
from tests.operator.assistants import resource
from tests.support.faults import before, through
from tests.support.kube import PROGRAM, Kube, audit_mark, eventually, running_operator, writers
from tests.support.server import free_port

pytestmark = pytest.mark.cluster

T = TypeVar("T")
SMALL: dict[str, Any] = {name: {"enabled": False} for name in ("redis", "mongodb", "milvus", "searxng")}
SYSTEM, LEASE = "operator-system", "assistant-operator"
QUICK = {"lease_duration_seconds": "4", "renew_deadline_seconds": "2", "retry_period_seconds": "1"}
"""A Lease that ends soon."""
LONG = {"lease_duration_seconds": "300", "renew_deadline_seconds": "200", "retry_period_seconds": "1"}
"""A Lease that does not end within a test: whoever gets it was given it."""
OLDER = f"import assistant_operator; assistant_operator.__version__ = '0.0.1'; {PROGRAM}"
NEWER = f"import assistant_operator; assistant_operator.__version__ = '99.0.0'; {PROGRAM}"


class Operators:
    """Processes that share a Lease."""

    def __init__(self, cluster: Cluster, account: Path, place: Path, stack: ExitStack, times: dict[str, str]) -> None:
        self.system = Kube(cluster, SYSTEM)
        self._account, self._place, self._stack, self._times = account, place, stack, times
        self.ports: dict[int, int] = {}
        """Port of each, by process."""

    def start(self, *, program: str = PROGRAM, **settings: str) -> subprocess.Popen[bytes]:
        """Start one, and wait until its caches are filled."""
        port = free_port()
        settings = {"lease": f"{SYSTEM}/{LEASE}", "http_port": str(port), **self._times, **settings}
        log = self._place / f"{len(self.ports)}.log"
        process = self._stack.enter_context(running_operator(self._account, log, program=program, **settings))
        self.ports[process.pid] = port
        return process

    def holder(self) -> str:
        lease = self.system.get("lease", LEASE) or {"spec": {}}
        return str(lease["spec"].get("holderIdentity") or "")

    def leads(self, process: subprocess.Popen[bytes]) -> bool:
        return f"_{process.pid}_" in self.holder()

    def wait_for(self, process: subprocess.Popen[bytes]) -> None:
        eventually(lambda: self.leads(process), f"{process.pid} leads", last=self.holder)

    def ready(self, process: subprocess.Popen[bytes]) -> str:
        """Return what /readyz says."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[process.pid]}/readyz", timeout=30) as answer:
            return str(answer.read().decode())


@contextmanager
def _operators(kube: Kube, account: Path, place: Path, times: dict[str, str]) -> Iterator[Operators]:
    system = Kube(kube.cluster, SYSTEM)
    system.run("delete", "lease", LEASE, "--ignore-not-found")
    with ExitStack() as stack:
        yield Operators(kube.cluster, account, place, stack, times)


def _create(kube: Kube) -> None:
    kube.api.create({**resource("demo", **SMALL), "metadata": {"name": "demo"}}, kube.namespace)
    eventually(lambda: _replicas(kube) >= 0, "the runtime is deployed")


def _replicas(kube: Kube) -> int:
    deployment = kube.get("deployment", "demo-runtime")
    return deployment["spec"]["replicas"] if deployment else -1


def _scale(kube: Kube, replicas: int) -> None:
    kube.run("scale", "aia/demo", f"--replicas={replicas}")
    eventually(lambda: _replicas(kube) == replicas, "the change is reconciled")


def test_another_takes_over_from_a_leader_that_was_killed(kube: Kube, account: Path, tmp_path: Path) -> None:
    mark = audit_mark(kube.cluster)
    with _operators(kube, account, tmp_path, QUICK) as operators:
        first, second = operators.start(), operators.start()
        operators.wait_for(first)
        _create(kube)
        eventually(
            lambda: operators.ready(second) == "ok: standby",
            "the second is ready",
            last=lambda: operators.ready(second),
        )
        assert operators.ready(first) == "ok: leader"
        first.kill()
        _scale(kube, 1)
        assert operators.leads(second)
        assert len(writers(kube.cluster, mark, kube.namespace)) == 2


def test_a_leader_that_is_stopped_hands_over(kube: Kube, account: Path, tmp_path: Path) -> None:
    """Its Lease would last for five minutes."""
    mark = audit_mark(kube.cluster)
    with _operators(kube, account, tmp_path, LONG) as operators:
        first, second = operators.start(), operators.start()
        operators.wait_for(first)
        _create(kube)
        first.terminate()
        _scale(kube, 1)
        assert operators.leads(second)
        assert len(writers(kube.cluster, mark, kube.namespace)) == 2
    assert operators.holder() == "", "the last one releases it too"


def test_a_leader_that_was_frozen_writes_nothing_when_it_wakes_up(kube: Kube, account: Path, tmp_path: Path) -> None:
    mark = audit_mark(kube.cluster)
    with _operators(kube, account, tmp_path, QUICK) as operators:
        first, second = operators.start(), operators.start()
        operators.wait_for(first)
        _create(kube)
        first.send_signal(signal.SIGSTOP)
        try:
            _scale(kube, 1)
        finally:
            first.send_signal(signal.SIGCONT)
        _scale(kube, 2)
        eventually(lambda: operators.ready(first) == "ok: standby", "the first stands by")
        _scale(kube, 1)
        assert operators.leads(second)
        assert len(writers(kube.cluster, mark, kube.namespace)) == 2


def test_an_older_leader_makes_room_for_a_newer_version_and_no_pod_restarts(
    kube: Kube, account: Path, tmp_path: Path
) -> None:
    mark = audit_mark(kube.cluster)
    images = '{"runtime": "localhost/assistant-runtime:1"}'
    with _operators(kube, account, tmp_path, LONG) as operators:
        older = operators.start(program=OLDER, images=images)
        operators.wait_for(older)
        _create(kube)
        template = kube.must("deployment", "demo-runtime")["spec"]["template"]
        newer = operators.start(program=NEWER, images=images)
        operators.wait_for(newer)
        another = operators.start(program=OLDER, images=images)
        _scale(kube, 1)
        eventually(lambda: operators.ready(older) == "ok: standby", "the older one stands by, and did not restart")
        assert operators.ready(another) == "ok: standby"
        assert operators.leads(newer)
        assert kube.must("deployment", "demo-runtime")["spec"]["template"] == template
        agents = writers(kube.cluster, mark, kube.namespace)
    assert [agent.split()[0] for agent in agents] == ["assistant-operator/0.0.1", "assistant-operator/99.0.0"]


@asynccontextmanager
async def _operator(kubeconfig: Path, name: str) -> AsyncIterator[Elector]:
    """Run an operator in this process, under a name of the test's choice."""
    settings = Settings(lease=f"{SYSTEM}/{LEASE}", **{key: int(value) for key, value in QUICK.items()})  # type: ignore[arg-type]
    gate, where = Fence(margin_seconds=settings.lease_margin_seconds), str(kubeconfig)
    async with (
        await ApiServer.connect(kubeconfig=where, fence=gate, identity=name) as api,
        await ApiServer.connect(kubeconfig=where) as lease_api,
    ):
        engine = Engine(settings, api, Metrics())
        elector = Elector(lease_api, Terms.of(settings, name), gate, Metrics())

        async def lead() -> None:
            await engine.synced()
            await elector.run(engine.work)

        tasks = [asyncio.create_task(engine.watch()), asyncio.create_task(lead())]
        try:
            yield elector
            assert not any(task.done() for task in tasks), "nothing ends the operator"
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)


async def _eventually(check: Callable[[], T | None], what: str) -> T:
    """Wait in a thread, so that the operators go on."""
    return await asyncio.to_thread(eventually, check, what)


async def test_a_leader_that_is_cut_off_stops_before_another_writes(
    kube: Kube, account: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "_WATCH_SECONDS", (2, 2))  # the proxy ends when they have
    mark = audit_mark(kube.cluster)
    Kube(kube.cluster, SYSTEM).run("delete", "lease", LEASE, "--ignore-not-found")
    async with before(kube.cluster).serving() as proxy:
        apart = through(proxy, account, tmp_path / "kubeconfig")
        async with _operator(apart, "cut-off") as first:
            await _eventually(lambda: first.role == "leader", "the first leads")
            await asyncio.to_thread(_create, kube)
            async with _operator(account, "other") as second:
                proxy.part()
                await asyncio.to_thread(kube.run, "scale", "aia/demo", "--replicas=1")
                roles = []
                while second.role == "standby":
                    roles.append(first.role)
                    await asyncio.sleep(0.01)
                assert roles[-1] == "standby", "the first has stopped before the second began"
                await _eventually(lambda: _replicas(kube) == 1, "the change is reconciled")
                proxy.join()
                await asyncio.to_thread(_scale, kube, 2)
                await _eventually(lambda: first._sight.record and first._sight.record.holder == "other", "it sees that")
                assert (first.role, second.role) == ("standby", "leader")
            await asyncio.to_thread(_scale, kube, 1)
            assert first.role == "leader", "it never ended, and leads again"
    agents = writers(kube.cluster, mark, kube.namespace)
    assert [agent.split()[1] for agent in agents] == ["(cut-off)", "(other)", "(cut-off)"]
