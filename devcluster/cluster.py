"""Bring clusters up and down: read this first.

Up: the binaries are built if need be, the record is written, then namespaces, certificates and configuration are
made, and the programs are started; each wait ends at once when a program it depends on has ended. A record that
was never completed, or whose programs are not all alive (a kill, a reboot), is cleaned first and the cluster is
started anew: a development cluster is cheap to make and not worth repairing.

Down: see `teardown`.
"""

import os
import re
import socket
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from devcluster import (
    addons,
    blocks,
    build,
    components,
    config,
    controlplane,
    namespaces,
    network,
    node,
    packages,
    pki,
    state,
    teardown,
)
from devcluster.addresses import API_PORT, MAX_NODES
from devcluster.api import Api, answers, wait
from devcluster.components import Endpoints
from devcluster.errors import DevclusterError
from devcluster.paths import lock
from devcluster.progress import Progress, Silent
from devcluster.state import Files, Record

NAME = re.compile(r"[a-z]([a-z0-9-]{0,18}[a-z0-9])?")
"""A DNS label, short: the name is part of paths of sockets, which may not be long."""

NODE_TIMEOUT_SECONDS = 120.0

T = TypeVar("T")


@dataclass(frozen=True)
class Cluster:
    """A cluster that is up."""

    name: str
    kubeconfig: Path
    """For the cluster's administrator."""
    server: str
    """URL of the API server."""
    audit_log: Path
    """A JSON line for each request, except of health checks and leases."""
    nodes: tuple[str, ...]
    """Names of the nodes; empty for a control plane alone."""
    binaries: Path
    """Folder of the programs."""

    @property
    def kubectl(self) -> Path:
        """The kubectl of the cluster's own version."""
        return self.binaries / "kubectl"

    @property
    def helm(self) -> Path:
        """A helm that goes with it."""
        return self.binaries / "helm"

    def load(self, archive: Path) -> None:
        """Import the images of a docker-archive into all nodes that lack them.

        Raises
        ------
        DevclusterError
            The file is no such archive, or a node is down.
        """
        files = state.files(self.name)
        _each(lambda name: node.load(files, name, archive), self.nodes)

    def down(self) -> None:
        """Take the cluster down, and remove all that it left."""
        down(self.name)


def up(
    name: str = "dev",
    *,
    nodes: int = 1,
    control_plane_only: bool = False,
    progress: Progress | None = None,
) -> Cluster:
    """Bring a cluster up, or return it when it is up already.

    Parameters
    ----------
    name
        A short DNS label.
    nodes
        How many nodes, each with a container runtime of its own. Needs root.
    control_plane_only
        Start an API server, its store and the controllers on loopback, and nothing that runs pods: for tests of
        objects, in seconds and without root.
    progress
        Told of each step.

    Raises
    ------
    DevclusterError
        The cluster can't be had; the message says why and what to do.
    """
    progress = progress or Silent()
    wanted = 0 if control_plane_only else nodes
    _check(name, wanted, control_plane_only=control_plane_only)
    with lock(f"cluster-{name}"):
        record = state.read(name)
        if record is not None and _is_whole(record):
            if len(record.nodes) != wanted:
                raise DevclusterError(
                    f"cluster {name} is up with {len(record.nodes)} nodes, not {wanted}; "
                    f"take it down first: python -m devcluster down {name}"
                )
            return _cluster(record)
        if state.files(name).folder.exists():
            progress.note(f"Cluster {name} was left incomplete (a kill or a reboot): starting it anew")
            teardown.remove(name)
        binaries = build.binaries(progress)
        if wanted:
            packages.ensure(packages.NODE_PROGRAMS, progress)
        return _start(name, binaries, wanted, progress)


def down(name: str = "dev") -> None:
    """Take a cluster down, whatever state it is in, and remove all that it left.

    Raises
    ------
    DevclusterError
        Something could not be ended or removed, or it was started by root and this is not root.
    """
    with lock(f"cluster-{name}"):
        teardown.remove(name)


def get(name: str = "dev") -> Cluster | None:
    """Return the cluster `name` if it is up and whole."""
    record = state.read(name)
    return _cluster(record) if record is not None and _is_whole(record) else None


def _check(name: str, nodes: int, *, control_plane_only: bool) -> None:
    if not NAME.fullmatch(name):
        raise DevclusterError(f"{name!r} is no name for a cluster: use up to 20 of a-z, 0-9 and -")
    if control_plane_only:
        return
    if not 1 <= nodes <= MAX_NODES:
        raise DevclusterError(f"a cluster has 1 to {MAX_NODES} nodes, not {nodes}")
    if os.geteuid() != 0:
        raise DevclusterError(
            "nodes need root, for namespaces and mounts: run this with sudo, or use --control-plane-only"
        )


def _is_whole(record: Record) -> bool:
    """Tell whether a cluster's start was completed and everything it started still runs."""
    if not record.ready or record.boot != state.boot_id():
        return False
    files = state.files(record.name)
    if any(files.process(component) is None for component in files.components()):
        return False
    with Api(files, record.server) as api:
        return api.is_ok("/readyz")


def _cluster(record: Record) -> Cluster:
    files = state.files(record.name)
    return Cluster(
        name=record.name,
        kubeconfig=files.kubeconfig,
        server=record.server,
        audit_log=files.audit_log,
        nodes=record.nodes,
        binaries=Path(record.binaries),
    )


def _start(name: str, binaries: Path, nodes: int, progress: Progress) -> Cluster:
    files = state.files(name)
    files.make()
    block = blocks.take(files.folder) if nodes else None
    record = Record(
        name=name,
        boot=state.boot_id(),
        binaries=str(binaries),
        server="",
        nodes=tuple(node.name(number) for number in range(nodes)),
        block=block,
        owner=os.environ.get("DEVCLUSTER_OWNER", ""),
    )
    at = _endpoints(record)
    record = replace(record, server=at.server)
    state.write(record)
    with ExitStack() as stack:
        if nodes:
            with progress.step("Preparing networks and nodes"):
                _prepare(files, record, at)
                _isolate(files, record)
        else:
            _prepare(files, record, at)
        with progress.step("Starting the control plane"):
            controlplane.start(binaries, files, at, record.plan)
            api = stack.enter_context(Api(files, at.server))
            for worker in record.nodes:
                node.start_runtime(files, worker)
            controlplane.wait_until_serving(files, api)
        if nodes:
            with progress.step("Starting the nodes" if nodes > 1 else "Starting the node"):
                _join(files, record, api)
        controlplane.wait_for_controllers(files, api)
    record = replace(record, ready=True)
    state.write(record)
    return _cluster(record)


def _endpoints(record: Record) -> Endpoints:
    """Choose where the control plane listens: fixed ports in a node's own network, free ones on loopback."""
    if record.nodes:
        return Endpoints(str(record.plan.node(0)), API_PORT, 2379, 2380, record.nodes[0])
    port, etcd_port, etcd_peer_port = _free_ports(3)
    return Endpoints("127.0.0.1", port, etcd_port, etcd_peer_port)


def _free_ports(count: int) -> list[int]:
    """Return ports that nothing listens on; all are held until all are known, so that they differ."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _prepare(files: Files, record: Record, at: Endpoints) -> None:
    """Make certificates and write every file that a program reads."""
    certificates = controlplane.certificates(at, record.plan)
    for number, worker in enumerate(record.nodes):
        certificates += pki.node_certificates(worker, str(record.plan.node(number)))
    if record.nodes:
        certificates += pki.cluster_certificates()
    pki.issue(Path(record.binaries) / "pki", files.pki, certificates)
    controlplane.write_config(files, at, record.name)
    for number in range(len(record.nodes)):
        node.prepare(files, record, number)
    if record.nodes:
        for user in ("coredns", "volume-provisioner"):
            content = pki.kubeconfig(files.pki, user, server=at.server, cluster=record.name)
            (files.config / f"{user}.kubeconfig").write_text(content)
        kubeconfig = files.config / "coredns.kubeconfig"
        (files.config / "Corefile").write_text(config.corefile(record.plan, kubeconfig))


def _isolate(files: Files, record: Record) -> None:
    """Make the switch and the namespaces of all nodes."""
    pause = Path(record.binaries) / node.PAUSE_PROGRAM
    switch = namespaces.hold(files, network.SWITCH, pause, kinds=["net"])
    network.connect_host(record.plan, switch, len(record.nodes))
    for number in range(len(record.nodes)):
        node.isolate(files, record, number, switch)


def _join(files: Files, record: Record, api: Api) -> None:
    """Start what needs the API server, and wait until pods can run and names resolve."""
    binaries, first = Path(record.binaries), record.nodes[0]
    _each(lambda number: node.start_agents(files, record, number), range(len(record.nodes)))
    for manifest in addons.manifests(record.plan):
        api.apply(manifest)
    namespaces.start(files, components.coredns(binaries, files, first))
    namespaces.start(files, components.volume_provisioner(binaries, files, first))
    _wait_until_useful(files, record, api)


def _wait_until_useful(files: Files, record: Record, api: Api) -> None:
    """Wait until pods can run, names resolve and Services are reached, each on every node."""
    dns = f"http://{record.plan.node(0)}:{config.DNS_READY_PORT}/ready"
    proxies = [
        f"http://{record.plan.node(number)}:{config.PROXY_HEALTH_PORT}/healthz" for number in range(len(record.nodes))
    ]
    conditions: list[tuple[str, Callable[[], bool], list[str]]] = [
        ("the nodes to be ready", lambda: _ready_nodes(api) >= len(record.nodes), _on_each(record, "kubelet")),
        ("Services to be reached", lambda: all(map(answers, proxies)), _on_each(record, "kube-proxy")),
        ("names to resolve", lambda: answers(dns), ["coredns"]),
    ]
    for what, condition, programs in conditions:
        wait(condition, what=what, files=files, components=programs, timeout_seconds=NODE_TIMEOUT_SECONDS)


def _on_each(record: Record, program: str) -> list[str]:
    """Return the names of the components that run `program` on each node."""
    return [f"{worker}-{program}" for worker in record.nodes]


def _ready_nodes(api: Api) -> int:
    """Count the nodes that report to be ready."""
    conditions = [each["status"].get("conditions", ()) for each in api.items("/api/v1/nodes")]
    return sum(any(c["type"] == "Ready" and c["status"] == "True" for c in each) for each in conditions)


def _each(action: Callable[[T], object], items: Iterable[T]) -> None:
    """Do something for all items at once; the first failure is raised when all have ended."""
    with ThreadPoolExecutor() as pool:
        list(pool.map(action, items))
