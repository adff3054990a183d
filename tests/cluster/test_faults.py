"""A real API server behind a proxy that treats watches badly: after each fault all is as it should be.

The engine runs in the test's own process, so that the test sees what it has forgotten; its watches last two seconds and
not thirty.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import pytest

from assistant_operator.cluster import watch
from assistant_operator.cluster.client import ApiServer
from assistant_operator.engine import pulse
from assistant_operator.engine.engine import Engine
from assistant_operator.settings import Settings
from assistant_operator.telemetry import Metrics
from devcluster.cluster import Cluster
from tests.operator.assistants import resource
from tests.support.faults import FaultyProxy, before, through
from tests.support.kube import Kube, eventually, install

pytestmark = pytest.mark.cluster

T = TypeVar("T")
ASSISTANTS, SERVICES = "aiassistants", "services"
SMALL: dict[str, Any] = {name: {"enabled": False} for name in ("redis", "mongodb", "milvus", "searxng")}
EXPIRED = b'{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired","message":"too old"}}\n'
DEAF = b'{"type":"ADDED","object":{"metadata":{"name":"nobody"}}}\n'


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have watches end, and be missed, within seconds."""
    monkeypatch.setattr(watch, "_WATCH_SECONDS", (2, 2))
    monkeypatch.setattr("assistant_operator.cluster.client.WATCH_SILENCE_SECONDS", 1)


@asynccontextmanager
async def _running(
    cluster: Cluster, account: Path, place: Path, *namespaces: str
) -> AsyncIterator[tuple[Engine, FaultyProxy]]:
    async with before(cluster).serving() as proxy:
        kubeconfig = through(proxy, account, place / "kubeconfig")
        async with await ApiServer.connect(kubeconfig=str(kubeconfig)) as api:
            engine = Engine(Settings(watch_namespaces=namespaces), api, Metrics())
            task = asyncio.create_task(engine.run())
            try:
                yield engine, proxy
                assert not task.done(), "nothing ends the engine"
            finally:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task


async def _eventually(check: Callable[[], T | None], what: str) -> T:
    """Wait in a thread, so that the engine goes on."""
    return await asyncio.to_thread(eventually, check, what, timeout=60)


def _create(kube: Kube, name: str) -> None:
    kube.api.create({**resource(name, **SMALL), "metadata": {"name": name}}, kube.namespace)


def _replicas(kube: Kube) -> int:
    deployment = kube.get("deployment", "steady-runtime")
    return deployment["spec"]["replicas"] if deployment else -1


def _twice(line: bytes) -> Iterable[bytes]:
    return (line, line)


def _backwards() -> Callable[[bytes], Iterable[bytes]]:
    """Return what sends each line after the one that follows it."""
    kept: list[bytes] = []

    def mangle(line: bytes) -> Iterable[bytes]:
        kept.append(line)
        if len(kept) == 2:
            second, first = kept.pop(), kept.pop()
            return (second, first)
        return ()

    return mangle


async def _do(action: Callable[[], Any]) -> None:
    action()


FAULTS: dict[str, Callable[[FaultyProxy], Awaitable[None]]] = {
    "cut": lambda proxy: _do(lambda: proxy.cut(ASSISTANTS)),
    "truncated": lambda proxy: _do(lambda: proxy.mangle(ASSISTANTS, lambda line: (line[: len(line) // 2], b"\n"))),
    "garbage": lambda proxy: proxy.write(ASSISTANTS, b"\x00\xff<html>\n"),
    "an event that names nothing": lambda proxy: proxy.write(ASSISTANTS, DEAF),
    "410": lambda proxy: _do(lambda: proxy.refuse(ASSISTANTS, 410, 1)),
    "410 as an event": lambda proxy: proxy.write(ASSISTANTS, EXPIRED),
    "429": lambda proxy: _do(lambda: proxy.refuse(ASSISTANTS, 429, 2)),
    "500": lambda proxy: _do(lambda: proxy.refuse(ASSISTANTS, 500, 2)),
    "403": lambda proxy: _do(lambda: proxy.refuse(ASSISTANTS, 403, 2)),
    "an expired token": lambda proxy: _do(lambda: proxy.refuse(ASSISTANTS, 401, 2)),
    "doubled": lambda proxy: _do(lambda: proxy.mangle(ASSISTANTS, _twice)),
    "late": lambda proxy: _do(lambda: proxy.mangle(ASSISTANTS, _backwards())),
    "silent": lambda proxy: _do(lambda: proxy.silence(ASSISTANTS)),
}


async def test_after_every_fault_a_change_is_made_and_a_deletion_is_noticed(
    kube: Kube, control_plane: Cluster, account: Path, tmp_path: Path
) -> None:
    async with _running(control_plane, account, tmp_path) as (engine, proxy):
        await asyncio.to_thread(_create, kube, "steady")
        await _eventually(lambda: _replicas(kube) >= 0, "the runtime is deployed")
        known = engine._phases.keys()  # others in it are those of tests before, whose namespaces go
        for number, (fault, inject) in enumerate(FAULTS.items(), start=1):
            await asyncio.to_thread(_create, kube, doomed := f"doomed-{number}")
            other = (kube.namespace, doomed)
            await _eventually(lambda: other in known, f"the other is known, before: {fault}")  # noqa: B023 - awaited here
            await inject(proxy)
            await asyncio.to_thread(kube.run, "scale", "aia/steady", f"--replicas={number}")
            await asyncio.to_thread(kube.api.delete, "aia", doomed, kube.namespace)
            await _eventually(lambda: _replicas(kube) == number, f"the change is made, after: {fault}")  # noqa: B023 - awaited here
            await _eventually(lambda: other not in known, f"the deletion is noticed, after: {fault}")  # noqa: B023 - so too
            proxy.mangle(ASSISTANTS)
        await asyncio.to_thread(kube.api.delete, "aia", "steady", kube.namespace)


async def test_a_restored_etcd_is_noticed_by_the_cut_that_comes_with_it(
    kube: Kube, control_plane: Cluster, account: Path, tmp_path: Path
) -> None:
    """A watch from a version that the API server has not reached is silent, ends well, and would go on so for long."""
    async with _running(control_plane, account, tmp_path) as (_, proxy):
        await asyncio.to_thread(_create, kube, "steady")
        await _eventually(lambda: _replicas(kube) >= 0, "the runtime is deployed")
        proxy.ahead[ASSISTANTS] = 1
        proxy.cut(ASSISTANTS)
        await _eventually(lambda: not proxy.ahead[ASSISTANTS], "it watches from the future")
        await asyncio.to_thread(kube.run, "scale", "aia/steady", "--replicas=1")
        proxy.cut(ASSISTANTS)
        await _eventually(lambda: _replicas(kube) == 1, "the change is made")
        await asyncio.to_thread(kube.api.delete, "aia", "steady", kube.namespace)


async def test_a_watch_that_is_deaf_for_good_is_missed_while_the_others_are_not(
    kube: Kube, control_plane: Cluster, account: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulse, "DEAD_SECONDS", 6)
    async with _running(control_plane, account, tmp_path) as (engine, proxy):
        await _eventually(lambda: not engine.unready(), "all caches are filled")
        assert engine.silent_watches() == []
        proxy.hold(SERVICES)
        await _eventually(lambda: engine.silent_watches() == ["services/*"], "it is missed")
        assert engine.unready() == ["services/*"]
        proxy.release(SERVICES)
        await _eventually(lambda: not engine.unready(), "it is back")


async def test_rights_that_are_taken_are_said_by_the_status_and_stop_no_other_namespace(
    kube: Kube, control_plane: Cluster, tmp_path: Path
) -> None:
    other = Kube(control_plane, f"{kube.namespace}-other")
    other.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": other.namespace}})
    account = install(Kube(control_plane), kube.namespace, other.namespace)
    async with _running(control_plane, account, tmp_path, kube.namespace, other.namespace) as (engine, _):
        await asyncio.to_thread(_create, kube, "steady")
        await _eventually(lambda: _replicas(kube) >= 0, "the runtime is deployed")
        rules = kube.must("role", "scoped")["rules"]
        role = {
            **kube.must("role", "scoped"),
            "rules": [rule for rule in rules if "deployments" not in rule["resources"]],
        }
        del role["metadata"]["resourceVersion"]
        await asyncio.to_thread(kube.apply, role)
        told = await asyncio.to_thread(kube.wait_for_reason, "steady", "WatchRefused", timeout=60)
        assert told["status"] == "Unknown"
        assert "does not let the operator watch deployments" in told["message"]
        assert [line.partition(":")[0] for line in engine.unready()] == [f"deployments/{kube.namespace}"]
        assert engine.silent_watches() == []
        await asyncio.to_thread(_create, other, "steady")
        await _eventually(lambda: _replicas(other) >= 0, "the other namespace is served")
        await asyncio.to_thread(kube.apply, {**role, "rules": rules})
        await asyncio.to_thread(kube.run, "scale", "aia/steady", "--replicas=1")
        await _eventually(lambda: _replicas(kube) == 1, "the change is made once the rights are back")
        await _eventually(lambda: kube.condition("steady").get("reason") != "WatchRefused", "the status says so")
    other.api.delete("namespace", other.namespace)


async def test_a_definition_that_is_deleted_while_the_operator_runs_ends_nothing(
    kube: Kube, control_plane: Cluster, account: Path, tmp_path: Path
) -> None:
    everywhere = Kube(control_plane)
    everyone = ("get", "aia", "-A", "-o", "name")
    await _eventually(lambda: not everywhere.run(*everyone), "no other test's assistants are left")
    async with _running(control_plane, account, tmp_path) as (engine, _):
        await asyncio.to_thread(_create, kube, "before")
        await _eventually(lambda: engine.phases().total() == 1, "it is known")
        await asyncio.to_thread(kube.run, "delete", "crd", "aiassistants.aiassistant.dev")
        await _eventually(lambda: [name for name in engine.refused_watches() if ASSISTANTS in name], "it is said")
        await asyncio.to_thread(install, everywhere)
        await _eventually(lambda: engine.phases().total() == 0, "what went with the definition is forgotten")
        await asyncio.to_thread(_create, kube, "steady")
        await _eventually(lambda: _replicas(kube) >= 0, "the runtime is deployed")
        assert engine.silent_watches() == []
        await asyncio.to_thread(kube.api.delete, "aia", "steady", kube.namespace)
