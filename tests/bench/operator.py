"""`make bench-operator`: the operator against a bare client that applies the same objects, side by side in one run.

What is measured, on a control plane alone (devcluster, no nodes):

- 200 AIAssistants, replicas 0, created by 8 concurrent requests: the time until every object of every assistant is
  there, against a bare client that server-side applies the same objects with the same concurrency. The two take turns.
- For each assistant the time from its creation to its last object, in that burst and one at a time.
- The operator's peak memory.
- The requests of an idle resync and of a restart.

Then with real pods, which needs root (tests/bench/stack.py): the time from apply to Ready with every server on, and
the requests that it takes.

Times and counts are read from the API server's audit log, so they are what the server saw, not what a client believes.
"""

import argparse
import asyncio
import json
import os
import platform
import statistics
import tempfile
import time
import urllib.request
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from assistant_operator import desired
from assistant_operator.cluster.client import ApiServer
from assistant_operator.cluster.kinds import APPLIED, ASSISTANT, SECRET, Kind
from assistant_operator.credentials import token
from assistant_operator.labels import PLURAL
from assistant_operator.reconcile import parse
from devcluster import cluster as devcluster
from tests.bench import stack
from tests.operator.assistants import FACTS, resource
from tests.support.kube import OPERATOR_USER, Kube, audit_mark, audited, eventually, install, running_operator, writes

CONCURRENCY = 8
HTTP_PORT = 18099
PAGE = Path(__file__).parents[2] / "docs/benchmarks.md"
PARTS = ("burst", "pods")


@dataclass
class Round:
    """One turn of each contender: seconds in all, and the operator's seconds for each assistant."""

    bare: float
    operator: float
    latencies: list[float]


def main() -> None:
    """Run everything, print it, and write it into docs/benchmarks.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--assistants", type=int, default=200, help="AIAssistants in a burst (default 200)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each contender (default 3)")
    parser.add_argument("--part", choices=PARTS, help="only this part: burst (no pods run) or pods (default: both)")
    parser.add_argument("--no-write", action="store_true", help="only print; leave docs/benchmarks.md as it is")
    options = parser.parse_args()
    for part in PARTS if options.part is None else (options.part,):
        report = _burst(options) if part == "burst" else stack.measure(options.rounds, _passes, HTTP_PORT)
        print(report)
        if not options.no_write:
            _write("operator" if part == "burst" else "operator-pods", report)


def _burst(options: argparse.Namespace) -> str:
    cluster = devcluster.up("bench", control_plane_only=True)
    try:
        return Bench(cluster, options.assistants, options.rounds).run()
    finally:
        cluster.down()


def _write(name: str, report: str) -> None:
    """Put a report in the place of the one before it in docs/benchmarks.md."""
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    page = PAGE.read_text()
    PAGE.write_text(f"{page.split(begin)[0]}{begin}\n{report}\n{end}{page.split(end)[1]}")


class Bench:
    """One run over one cluster."""

    def __init__(self, cluster: devcluster.Cluster, assistants: int, rounds: int) -> None:
        self.cluster, self.count, self.rounds = cluster, assistants, rounds
        self.kube = Kube(cluster)
        self.account = install(self.kube)
        self.log = Path(tempfile.mkdtemp(prefix="bench-")) / "operator.log"

    def run(self) -> str:
        """Measure, and return the report as Markdown."""
        with self._operator() as pid:
            rounds = [self._round(number) for number in range(self.rounds)]
            single = self._one_at_a_time()
            memory = _peak_memory(pid)
        with self._operator(resync_seconds="10"):
            restart = self._quiet_requests()
            resync = self._quiet_requests()
        return _report(self.count, Figures(rounds, single, memory, restart, resync))

    @contextmanager
    def _operator(self, **settings: str) -> Iterator[int]:
        """Run the operator, and yield its process id."""
        self._mark = audit_mark(self.cluster)
        settings |= {"http_port": str(HTTP_PORT), "workers": str(CONCURRENCY)}
        with running_operator(self.account, self.log, **settings) as process:
            yield process.pid

    def _round(self, number: int) -> Round:
        """Let both contenders create everything in namespaces of their own, in alternating order."""
        turns: list[Callable[[], Any]] = [lambda: self._bare(number), lambda: self._burst(number)]
        results: dict[int, Any] = {}
        for turn in (0, 1) if number % 2 == 0 else (1, 0):
            results[turn] = turns[turn]()
        total, latencies = results[1]
        print(f"round {number + 1}: bare client {results[0]:.1f} s, operator {total:.1f} s", flush=True)
        return Round(results[0], total, latencies)

    def _bare(self, number: int) -> float:
        namespace = self._namespace(f"bare-{number}")
        mark = audit_mark(self.cluster)
        jobs = [_objects(f"a{index}", namespace) for index in range(self.count)]
        asyncio.run(self._apply(jobs))
        stamps = [stamp for stamp, *_ in _entries(self.cluster, mark, namespace, "admin")]
        self._discard(namespace)
        return max(stamps) - min(stamps)

    def _burst(self, number: int) -> tuple[float, list[float]]:
        namespace = self._namespace(f"operated-{number}")
        mark = audit_mark(self.cluster)
        jobs = [[(ASSISTANT, _assistant(f"a{index}", namespace))] for index in range(self.count)]
        asyncio.run(self._apply(jobs))
        self._settled(namespace, self.count)
        latencies, first, last = self._latencies(mark, namespace)
        if number < self.rounds - 1:
            self._discard(namespace)
        return last - first, latencies

    def _one_at_a_time(self) -> list[float]:
        namespace = self._namespace("single")
        mark = audit_mark(self.cluster)
        for index in range(30):
            asyncio.run(self._apply([[(ASSISTANT, _assistant(f"a{index}", namespace))]]))
            self._settled(namespace, index + 1)
        latencies, *_ = self._latencies(mark, namespace)
        self._discard(namespace)
        return latencies

    def _latencies(self, mark: int, namespace: str) -> tuple[list[float], float, float]:
        """Return each assistant's seconds from creation to its last object, and when the first and the last were."""
        created: dict[str, float] = {}
        finished: defaultdict[str, float] = defaultdict(float)
        for stamp, user, resource_name, name in _entries(self.cluster, mark, namespace):
            assistant = name.split("-")[0]
            if resource_name == PLURAL and user != OPERATOR_USER:
                created[assistant] = stamp
            elif user == OPERATOR_USER and resource_name not in (PLURAL, "events"):
                finished[assistant] = max(finished[assistant], stamp)
        return (
            [finished[name] - created[name] for name in created],
            min(created.values()),
            max(finished.values()),
        )

    def _quiet_requests(self) -> dict[str, int]:
        """Count the operator's requests while it looks at every assistant once more and nothing has changed."""
        mark, start = self._mark, _passes()
        eventually(lambda: _passes() >= start + self.count, "every assistant was looked at", timeout=120)
        requests = audited(self.cluster, mark)
        self._mark = audit_mark(self.cluster)
        lists = sum(count for (verb, *_), count in requests.items() if verb == "list")
        gets = sum(count for (verb, *_), count in requests.items() if verb == "get")
        return {"writes": writes(requests).total(), "gets": gets, "lists": lists}

    async def _apply(self, jobs: Iterable[list[tuple[Kind, dict[str, Any]]]]) -> None:
        """Apply each job's objects in order, so many jobs at once as the operator has workers."""
        gate = asyncio.Semaphore(CONCURRENCY)

        async def work(job: list[tuple[Kind, dict[str, Any]]], api: ApiServer) -> None:
            async with gate:
                for kind, body in job:
                    await api.apply(kind, body)

        async with await ApiServer.connect(kubeconfig=str(self.cluster.kubeconfig)) as api:
            tasks: list[Awaitable[None]] = [work(job, api) for job in jobs]
            await asyncio.gather(*tasks)

    def _settled(self, namespace: str, count: int) -> None:
        """Wait until the operator has reported on every assistant, which it does after its last object."""
        eventually(
            lambda: (
                sum(bool((a.get("status") or {}).get("components")) for a in Kube(self.cluster, namespace).list("aia"))
                >= count
            ),
            f"{count} assistants are reported on",
            timeout=300,
        )

    def _namespace(self, name: str) -> str:
        self.kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        return name

    def _discard(self, namespace: str) -> None:
        """Delete what a turn made, so that the next one meets the same cluster."""
        scoped = Kube(self.cluster, namespace)
        kinds = "aia,deployment,statefulset,service,configmap,serviceaccount,pdb,secret,pvc"
        scoped.run("delete", kinds, "--all", "--wait=false", timeout=300)
        scoped.run("delete", "pods", "--all", "--force", "--grace-period=0", timeout=300)
        eventually(lambda: not scoped.list("deployment,statefulset"), "the turn's objects are gone", timeout=300)


def _assistant(name: str, namespace: str) -> dict[str, Any]:
    return {**resource(name, replicas=0), "metadata": {"name": name, "namespace": namespace}}


def _objects(name: str, namespace: str) -> list[tuple[Kind, dict[str, Any]]]:
    """Everything that the operator makes of an assistant, Secrets included, without an owner."""
    found = parse(resource(name, namespace, replicas=0))
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


def _entries(
    cluster: devcluster.Cluster, since: int, namespace: str, user: str = ""
) -> Iterable[tuple[float, str, str, str]]:
    """Yield (time, user, resource, name) of every write in a namespace; status writes excluded."""
    with cluster.audit_log.open("rb") as log:
        log.seek(since)
        for line in log:
            entry = json.loads(line)
            reference = entry.get("objectRef", {})
            if reference.get("namespace") != namespace or reference.get("subresource"):
                continue
            if entry["verb"] in ("create", "patch") and user in entry["user"]["username"]:
                stamp = datetime.fromisoformat(entry["stageTimestamp"]).timestamp()
                yield stamp, entry["user"]["username"], reference["resource"], reference.get("name", "")


def _passes() -> float:
    with urllib.request.urlopen(f"http://127.0.0.1:{HTTP_PORT}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("assistant_operator_reconcile_total"))


def _peak_memory(pid: int) -> float:
    """Return a process's peak resident memory in MB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 1000


def _percentile(values: list[float], share: float) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[round(share * 100) - 1]


@dataclass
class Figures:
    """Everything that a run measured."""

    rounds: list[Round]
    single: list[float]
    """Seconds for each assistant that was created alone."""
    memory: float
    """MB at the peak."""
    restart: dict[str, int]
    resync: dict[str, int]


def _report(count: int, figures: Figures) -> str:
    rounds, single = figures.rounds, figures.single
    ratios = [round_.operator / round_.bare for round_ in rounds]
    burst = [latency for round_ in rounds for latency in round_.latencies]
    restart, resync = figures.restart, figures.resync
    rows = {
        "all objects of all assistants, bare client": f"{_median(r.bare for r in rounds):.1f} s",
        "all objects of all assistants, operator": f"{_median(r.operator for r in rounds):.1f} s",
        "operator / bare client, median (lowest to highest)": (
            f"{_median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        ),
        "one assistant in the burst, creation to last object, p50 / p99": f"{_ms(burst, 0.5)} / {_ms(burst, 0.99)} ms",
        "one assistant alone, creation to last object, p50 / p99": f"{_ms(single, 0.5)} / {_ms(single, 0.99)} ms",
        "operator's peak memory (RSS)": f"{figures.memory:.0f} MB",
        "restart: writes / reads of Secrets / lists": f"{restart['writes']} / {restart['gets']} / {restart['lists']}",
        "idle resync: writes / reads / lists": f"{resync['writes']} / {resync['gets']} / {resync['lists']}",
    }
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    return (
        f"Measured on {time.strftime('%Y-%m-%d')}: {os.cpu_count()} cores shared by the control plane and the clients, "
        f"Python {platform.python_version()}, {count} AIAssistants of {len(_objects('demo', 'default'))} objects each, "
        f"{len(rounds)} rounds in alternating order, {CONCURRENCY} at once.\n\n"
        f"| what | figure |\n| --- | --- |\n{table}"
    )


def _median(values: Iterable[float]) -> float:
    return statistics.median(values)


def _ms(values: list[float], share: float) -> str:
    return f"{_percentile(values, share) * 1000:.0f}"


if __name__ == "__main__":
    main()
