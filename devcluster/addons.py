"""What a fresh cluster gets applied: cluster DNS, storage classes, and the roles of both programs.

CoreDNS and the volume provisioner are processes, not pods, so that a cluster needs no image at all but can still
be asked for names and volumes in the usual way.
"""

from typing import Any

from devcluster.addresses import AddressPlan

PROVISIONER = "devcluster.local/folder"
STORAGE_CLASS = "standard"
FIXED_STORAGE_CLASS = "fixed"
"""Its volumes do not grow."""

READ = ["get", "list", "watch"]


def manifests(plan: AddressPlan) -> list[dict[str, Any]]:
    """Return every object, in the order in which they are created."""
    return [
        *_role("system:coredns", _DNS_RULES),
        *_role("system:volume-provisioner", _VOLUME_RULES),
        _storage_class(STORAGE_CLASS, default=True, growing=True),
        _storage_class(FIXED_STORAGE_CLASS, default=False, growing=False),
        *_dns_service(plan),
    ]


_DNS_RULES = [
    {"apiGroups": [""], "resources": ["services", "pods", "namespaces"], "verbs": READ},
    {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": READ},
]

_VOLUME_RULES = [
    {"apiGroups": [""], "resources": ["persistentvolumes"], "verbs": [*READ, "create", "delete", "patch"]},
    {"apiGroups": [""], "resources": ["persistentvolumeclaims"], "verbs": [*READ, "update", "patch"]},
    {"apiGroups": [""], "resources": ["persistentvolumeclaims/status"], "verbs": ["patch"]},
    {"apiGroups": [""], "resources": ["nodes"], "verbs": READ},
    {"apiGroups": ["storage.k8s.io"], "resources": ["storageclasses"], "verbs": READ},
    {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "update", "patch"]},
]


def _role(user: str, rules: list[dict[str, Any]]) -> list[dict[str, Any]]:
    api = "rbac.authorization.k8s.io"
    role = {
        "apiVersion": f"{api}/v1",
        "kind": "ClusterRole",
        "metadata": {"name": user},
        "rules": rules,
    }
    binding = {
        "apiVersion": f"{api}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": user},
        "roleRef": {"apiGroup": api, "kind": "ClusterRole", "name": user},
        "subjects": [{"apiGroup": api, "kind": "User", "name": user}],
    }
    return [role, binding]


def _storage_class(name: str, *, default: bool, growing: bool) -> dict[str, Any]:
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {
            "name": name,
            "annotations": {"storageclass.kubernetes.io/is-default-class": str(default).lower()},
        },
        "provisioner": PROVISIONER,
        "allowVolumeExpansion": growing,
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "WaitForFirstConsumer",
    }


def _dns_service(plan: AddressPlan) -> list[dict[str, Any]]:
    """The Service of CoreDNS, without selector: its one endpoint is the node that the process runs on."""
    metadata = {"name": "kube-dns", "namespace": "kube-system", "labels": {"k8s-app": "kube-dns"}}
    ports = [{"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "dns-tcp", "port": 53, "protocol": "TCP"}]
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {"clusterIP": str(plan.dns_service), "ports": ports},
    }
    endpoints = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {**metadata, "labels": {"kubernetes.io/service-name": "kube-dns"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [str(plan.node(0))], "conditions": {"ready": True}}],
        "ports": ports,
    }
    return [service, endpoints]
