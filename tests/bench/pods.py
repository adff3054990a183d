"""The operator with real pods: from apply to Ready with every server on, and what that and a resync cost in requests.

The development cluster with two nodes, images present; the operator is a process beside it. Requests are those of the
operator's account in the API server's audit log, watches excluded.
"""

import json
import statistics
import time
from collections import Counter
from collections.abc import Iterable
from typing import Any

from devcluster import cluster as devcluster
from devcluster import images
from devcluster.demo.recipes import MODEL_SERVER, RERANKER, ROOT, RUNTIME, known_to_the_chart
from tests.bench import report
from tests.bench.operator_process import OperatorProcess
from tests.bench.report import say
from tests.support.every_backend import providers, servers
from tests.support.kube import Kube, Requests, audit_mark, audited, eventually, writes

NAME = "full"
RESYNC_SECONDS = 10
SEARCH: dict[str, Any] = {"use_default_settings": {"engines": {"keep_only": []}}}
"""No engine: nothing is searched here."""


def measure(rounds: int) -> str:
    """Make the assistant so often, on a cluster of its own, and return the report as Markdown."""
    say("two nodes start")
    cluster = devcluster.up("bench-pods", nodes=2)
    try:
        return _Stack(cluster).run(rounds)
    finally:
        cluster.down()


class _Stack:
    """One run over one cluster."""

    def __init__(self, cluster: devcluster.Cluster) -> None:
        self.cluster, self.kube = cluster, Kube(cluster)
        say("images are built and brought to the nodes")
        self.loaded = self._load()
        known = {recipe.name: self.loaded[recipe.name] for recipe in (*known_to_the_chart(), RUNTIME)}
        known["runtime"] = known.pop(RUNTIME.name)
        self.operator = OperatorProcess(self.kube, images=json.dumps(known))

    def run(self, rounds: int) -> str:
        self.kube.run("apply", "-f", str(ROOT / "manifests/samples/model-server.yaml"))
        self.kube.run("rollout", "status", "deployment/model-server", "--timeout=120s", timeout=130)
        with self.operator.running():
            made = [self._make(last=number == rounds - 1) for number in range(rounds)]
        say("a restart, and three resyncs")
        mark = audit_mark(self.cluster)
        with self.operator.running(resync_seconds=str(RESYNC_SECONDS)):
            restarted = self.operator.requests_of_passes(1, since=mark)
            idle = self.operator.requests_of_passes(3, since=audit_mark(self.cluster))
        return _report(made, restarted, idle)

    def _load(self) -> dict[str, str]:
        """Build the images, bring them to the nodes, and return their names."""
        names = {}
        for recipe in (RUNTIME, MODEL_SERVER, RERANKER, *known_to_the_chart()):
            names[recipe.name] = recipe.reference()
            archive = images.build(recipe.reference(), recipe.dockerfile, recipe.context, target=recipe.target)
            self.cluster.load(archive)
        return names

    def _make(self, *, last: bool) -> tuple[float, Requests]:
        """Make the assistant; return the seconds until it was Ready, and the requests until then."""
        spec = {**servers(self.loaded, SEARCH), "providers": providers(NAME), "deletionPolicy": "Delete"}
        mark, started = audit_mark(self.cluster), time.monotonic()
        head = {"apiVersion": "aiassistant.dev/v1alpha1", "kind": "AIAssistant", "metadata": {"name": NAME}}
        self.kube.apply({**head, "spec": spec})
        self.kube.run("wait", "--for=condition=Ready", f"aia/{NAME}", "--timeout=300s", timeout=310)
        seconds, requests = time.monotonic() - started, audited(self.cluster, mark)
        say(f"Ready after {seconds:.1f} s, {requests.total()} requests")
        if not last:
            self.kube.run("delete", "aia", NAME)
            left = f"app.kubernetes.io/instance={NAME}"
            eventually(lambda: not self.kube.list("pods,pvc,secrets", left), "nothing is left", timeout=180)
        return seconds, requests


def _report(made: list[tuple[float, Requests]], restarted: Requests, idle: Requests) -> str:
    seconds = [each for each, _ in made]
    first = made[0][1]
    kinds: Counter[str] = Counter()
    for (_, resource, _), count in writes(first).items():
        kinds[{"secrets": "Secrets", "aiassistants": "status", "events": "events"}.get(resource, "other objects")] += (
            count
        )
    parts = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
    rows = {
        "from apply to Ready, median (lowest to highest)": _spread(seconds, " s"),
        "writes until Ready, median (lowest to highest)": _spread([writes(r).total() for _, r in made]),
        "of those in the first round": parts,
        "reads and lists until Ready, median (lowest to highest)": _spread([_reads(r) for _, r in made]),
        "restart of the operator: writes / reads and lists": f"{writes(restarted).total()} / {_reads(restarted)}",
        "idle resync, three of them: writes / reads and lists": f"{writes(idle).total()} / {_reads(idle)}",
    }
    return (
        f"Measured on {time.strftime('%Y-%m-%d')}: {len(made)} rounds, two nodes, one assistant with every server.\n\n"
        f"{report.figures(rows)}"
    )


def _reads(requests: Requests) -> int:
    return requests.total() - writes(requests).total()


def _spread(values: Iterable[float], unit: str = "") -> str:
    found = list(values)
    shown = [f"{value:.1f}" if unit else f"{value:.0f}" for value in (statistics.median(found), min(found), max(found))]
    return f"{shown[0]}{unit} ({shown[1]} to {shown[2]})"
