"""Bring clusters up and down: read this first, then `startup` and `teardown`.

A cluster whose start was never completed, or whose programs are not all alive (a kill, a reboot), is cleaned and
started anew: a development cluster is cheap to make and not worth repairing.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from devcluster import build, node, packages, startup, state, teardown
from devcluster.addresses import MAX_NODES
from devcluster.api import Api
from devcluster.concurrent import each
from devcluster.errors import DevclusterError
from devcluster.paths import lock
from devcluster.progress import Progress, Silent
from devcluster.state import Record


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
        each(lambda name: node.load(files, name, archive), self.nodes)

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
    files = state.files(name)
    _check(wanted, control_plane_only=control_plane_only)
    with lock(f"cluster-{name}"):
        record = state.read(name)
        if record is not None and _is_whole(record):
            if len(record.nodes) != wanted:
                raise DevclusterError(
                    f"cluster {name} is up with {len(record.nodes)} nodes, not {wanted}; "
                    f"take it down first: python -m devcluster down {name}"
                )
            return _cluster(record)
        if files.folder.exists():
            progress.note(f"Cluster {name} was left incomplete (a kill or a reboot): starting it anew")
            teardown.remove(name)
        binaries = build.binaries(progress)
        if wanted:
            packages.ensure(packages.NODE_PROGRAMS, progress)
        return _cluster(startup.start(name, binaries, wanted, progress))


def down(name: str = "dev") -> None:
    """Take a cluster down, whatever state it is in, and remove all that it left.

    Raises
    ------
    DevclusterError
        Something could not be ended or removed, it was started by root and this is not root, or it is no name.
    """
    state.files(name)  # refuses what is no name, before a lock is named after it
    with lock(f"cluster-{name}"):
        teardown.remove(name)


def get(name: str = "dev") -> Cluster | None:
    """Return the cluster `name` if it is up and whole."""
    record = state.read(name)
    return _cluster(record) if record is not None and _is_whole(record) else None


def _check(nodes: int, *, control_plane_only: bool) -> None:
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
