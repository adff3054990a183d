"""The command line of every program: pure functions of the record and the files of a cluster.

A component says in which of a node's namespaces it runs. What needs the node's own /run and /var (containerd,
kubelet) joins all of them; the others keep this machine's files, so that their paths are the same inside and
outside.
"""

from dataclasses import dataclass
from pathlib import Path

from devcluster.addons import PROVISIONER
from devcluster.addresses import AddressPlan
from devcluster.config import CLUSTER_DOMAIN, NODE_FILES
from devcluster.state import Files

NETWORK = ("net", "pid")
EVERYTHING = ("mount", "net", "pid")


@dataclass(frozen=True)
class Component:
    """A program to run."""

    name: str
    """Of the component, its log and its record; contains the node's name when each node has one."""
    argv: tuple[str, ...]
    node: str | None = None
    """The node in whose namespaces it runs; None for this machine's own."""
    namespaces: tuple[str, ...] = ()


@dataclass(frozen=True)
class Endpoints:
    """Where the programs of a control plane listen."""

    address: str
    port: int
    etcd_port: int
    etcd_peer_port: int
    node: str | None = None
    """The node that runs the control plane."""

    @property
    def server(self) -> str:
        """URL of the API server."""
        return f"https://{self.address}:{self.port}"

    @property
    def etcd(self) -> str:
        """URL of etcd, reachable from the API server only."""
        return f"http://127.0.0.1:{self.etcd_port}"

    @property
    def namespaces(self) -> tuple[str, ...]:
        """Namespaces of the control plane."""
        return NETWORK if self.node else ()


def etcd(binaries: Path, files: Files, at: Endpoints) -> Component:
    """Return the store of the API server."""
    argv = (
        f"{binaries}/etcd",
        f"--data-dir={files.folder / 'etcd'}",
        f"--listen-client-url={at.etcd}",
        f"--listen-peer-url=http://127.0.0.1:{at.etcd_peer_port}",
    )
    return Component("etcd", argv, at.node, at.namespaces)


def api_server(binaries: Path, files: Files, at: Endpoints, plan: AddressPlan) -> Component:
    """Return the API server, with authorization, admission and audit as on any real cluster."""
    pki = files.pki
    argv = [
        f"{binaries}/kube-apiserver",
        f"--advertise-address={plan.node(0)}",
        f"--bind-address={at.address}",
        f"--secure-port={at.port}",
        f"--etcd-servers={at.etcd}",
        f"--client-ca-file={pki}/ca.crt",
        f"--tls-cert-file={pki}/apiserver.crt",
        f"--tls-private-key-file={pki}/apiserver.key",
        f"--service-account-issuer=https://kubernetes.default.svc.{CLUSTER_DOMAIN}",
        f"--service-account-key-file={pki}/sa.pub",
        f"--service-account-signing-key-file={pki}/sa.key",
        f"--service-cluster-ip-range={plan.services}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged",
        "--profiling=false",
        f"--audit-policy-file={files.config}/audit-policy.yaml",
        f"--audit-log-path={files.audit_log}",
        "--audit-log-maxsize=1024",  # megabytes: a test that counts lines must not meet a rotation
    ]
    if at.node is None:
        # Nothing can reach the Service `kubernetes`: a loopback address is no valid endpoint.
        argv.append("--endpoint-reconciler-type=none")
    else:
        argv += [
            f"--kubelet-certificate-authority={pki}/ca.crt",
            f"--kubelet-client-certificate={pki}/apiserver-kubelet-client.crt",
            f"--kubelet-client-key={pki}/apiserver-kubelet-client.key",
            "--kubelet-preferred-address-types=InternalIP",
        ]
    return Component("kube-apiserver", tuple(argv), at.node, at.namespaces)


def controller_manager(binaries: Path, files: Files, at: Endpoints) -> Component:
    """Return the built-in controllers, each under its own service account."""
    argv = (
        f"{binaries}/kube-controller-manager",
        f"--kubeconfig={files.config}/kube-controller-manager.kubeconfig",
        f"--root-ca-file={files.pki}/ca.crt",
        f"--service-account-private-key-file={files.pki}/sa.key",
        "--use-service-account-credentials",
        "--leader-elect=false",
        "--profiling=false",
        "--secure-port=0",
        # The default, 20 requests a second, is for a shared cluster: garbage collection would set a test's pace.
        "--kube-api-qps=200",
        "--kube-api-burst=400",
    )
    return Component("kube-controller-manager", argv, at.node, at.namespaces)


def scheduler(binaries: Path, files: Files, at: Endpoints) -> Component:
    """Return the scheduler."""
    argv = (
        f"{binaries}/kube-scheduler",
        f"--kubeconfig={files.config}/kube-scheduler.kubeconfig",
        "--leader-elect=false",
        "--profiling=false",
        "--secure-port=0",
    )
    return Component("kube-scheduler", argv, at.node, at.namespaces)


def coredns(binaries: Path, files: Files, node: str) -> Component:
    """Return cluster DNS."""
    argv = (f"{binaries}/coredns", f"--conf={files.config}/Corefile")
    return Component("coredns", argv, node, NETWORK)


def volume_provisioner(binaries: Path, files: Files, node: str) -> Component:
    """Return what answers volume claims."""
    argv = (
        f"{binaries}/volume-provisioner",
        f"--kubeconfig={files.config}/volume-provisioner.kubeconfig",
        f"--name={PROVISIONER}",
        f"--nodes={files.nodes}",
    )
    return Component("volume-provisioner", argv, node, NETWORK)


def containerd(node: str) -> Component:
    """Return the container runtime of a node."""
    argv = ("containerd", f"--config={NODE_FILES}/containerd.toml", "--log-level=warn")
    return Component(f"{node}-containerd", argv, node, EVERYTHING)


def kubelet(node: str, address: str) -> Component:
    """Return the kubelet of a node."""
    argv = (
        f"{NODE_FILES}/bin/kubelet",
        f"--config={NODE_FILES}/kubelet.yaml",
        f"--kubeconfig={NODE_FILES}/kubelet.kubeconfig",
        f"--hostname-override={node}",
        f"--node-ip={address}",
    )
    return Component(f"{node}-kubelet", argv, node, EVERYTHING)


def kube_proxy(node: str) -> Component:
    """Return what makes Service addresses work on a node."""
    argv = (f"{NODE_FILES}/bin/kube-proxy", f"--config={NODE_FILES}/kube-proxy.yaml")
    return Component(f"{node}-kube-proxy", argv, node, EVERYTHING)
