"""The operator against a bare client that applies the same objects, on a control plane alone (no nodes).

The assistants are suspended: every object of theirs is there, and no pod, of which none could run. All times are those
at which the API server was done with a request, by its audit log: what the server saw, not what a client believes.
"""

import asyncio
import json
import os
import platform
import statistics
import time
from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from assistant_operator import desired
from assistant_operator.cluster.client import ApiServer
from assistant_operator.kinds import APPLIED, ASSISTANT, SECRET, Kind
from assistant_operator.reconcile import parse
from assistant_operator.rooms.credentials import token
from devcluster import cluster as devcluster
from tests.bench import report
from tests.bench.operator_process import OperatorProcess
from tests.bench.report import say
from tests.operator.assistants import FACTS, resource
from tests.support.kube import Kube, Requests, audit_mark, eventually, writes

CONCURRENCY = 8
"""Workers of the operator, and requests of the bare client at once."""
ALONE = 30
"""Assistants that are created one at a time."""
WRITTEN_SECONDS = 900
"""Far more than a burst takes on a busy machine."""

Body = dict[str, Any]
Written = tuple[str, str]
"""An object's resource and name."""


def measure(assistants: int, rounds: int) -> str:
    """Measure on a cluster of its own, and return the report as Markdown."""
    say("a control plane starts")
    cluster = devcluster.up("bench", control_plane_only=True)
    try:
        return _Burst(cluster, assistants).run(rounds)
    finally:
        cluster.down()


@dataclass
class Round:
    """One turn of each contender: seconds in all, and the operator's seconds for each assistant."""

    bare: float
    operator: float
    latencies: list[float]


@dataclass
class Figures:
    """Everything that a run measured."""

    rounds: list[Round]
    alone: list[float]
    """Seconds for each assistant that was created alone."""
    memory: float
    """MB at the peak."""
    restart: Requests
    resync: Requests


class _Burst:
    """One run over one cluster."""

    def __init__(self, cluster: devcluster.Cluster, assistants: int) -> None:
        self.cluster, self.count = cluster, assistants
        self.kube = Kube(cluster)
        self.operator = OperatorProcess(self.kube, workers=str(CONCURRENCY))

    def run(self, rounds: int) -> str:
        with self.operator.running():
            turns = [self._round(number, last=number == rounds - 1) for number in range(rounds)]
            say(f"{ALONE} assistants, one at a time")
            alone = self._one_at_a_time()
            memory = self.operator.peak_memory()
        say("a restart, and a resync")
        mark = audit_mark(self.cluster)
        with self.operator.running(resync_seconds="10"):
            restart = self.operator.requests_of_passes(self.count, since=mark)
            resync = self.operator.requests_of_passes(self.count, since=audit_mark(self.cluster))
        return _report(self.count, Figures(turns, alone, memory, restart, resync))

    def _round(self, number: int, *, last: bool) -> Round:
        """Let both contenders create everything in namespaces of their own, in alternating order."""
        bare, operated = 0.0, (0.0, [0.0])
        for contender in ("bare client", "operator") if number % 2 == 0 else ("operator", "bare client"):
            say(f"round {number + 1}, {contender}: {self.count} assistants")
            if contender == "operator":
                operated = self._operated(f"operated-{number}", keep=last)
            else:
                bare = self._bare(f"bare-{number}")
        say(f"round {number + 1}: bare client {bare:.1f} s, operator {operated[0]:.1f} s")
        return Round(bare, *operated)

    def _bare(self, namespace: str) -> float:
        """Apply every object; return the seconds from the first to the last."""
        self._create_namespace(namespace)
        seen = _Writes(self.cluster, namespace)
        jobs = [_objects(name, namespace) for name in self._names()]
        asyncio.run(self._apply(jobs))
        stamps = [stamp for job in jobs for stamp in seen.of(job)]
        self._discard(namespace)
        return max(stamps) - min(stamps)

    def _operated(self, namespace: str, *, keep: bool) -> tuple[float, list[float]]:
        """Apply every assistant; return the seconds until the last one's last object, and those of each."""
        self._create_namespace(namespace)
        seen = _Writes(self.cluster, namespace)
        asyncio.run(self._apply([_assistant(name, namespace)] for name in self._names()))
        found = {name: _times(seen, name, namespace) for name in self._names()}
        if not keep:
            self._discard(namespace)
        began, ended = min(first for first, _ in found.values()), max(last for _, last in found.values())
        return ended - began, [last - first for first, last in found.values()]

    def _one_at_a_time(self) -> list[float]:
        namespace, latencies = "alone", []
        self._create_namespace(namespace)
        seen = _Writes(self.cluster, namespace)
        for name in (f"a{index}" for index in range(ALONE)):
            asyncio.run(self._apply([[_assistant(name, namespace)]]))
            first, last = _times(seen, name, namespace)
            latencies.append(last - first)
        self._discard(namespace)
        return latencies

    def _names(self) -> list[str]:
        return [f"a{index}" for index in range(self.count)]

    async def _apply(self, jobs: Iterable[Sequence[tuple[Kind, Body]]]) -> None:
        """Apply each job's objects in order, so many jobs at once as the operator has workers."""
        gate = asyncio.Semaphore(CONCURRENCY)

        async def work(job: Sequence[tuple[Kind, Body]], api: ApiServer) -> None:
            async with gate:
                for kind, body in job:
                    await api.apply(kind, body)

        async with await ApiServer.connect(kubeconfig=str(self.cluster.kubeconfig)) as api:
            tasks: list[Awaitable[None]] = [work(job, api) for job in jobs]
            await asyncio.gather(*tasks)

    def _create_namespace(self, name: str) -> None:
        self.kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})

    def _discard(self, namespace: str) -> None:
        """Delete what a turn made, so that the next one meets the same cluster."""
        # The assistants first: the operator would make again what goes before them.
        Kube(self.cluster, namespace).run("delete", "aia", "--all", timeout=WRITTEN_SECONDS)
        self.kube.run("delete", "namespace", namespace, timeout=WRITTEN_SECONDS)


class _Writes:
    """When each object of a namespace was first written, as the audit log tells it from now on."""

    def __init__(self, cluster: devcluster.Cluster, namespace: str) -> None:
        self._log, self._namespace = cluster.audit_log, namespace
        self._place = audit_mark(cluster)
        self._first: dict[Written, float] = {}

    def of(self, objects: Iterable[tuple[Kind, Body]]) -> list[float]:
        """Wait until all these objects are written, and return when each one was."""
        wanted = {(kind.plural, body["metadata"]["name"]) for kind, body in objects}

        def written() -> bool:
            self._read()
            return wanted <= self._first.keys()

        eventually(
            written,
            "everything was written",
            timeout=WRITTEN_SECONDS,
            last=lambda: f"{len(wanted - self._first.keys())} objects were not",
        )
        return [self._first[each] for each in wanted]

    def _read(self) -> None:
        """Read on; what is read once is not read again, since a contender needs the machine."""
        with self._log.open("rb") as log:
            log.seek(self._place)
            for line in log:
                if not line.endswith(b"\n"):
                    break
                self._place += len(line)
                self._note(json.loads(line))

    def _note(self, entry: Body) -> None:
        target = entry.get("objectRef", {})
        written = entry["verb"] in ("create", "patch") and entry.get("responseStatus", {}).get("code", 500) < 300
        if written and target.get("namespace") == self._namespace and not target.get("subresource"):
            stamp = datetime.fromisoformat(entry["stageTimestamp"]).timestamp()
            self._first.setdefault((target["resource"], target.get("name", "")), stamp)


def _times(seen: _Writes, name: str, namespace: str) -> tuple[float, float]:
    """Return when an assistant was created, and when its last object was."""
    (created,) = seen.of([_assistant(name, namespace)])
    return created, max(seen.of(_objects(name, namespace)))


def _assistant(name: str, namespace: str) -> tuple[Kind, Body]:
    return ASSISTANT, {**resource(name, suspend=True), "metadata": {"name": name, "namespace": namespace}}


def _objects(name: str, namespace: str) -> list[tuple[Kind, Body]]:
    """Everything that the operator makes of an assistant, Secrets included, without an owner."""
    found = parse(resource(name, namespace, suspend=True))
    secrets = [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": credential.name, "namespace": namespace},
            "stringData": credential.fill({}, token),
        }
        for credential in desired.credentials(found)
    ]
    objects = desired.desired(found, FACTS).objects
    for body in objects:
        del body["metadata"]["ownerReferences"]
    return [(SECRET, body) for body in secrets] + [(APPLIED[body["kind"]], body) for body in objects]


def _report(count: int, figures: Figures) -> str:
    rounds = figures.rounds
    ratios = [each.operator / each.bare for each in rounds]
    burst = [latency for each in rounds for latency in each.latencies]
    rows = {
        "all objects of all assistants, bare client": f"{statistics.median(each.bare for each in rounds):.1f} s",
        "all objects of all assistants, operator": f"{statistics.median(each.operator for each in rounds):.1f} s",
        "operator / bare client, median (lowest to highest)": (
            f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        ),
        "one assistant in the burst, creation to last object, p50 / p99": _percentiles(burst),
        "one assistant alone, creation to last object, p50 / p99": _percentiles(figures.alone),
        "operator's peak memory (RSS)": f"{figures.memory:.0f} MB",
        "restart: writes / reads of Secrets / lists": _counts(figures.restart),
        "idle resync: writes / reads / lists": _counts(figures.resync),
    }
    return (
        f"Measured on {time.strftime('%Y-%m-%d')}: {os.cpu_count()} cores shared by the control plane and the clients, "
        f"Python {platform.python_version()}, {count} AIAssistants of {len(_objects('demo', 'default'))} objects each, "
        f"{len(rounds)} rounds in alternating order, {CONCURRENCY} at once.\n\n"
        f"{report.figures(rows)}"
    )


def _percentiles(seconds: list[float]) -> str:
    shares = statistics.quantiles(seconds, n=100, method="inclusive")
    return f"{shares[49] * 1000:.0f} / {shares[98] * 1000:.0f} ms"


def _counts(requests: Requests) -> str:
    gets, lists = (sum(count for (verb, *_), count in requests.items() if verb == each) for each in ("get", "list"))
    return f"{writes(requests).total()} / {gets} / {lists}"
