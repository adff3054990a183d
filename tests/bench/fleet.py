"""The operator with many AIAssistants, beside a bare client that applies the same objects, on a control plane alone.

The assistants are suspended: every object of theirs is there, and no pod, of which none could run. Each turn has a
cluster of its own, so that none meets what the one before it left.
"""

import asyncio
import os
import platform
import statistics
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from assistant_operator import desired
from assistant_operator.cluster.client import ApiServer
from assistant_operator.kinds import APPLIED, ASSISTANT, CONFIG_MAP, SECRET, Kind
from assistant_operator.rooms.credentials import token
from assistant_operator.spec.parsing import parse
from devcluster import cluster as devcluster
from devcluster.cluster import Cluster
from tests.bench import foreign, plot, report
from tests.bench.figure import Figure
from tests.bench.operator_process import OperatorProcess
from tests.bench.report import say
from tests.bench.written import Body, Writes
from tests.operator.assistants import FACTS, resource
from tests.support.kube import Kube, Requests, audit_mark, audited, eventually, writes

CONCURRENCY = 8
"""Workers of the operator, and requests of the bare client at once."""
NAMESPACE = "fleet"
ALONE = 20
"""Assistants that are created one at a time."""
CHART = report.PAGE.parent / "operator-growth.svg"
DEPLOYMENT, SERVICE = APPLIED["Deployment"], APPLIED["Service"]


@dataclass
class Turn:
    """What one turn of both contenders measured."""

    count: int
    bare: float
    """Seconds from the first request to the last."""
    operator: float
    latencies: list[float]
    """Seconds of each assistant, from its creation to its last object."""
    requests: float
    """Requests of the operator for an assistant."""
    empty: float
    """MB of the operator without an assistant."""
    full: float
    """MB with all of them, at rest."""
    peak: float


def measure(sizes: Sequence[int], rounds: int, strangers: int, *, write: bool) -> str:
    """Measure every size, the last one closely, and return the report as Markdown."""
    turns = [_turn(size, number, rounds) for size in sizes for number in range(rounds)]
    close = _look_closely(sizes[-1], strangers)
    if write and len(sizes) > 1:
        CHART.write_text(_chart(turns))
    return _report(turns, close, rounds, strangers)


@contextmanager
def _cluster() -> Iterator[Cluster]:
    cluster = devcluster.up("bench", control_plane_only=True)
    try:
        Kube(cluster).apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        yield cluster
    finally:
        cluster.down()


def _turn(count: int, number: int, rounds: int) -> Turn:
    """Let both contenders create everything, each on a cluster of its own, in alternating order."""
    bare, found = 0.0, Turn(count, 0, 0, [], 0, 0, 0, 0)
    for contender in ("bare client", "operator") if number % 2 == 0 else ("operator", "bare client"):
        say(f"{count} assistants, round {number + 1} of {rounds}: {contender}")
        with _cluster() as cluster:
            if contender == "operator":
                operator = OperatorProcess(Kube(cluster), workers=str(CONCURRENCY))
                with operator.running():
                    found = _operated(cluster, operator, count)
            else:
                bare = _bare(cluster, count)
    found.bare = bare
    say(f"{count} assistants: bare client {bare:.1f} s, operator {found.operator:.1f} s")
    return found


def _bare(cluster: Cluster, count: int) -> float:
    """Apply every object; return the seconds from the first to the last."""
    jobs = [_objects(name) for name in _names(count)]
    seen = Writes(cluster, NAMESPACE)
    asyncio.run(_apply(cluster, jobs))
    stamps = seen.of([found for job in jobs for found in job])
    return max(stamps) - min(stamps)


def _operated(cluster: Cluster, operator: OperatorProcess, count: int) -> Turn:
    """Apply every assistant, and wait until the last one's last object is there and the operator rests."""
    empty, mark = operator.memory(), audit_mark(cluster)
    seen = Writes(cluster, NAMESPACE)
    asyncio.run(_apply(cluster, ([_assistant(name)] for name in _names(count))))
    everything = [found for name in _names(count) for found in [_assistant(name), *_objects(name)]]
    seen.of(everything, _progress())
    times = [_times(seen, name) for name in _names(count)]
    _rests(cluster)
    began, ended = min(first for first, _ in times), max(last for _, last in times)
    requests = audited(cluster, mark).total() / count
    latencies = [last - first for first, last in times]
    return Turn(count, 0, ended - began, latencies, requests, empty, operator.memory(), operator.peak_memory())


def _progress() -> Callable[[int, int], None]:
    """Say how far it is, each tenth of the way."""
    told = 0

    def tell(done: int, of: int) -> None:
        nonlocal told
        if done * 10 // of > told:
            told = done * 10 // of
            say(f"{done} of {of} objects")

    return tell


def _rests(cluster: Cluster) -> None:
    """Wait until the operator asks nothing any more."""

    def quiet() -> bool:
        mark = audit_mark(cluster)
        time.sleep(3)
        return not audited(cluster, mark)

    eventually(quiet, "the operator rests", timeout=600)


@dataclass
class Close:
    """What a closer look at an operator with all its assistants shows: seconds, requests and MB."""

    alone: list[float]
    changed: list[float]
    changed_requests: Requests
    edited: list[float]
    deleted: list[float]
    resync: Requests
    restart: Requests
    before: float
    beside: float


def _look_closely(count: int, strangers: int) -> Close:
    say(f"{count} assistants, looked at closely")
    with _cluster() as cluster:
        operator = OperatorProcess(Kube(cluster), workers=str(CONCURRENCY))
        with operator.running():
            _operated(cluster, operator, count)
            say("one at a time; one changed field; a foreign edit; a foreign deletion")
            alone = [_created(cluster, f"alone-{number}") for number in range(ALONE)]
            mark = audit_mark(cluster)
            changed = [_changed(cluster, name) for name in _names(ALONE)]
            _rests(cluster)
            requests = audited(cluster, mark)
            edited = [_edited(cluster, name) for name in _names(ALONE)]
            deleted = [_deleted(cluster, name) for name in _names(ALONE)]
            _rests(cluster)
            before = operator.memory()
            say(f"{strangers} foreign objects of each of three kinds, beside them")
            asyncio.run(_apply(cluster, ([found] for found in foreign.objects(NAMESPACE, strangers))))
            _rests(cluster)
            beside = operator.memory()
        say("a restart, and a resync")
        mark, settings = audit_mark(cluster), {"resync_seconds": "10"}
        with operator.running(**settings):
            restart = operator.requests_of_passes(count + ALONE, since=mark)
            resync = operator.requests_of_passes(count + ALONE, since=audit_mark(cluster))
    return Close(alone, changed, requests, edited, deleted, resync, restart, before, beside)


def _created(cluster: Cluster, name: str) -> float:
    seen = Writes(cluster, NAMESPACE)
    asyncio.run(_apply(cluster, [[_assistant(name)]]))
    first, last = _times(seen, name)
    return last - first


def _changed(cluster: Cluster, name: str) -> float:
    """Change a field that one object shows; return the seconds until that object is written."""
    patch = {"spec": {"logging": {"level": "DEBUG"}}}
    return _answered(cluster, (ASSISTANT, name), patch, (DEPLOYMENT, f"{name}-runtime"))


def _edited(cluster: Cluster, name: str) -> float:
    patch = {"spec": {"ports": [{"name": "redis", "port": 6379, "targetPort": "elsewhere", "protocol": "TCP"}]}}
    return _answered(cluster, (SERVICE, f"{name}-redis"), patch, (SERVICE, f"{name}-redis"))


def _deleted(cluster: Cluster, name: str) -> float:
    return _answered(cluster, (CONFIG_MAP, f"{name}-redis"), None, (CONFIG_MAP, f"{name}-redis"))


def _answered(cluster: Cluster, asked: tuple[Kind, str], patch: Body | None, written: tuple[Kind, str]) -> float:
    """Patch or delete an object; return the seconds until the operator has written one in answer."""
    seen, (kind, name) = Writes(cluster, NAMESPACE), asked

    async def ask() -> None:
        async with await ApiServer.connect(kubeconfig=str(cluster.kubeconfig)) as api:
            if patch is not None:
                await api.merge(kind, NAMESPACE, name, patch)
            elif found := await api.get(kind, NAMESPACE, name):
                await api.delete(kind, NAMESPACE, name, found["metadata"]["uid"])

    asyncio.run(ask())
    answered = seen.by_operator(*written)
    (began,) = seen.of([(kind, {"metadata": {"name": name}})])
    return answered - began


async def _apply(cluster: Cluster, jobs: Iterable[Sequence[tuple[Kind, Body]]]) -> None:
    """Apply each job's objects in order, so many jobs at once as the operator has workers."""
    gate = asyncio.Semaphore(CONCURRENCY)

    async def work(job: Sequence[tuple[Kind, Body]], api: ApiServer) -> None:
        async with gate:
            for kind, body in job:
                await api.apply(kind, body)

    async with await ApiServer.connect(kubeconfig=str(cluster.kubeconfig)) as api:
        tasks: list[Awaitable[None]] = [work(job, api) for job in jobs]
        await asyncio.gather(*tasks)


def _names(count: int) -> list[str]:
    return [f"a{index}" for index in range(count)]


def _times(seen: Writes, name: str) -> tuple[float, float]:
    """Return when an assistant was created, and when its last object was."""
    (created,) = seen.of([_assistant(name)])
    return created, max(seen.of(_objects(name)))


def _assistant(name: str) -> tuple[Kind, Body]:
    return ASSISTANT, {**resource(name, suspend=True), "metadata": {"name": name, "namespace": NAMESPACE}}


def _objects(name: str) -> list[tuple[Kind, Body]]:
    """Everything that the operator makes of an assistant, Secrets included, without an owner."""
    found = parse(resource(name, NAMESPACE, suspend=True))
    secrets = [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": credential.name, "namespace": NAMESPACE},
            "stringData": credential.fill({}, token),
        }
        for credential in desired.credentials(found)
    ]
    objects = desired.desired(found, FACTS).objects
    for body in objects:
        del body["metadata"]["ownerReferences"]
    return [(SECRET, body) for body in secrets] + [(APPLIED[body["kind"]], body) for body in objects]


def _by_size(turns: Sequence[Turn]) -> dict[int, list[Turn]]:
    sizes = dict.fromkeys(turn.count for turn in turns)
    return {size: [turn for turn in turns if turn.count == size] for size in sizes}


def _chart(turns: Sequence[Turn]) -> str:
    sizes = _by_size(turns)

    def line(value: Callable[[Turn], float]) -> list[tuple[float, float]]:
        return [(0, 0), *((size, statistics.median(map(value, found))) for size, found in sizes.items())]

    lines = {"operator": line(lambda turn: turn.operator), "bare client": line(lambda turn: turn.bare)}
    return plot.line_chart(lines, x="AIAssistants", y="seconds until every object is there")


def _report(turns: Sequence[Turn], close: Close, rounds: int, strangers: int) -> str:
    sizes = _by_size(turns)
    figures = [*_figures(sizes), *_close_figures(close, strangers)]
    growth = [
        (f"{size:,}", *(f"{found:.1f}" for found in _medians(rows)), _spread([t.operator / t.bare for t in rows]))
        for size, rows in sizes.items()
    ]
    columns = (
        "AIAssistants",
        "bare client s",
        "operator s",
        "ms each",
        "memory MB",
        "peak MB",
        "operator / bare client",
    )
    return (
        f"Measured on {time.strftime('%Y-%m-%d')}: {os.cpu_count()} cores shared by the control plane and the clients, "
        f"Python {platform.python_version()}, AIAssistants of {len(_objects('demo'))} objects each, {rounds} rounds in "
        f"alternating order, {CONCURRENCY} at once. Load of the machine at the end: {os.getloadavg()[1]:.1f}.\n\n"
        f"{report.table(columns, growth)}\n\n"
        f"{report.table((f'with {max(sizes):,} AIAssistants', 'figure', 'aimed at'), [each.row for each in figures])}"
    )


def _medians(rows: Sequence[Turn]) -> list[float]:
    return [
        statistics.median(map(value, rows))
        for value in (
            lambda turn: turn.bare,
            lambda turn: turn.operator,
            lambda turn: turn.operator / turn.count * 1000,
            lambda turn: turn.full,
            lambda turn: turn.peak,
        )
    ]


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def _figures(sizes: Mapping[int, Sequence[Turn]]) -> Iterator[Figure]:
    smallest, largest = sizes[min(sizes)], sizes[max(sizes)]
    ratio = statistics.median(turn.operator / turn.bare for turn in largest)
    yield Figure("operator / bare client, median", ratio, digits=2, at_most=1.25)
    if smallest is not largest:
        growth = _medians(largest)[2] / _medians(smallest)[2]
        yield Figure("time of one, with most / with fewest", growth, digits=2, at_most=1.0)
    yield Figure("requests for one AIAssistant", max(turn.requests for turn in largest), digits=1)
    yield Figure("memory with none", max(turn.empty for turn in largest), "MB", at_most=120)
    yield Figure("memory with all", max(turn.full for turn in largest), "MB", at_most=200)
    latencies = [latency for turn in largest for latency in turn.latencies]
    p50, p99 = _percentiles(latencies)
    yield Figure("one in the burst, creation to last object, p50", p50, "ms")
    yield Figure("the same, p99", p99, "ms")


def _close_figures(close: Close, strangers: int) -> Iterator[Figure]:
    for what, seconds, most in (
        ("one alone, creation to last object", close.alone, None),
        ("one changed field, until its object is written", close.changed, 100.0),
        ("a foreign edit, until it is undone", close.edited, 1000.0),
        ("a foreign deletion, until the object is there again", close.deleted, 1000.0),
    ):
        p50, p99 = _percentiles(seconds)
        yield Figure(f"{what}, p50", p50, "ms", at_most=most)
        yield Figure("the same, p99", p99, "ms")
    yield Figure("writes for a changed field", writes(close.changed_requests).total() / ALONE, digits=1, at_most=2)
    growth = (close.beside / close.before - 1) * 100
    yield Figure(f"growth of memory beside {3 * strangers:,} foreign objects", growth, "%", 1, at_most=5)
    for what, requests in (("idle resync", close.resync), ("restart", close.restart)):
        yield Figure(f"{what}: writes", writes(requests).total(), at_most=0)
        yield Figure(f"{what}: reads", _verb(requests, "get"), at_most=0)
        yield Figure(f"{what}: lists", _verb(requests, "list"))


def _percentiles(seconds: Sequence[float]) -> tuple[float, float]:
    shares = statistics.quantiles(seconds, n=100, method="inclusive")
    return shares[49] * 1000, shares[98] * 1000


def _verb(requests: Requests, verb: str) -> int:
    return sum(count for (used, *_), count in requests.items() if used == verb)
