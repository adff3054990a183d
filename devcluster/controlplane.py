"""Bring up the control plane: certificates, etcd, the API server, the controllers and the scheduler.

Each is started when what it asks is there: a client of etcd waits a second before it tries again, and the controllers
give up on an API server that takes more than ten seconds on a busy machine.
"""

import os
from pathlib import Path

from devcluster import components, config, namespaces, pki
from devcluster.addresses import AddressPlan
from devcluster.api import Api, wait
from devcluster.components import Endpoints
from devcluster.state import Files

ETCD_TIMEOUT_SECONDS = 30.0
API_TIMEOUT_SECONDS = 120.0
CONTROLLERS_TIMEOUT_SECONDS = 60.0

LISTENING = "0A"
"""State of a listening socket in /proc/PID/net/tcp."""

LOCAL_NAMES = ("localhost", "127.0.0.1")
SERVICE_NAMES = (
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    f"kubernetes.default.svc.{config.CLUSTER_DOMAIN}",
)


def certificates(at: Endpoints, plan: AddressPlan) -> list[pki.Certificate]:
    """Return the certificates of a control plane."""
    hosts = (*LOCAL_NAMES, *SERVICE_NAMES, str(plan.kubernetes_service), at.address)
    return pki.control_plane_certificates(tuple(dict.fromkeys(hosts)))


def write_config(files: Files, at: Endpoints, cluster: str) -> None:
    """Write the kubeconfigs and the audit policy."""
    for user in ("kube-controller-manager", "kube-scheduler"):
        content = pki.kubeconfig(files.pki, user, server=at.server, cluster=cluster)
        (files.config / f"{user}.kubeconfig").write_text(content)
    files.kubeconfig.touch(mode=0o600)
    files.kubeconfig.write_text(pki.kubeconfig(files.pki, "admin", server=at.server, cluster=cluster))
    (files.config / "audit-policy.yaml").write_text(config.audit_policy())


def start(binaries: Path, files: Files, at: Endpoints, plan: AddressPlan) -> None:
    """Start etcd and the API server."""
    namespaces.start(files, components.etcd(binaries, files, at))
    wait(
        lambda: _listens(files, at, at.etcd_port),
        what="etcd to listen",
        files=files,
        components=["etcd"],
        timeout_seconds=ETCD_TIMEOUT_SECONDS,
    )
    namespaces.start(files, components.api_server(binaries, files, at, plan))


def wait_until_serving(files: Files, api: Api) -> None:
    """Wait for the API server."""
    wait(
        lambda: api.is_ok("/readyz"),
        what="the API server to be ready",
        files=files,
        components=["kube-apiserver", "etcd"],
        timeout_seconds=API_TIMEOUT_SECONDS,
    )


def start_controllers(binaries: Path, files: Files, at: Endpoints) -> None:
    """Start what works on objects; a control plane without nodes has nothing to schedule on, and so no scheduler."""
    namespaces.start(files, components.controller_manager(binaries, files, at))
    if at.node is not None:
        namespaces.start(files, components.scheduler(binaries, files, at))


def wait_for_controllers(files: Files, api: Api) -> None:
    """Wait for the first fruit of the controllers, without which no pod can be created."""
    wait(
        lambda: api.is_ok("/api/v1/namespaces/default/serviceaccounts/default"),
        what="the default service account",
        files=files,
        components=["kube-controller-manager", "kube-apiserver"],
        timeout_seconds=CONTROLLERS_TIMEOUT_SECONDS,
    )


def _listens(files: Files, at: Endpoints, port: int) -> bool:
    """Tell whether a port is listened on, in the network that the control plane is in."""
    inside = namespaces.find(files, at.node) if at.node is not None else None
    pid = inside.init.pid if inside is not None else os.getpid()
    rows = Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]
    sockets = [row.split() for row in rows]
    return any(fields[1].endswith(f":{port:04X}") and fields[3] == LISTENING for fields in sockets)
