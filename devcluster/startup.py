"""Start a cluster: the order of things, from nothing to pods that run.

The record is written first. Then come certificates and configuration, namespaces and networks, the control plane
with the container runtimes beside it, and what joins them. Each wait ends at once when a program that it depends on
has ended.
"""

import os
import random
import socket
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from itertools import islice
from pathlib import Path

from devcluster import (
    addons,
    blocks,
    components,
    config,
    controlplane,
    namespaces,
    network,
    node,
    pki,
    state,
)
from devcluster.addresses import API_PORT
from devcluster.api import Api, answers, wait
from devcluster.components import Endpoints
from devcluster.concurrent import each
from devcluster.progress import Progress
from devcluster.state import Files, Record

NODE_TIMEOUT_SECONDS = 120.0

FIRST_PORT = 20000
"""Below are the ports of well-known servers."""


def start(name: str, binaries: Path, nodes: int, progress: Progress) -> Record:
    """Start a cluster of which nothing is there yet.

    Parameters
    ----------
    name
        Of the cluster.
    binaries
        Folder of the programs.
    nodes
        How many nodes; 0 for a control plane alone.
    progress
        Told of each step.

    Returns
    -------
    Record
        The completed record.

    Raises
    ------
    DevclusterError
        A program ended or was not ready in time. What was started is on record, so that it can be taken down.
    """
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
            controlplane.start_controllers(binaries, files, at)
        if nodes:
            with progress.step("Starting the nodes" if nodes > 1 else "Starting the node"):
                _join(files, record, api)
        controlplane.wait_for_controllers(files, api)
    record = replace(record, ready=True)
    state.write(record)
    return record


def _endpoints(record: Record) -> Endpoints:
    """Choose where the control plane listens: fixed ports in a node's own network, free ones on loopback."""
    if record.nodes:
        return Endpoints(str(record.plan.node(0)), API_PORT, 2379, 2380, record.nodes[0])
    port, etcd_port, etcd_peer_port = free_ports(3)
    return Endpoints("127.0.0.1", port, etcd_port, etcd_peer_port)


def free_ports(count: int) -> list[int]:
    """Return ports of loopback that nothing listens on.

    They are below those that the kernel gives to outgoing connections, which could take one before it is used.
    """
    first, _ = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    candidates = random.sample(range(FIRST_PORT, max(first, FIRST_PORT + 1000)), k=1000)
    return list(islice(filter(_is_free, candidates), count))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


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
    network.load_bridge_filter()
    pause = Path(record.binaries) / node.PAUSE_PROGRAM
    switch = namespaces.hold(files, network.SWITCH, pause, kinds=["net"])
    network.connect_host(record.plan, switch, len(record.nodes))
    for number in range(len(record.nodes)):
        node.isolate(files, record, number, switch)


def _join(files: Files, record: Record, api: Api) -> None:
    """Start what needs the API server, and wait until pods can run and names resolve."""
    binaries, first = Path(record.binaries), record.nodes[0]
    each(lambda number: node.start_agents(files, record, number), range(len(record.nodes)))
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
        ("the nodes to be ready", lambda: _ready_nodes(api) >= len(record.nodes), _oneach(record, "kubelet")),
        ("Services to be reached", lambda: all(map(answers, proxies)), _oneach(record, "kube-proxy")),
        ("names to resolve", lambda: answers(dns), ["coredns"]),
    ]
    for what, condition, programs in conditions:
        wait(condition, what=what, files=files, components=programs, timeout_seconds=NODE_TIMEOUT_SECONDS)


def _oneach(record: Record, program: str) -> list[str]:
    """Return the names of the components that run `program` on each node."""
    return [f"{worker}-{program}" for worker in record.nodes]


def _ready_nodes(api: Api) -> int:
    """Count the nodes that report to be ready."""
    conditions = [each["status"].get("conditions", ()) for each in api.items("/api/v1/nodes")]
    return sum(any(c["type"] == "Ready" and c["status"] == "True" for c in each) for each in conditions)
