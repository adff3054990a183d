"""The configuration files of the programs, as text: pure functions of the address plan and of paths.

Where a value differs from the program's default, the comment beside it says why.
"""

import json
from pathlib import Path

import yaml

from devcluster.addresses import AddressPlan

CLUSTER_DOMAIN = "cluster.local"
DNS_READY_PORT = 8181
PROXY_HEALTH_PORT = 10256
PAUSE_IMAGE = "localhost/devcluster-pause:1"

NODE_FILES = Path("/run/devcluster-node")
"""Where a node sees its own folder: the same path on each, whatever the cache is called."""


def audit_policy() -> str:
    """Who did what to which object, without bodies; what runs on a timer is left out."""
    quiet_urls = ["/healthz*", "/livez*", "/readyz*", "/version", "/metrics", "/openapi/*"]
    leases = {"group": "coordination.k8s.io", "resources": ["leases"]}
    return yaml.safe_dump(
        {
            "apiVersion": "audit.k8s.io/v1",
            "kind": "Policy",
            # One line a request, written when it has been answered.
            "omitStages": ["RequestReceived", "ResponseStarted"],
            "rules": [
                {"level": "None", "nonResourceURLs": quiet_urls},
                {"level": "None", "resources": [leases]},
                {"level": "Metadata", "omitManagedFields": True},
            ],
        },
        sort_keys=False,
    )


def containerd() -> str:
    """Return containerd's configuration; its folders are the defaults, which each node has to itself."""
    return f"""\
version = 2
oom_score = 0
disabled_plugins = [
  "io.containerd.internal.v1.opt",
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
]

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  # Inside a container or a virtual machine root often may not lower a score (CAP_SYS_RESOURCE).
  restrict_oom_score_adj = true
  disable_tcp_service = true

[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "/usr/lib/cni"
  conf_dir = "{NODE_FILES}/cni"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
"""


def pod_network(plan: AddressPlan, node: int) -> str:
    """Return the CNI configuration: a bridge for each node, and no masquerading, since all routes are known."""
    subnet = str(plan.node_pods(node))
    bridge = {
        "type": "bridge",
        "bridge": "pods",
        "isGateway": True,
        # A pod reaches itself through its own Service.
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": subnet}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    return json.dumps({"cniVersion": "0.4.0", "name": "pods", "plugins": [bridge]}, indent=2)


def kubelet(plan: AddressPlan, node: int, *, name: str, cgroup: str, pki: Path) -> str:
    """Return the kubelet's configuration.

    Parameters
    ----------
    plan
        The cluster's addresses.
    node
        Number of the node, from 0.
    name
        Name of the node.
    cgroup
        The cgroup, from the root of each hierarchy, that holds the node's pods.
    pki
        Folder of the certificates, as the node sees it.
    """
    return yaml.safe_dump(
        {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": str(plan.node(node)),
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": str(pki / "ca.crt")},
            },
            "authorization": {"mode": "Webhook"},
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": cgroup,
            "clusterDNS": [str(plan.dns_service)],
            "clusterDomain": CLUSTER_DOMAIN,
            "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
            # The machine is shared: no share of it is set aside, and a full disk elsewhere evicts nothing.
            "enforceNodeAllocatable": [],
            "evictionHard": {
                "memory.available": "1%",
                "nodefs.available": "1%",
                "nodefs.inodesFree": "1%",
                "imagefs.available": "1%",
            },
            # Virtual machines and containers often still have the first version of cgroups, and swap.
            "failCgroupV1": False,
            "failSwapOn": False,
            # Images come from archives: what is collected could not be pulled again.
            "imageGCHighThresholdPercent": 100,
            # kube-proxy uses nftables, and there may be no iptables.
            "makeIPTablesUtilChains": False,
            "resolvConf": str(NODE_FILES / "resolv.conf"),
            "serializeImagePulls": False,
            # Sooner than every minute, so that a Secret that changes or appears is seen within seconds.
            "syncFrequency": "10s",
            "tlsCertFile": str(pki / f"{name}.crt"),
            "tlsPrivateKeyFile": str(pki / f"{name}.key"),
        },
        sort_keys=False,
    )


def kube_proxy(plan: AddressPlan, node: int, *, name: str, kubeconfig: Path) -> str:
    """Return kube-proxy's configuration; traffic from this machine counts as from outside the cluster."""
    return yaml.safe_dump(
        {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "bindAddress": "0.0.0.0",  # noqa: S104 - the address family of Services, in a namespace of its own
            "clientConnection": {"kubeconfig": str(kubeconfig)},
            "clusterCIDR": str(plan.pods),
            # The limits of connection tracking belong to the machine, not to a cluster on it.
            "conntrack": {"maxPerCore": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
            "healthzBindAddress": f"{plan.node(node)}:{PROXY_HEALTH_PORT}",
            "hostnameOverride": name,
            "metricsBindAddress": "127.0.0.1:10249",
            "mode": "nftables",
            "nftables": {"minSyncPeriod": "100ms"},
        },
        sort_keys=False,
    )


def corefile(plan: AddressPlan, kubeconfig: Path) -> str:
    """Return CoreDNS' configuration: names of the cluster, and at once "no such name" for all others."""
    address = plan.node(0)
    return f"""\
{CLUSTER_DOMAIN} in-addr.arpa {{
    bind {address}
    errors
    ready {address}:{DNS_READY_PORT}
    kubernetes {{
        kubeconfig "{kubeconfig}"
        pods insecure
    }}
}}
. {{
    bind {address}
    errors
    template ANY ANY {{
        rcode NXDOMAIN
    }}
}}
"""
