"""Which certificates a cluster has, and the kubeconfigs made from them.

Each program has an identity of its own, with the name that Kubernetes' built-in roles are bound to: authorization
then works here as it does anywhere else.
"""

import base64
import json
import subprocess
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import yaml

from devcluster.errors import DevclusterError


@dataclass(frozen=True)
class Certificate:
    """A certificate to issue: as NAME.crt and NAME.key."""

    name: str
    common_name: str
    organizations: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    """Names and addresses, when it is a server's."""


def control_plane_certificates(hosts: tuple[str, ...]) -> list[Certificate]:
    """Return the certificates of a control plane whose API server answers to `hosts`."""
    return [
        Certificate("apiserver", "kube-apiserver", hosts=hosts),
        Certificate("apiserver-kubelet-client", "kube-apiserver-kubelet-client", ("system:masters",)),
        Certificate("admin", "admin", ("system:masters",)),
        Certificate("kube-controller-manager", "system:kube-controller-manager"),
        Certificate("kube-scheduler", "system:kube-scheduler"),
    ]


def node_certificates(node: str, address: str) -> list[Certificate]:
    """Return the certificates of one node."""
    return [Certificate(node, f"system:node:{node}", ("system:nodes",), (node, address))]


def cluster_certificates() -> list[Certificate]:
    """Return the certificates of the programs that serve all nodes."""
    return [
        Certificate("kube-proxy", "system:kube-proxy"),
        Certificate("coredns", "system:coredns"),
        Certificate("volume-provisioner", "system:volume-provisioner"),
    ]


def issue(program: Path, folder: Path, certificates: Iterable[Certificate]) -> None:
    """Make an authority and issue `certificates` into `folder`.

    Parameters
    ----------
    program
        The program `pki` of the multi-call binary.
    folder
        Made if need be, readable by its owner only.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    requests = json.dumps([asdict(certificate) for certificate in certificates])
    result = subprocess.run([program, "--dir", folder], input=requests, check=False, capture_output=True, text=True)
    if result.returncode != 0:
        raise DevclusterError(f"the certificates could not be made: {result.stderr.strip()}")


def kubeconfig(folder: Path, user: str, *, server: str, cluster: str) -> str:
    """Return a kubeconfig, complete in itself, for the holder of the certificate `user`."""
    name = f"devcluster-{cluster}"
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": name,
            "contexts": [{"name": name, "context": {"cluster": name, "user": user}}],
            "clusters": [
                {
                    "name": name,
                    "cluster": {"server": server, "certificate-authority-data": _data(folder / "ca.crt")},
                }
            ],
            "users": [
                {
                    "name": user,
                    "user": {
                        "client-certificate-data": _data(folder / f"{user}.crt"),
                        "client-key-data": _data(folder / f"{user}.key"),
                    },
                }
            ],
        },
        sort_keys=False,
    )


def _data(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()
