"""The programs are configured for the addresses and folders that the cluster has."""

import json
import tomllib
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml

from devcluster import addons, components, config
from devcluster.addresses import AddressPlan
from devcluster.components import Endpoints
from devcluster.state import Files

PLAN = AddressPlan(1)
BINARIES = Path("/cache/bin")
FILES = Files(Path("/cache/clusters/dev"))
ON_NODE = Endpoints("198.18.16.10", 6443, 2379, 2380, "node-0")
ON_LOOPBACK = Endpoints("127.0.0.1", 40001, 40002, 40003)


def level_of(policy: dict[str, Any], request: dict[str, str]) -> str:
    """Return the level that an audit policy gives a request, by its first matching rule."""
    for rule in policy["rules"]:
        urls, resources = rule.get("nonResourceURLs"), rule.get("resources")
        if urls and not any(request.get("url", "").startswith(url.rstrip("*")) for url in urls):
            continue
        if resources and request.get("resource") not in resources[0]["resources"]:
            continue
        return str(rule["level"])
    return "None"


@pytest.mark.parametrize(
    ("request_", "level"),
    [
        ({"resource": "configmaps"}, "Metadata"),
        ({"resource": "secrets"}, "Metadata"),
        ({"resource": "leases"}, "None"),
        ({"url": "/readyz"}, "None"),
        ({"url": "/healthz"}, "None"),
    ],
)
def test_the_audit_log_has_every_object_but_leases_and_no_health_checks(request_: dict[str, str], level: str) -> None:
    assert level_of(yaml.safe_load(config.audit_policy()), request_) == level


def test_the_audit_log_has_one_line_for_each_request() -> None:
    stages = yaml.safe_load(config.audit_policy())["omitStages"]
    assert set(stages) == {"RequestReceived", "ResponseStarted"}


def test_containerd_uses_the_image_that_is_imported_as_pause() -> None:
    cri = tomllib.loads(config.containerd())["plugins"]["io.containerd.grpc.v1.cri"]
    assert cri["sandbox_image"] == config.PAUSE_IMAGE
    assert cri["restrict_oom_score_adj"] is True


@pytest.mark.parametrize("node", [0, 1, 7])
def test_pods_get_addresses_of_their_node(node: int) -> None:
    plugin = json.loads(config.pod_network(PLAN, node))["plugins"][0]
    assert plugin["ipam"]["ranges"] == [[{"subnet": str(PLAN.node_pods(node))}]]


def test_the_kubelet_answers_on_its_node_and_sends_pods_to_the_dns_service() -> None:
    text = config.kubelet(PLAN, 1, name="node-1", cgroup="/devcluster/dev/node-1", pki=Path("/pki"))
    kubelet = yaml.safe_load(text)
    assert kubelet["address"] == str(PLAN.node(1))
    assert kubelet["clusterDNS"] == [str(PLAN.dns_service)]
    assert kubelet["cgroupRoot"] == "/devcluster/dev/node-1"
    assert kubelet["authentication"]["anonymous"]["enabled"] is False


def test_kube_proxy_takes_the_pods_of_all_nodes_for_the_cluster() -> None:
    text = config.kube_proxy(PLAN, 0, name="node-0", kubeconfig=Path("/k"))
    assert ip_network(yaml.safe_load(text)["clusterCIDR"]) == PLAN.pods


def test_the_dns_service_ends_at_the_node_that_coredns_is_bound_to() -> None:
    slices = [each for each in addons.manifests(PLAN) if each["kind"] == "EndpointSlice"]
    services = [each for each in addons.manifests(PLAN) if each["kind"] == "Service"]
    address = slices[0]["endpoints"][0]["addresses"][0]
    assert f"bind {address}\n" in config.corefile(PLAN, Path("/k"))
    assert ip_address(services[0]["spec"]["clusterIP"]) == PLAN.dns_service


def test_authorization_is_on_with_and_without_nodes() -> None:
    for at in (ON_NODE, ON_LOOPBACK):
        argv = components.api_server(BINARIES, FILES, at, PLAN).argv
        assert "--authorization-mode=Node,RBAC" in argv
        assert f"--audit-log-path={FILES.audit_log}" in argv


def test_a_control_plane_without_nodes_runs_in_no_namespace_and_listens_on_loopback_only() -> None:
    started = [
        components.etcd(BINARIES, FILES, ON_LOOPBACK),
        components.api_server(BINARIES, FILES, ON_LOOPBACK, PLAN),
        components.controller_manager(BINARIES, FILES, ON_LOOPBACK),
    ]
    assert all(each.node is None and not each.namespaces for each in started)
    assert "--bind-address=127.0.0.1" in started[1].argv


def test_the_api_server_verifies_kubelets() -> None:
    argv = components.api_server(BINARIES, FILES, ON_NODE, PLAN).argv
    assert any(each.startswith("--kubelet-certificate-authority=") for each in argv)
