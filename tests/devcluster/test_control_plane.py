"""A control plane alone: a real API server with real authorization, admission, audit and garbage collection."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
import yaml

from devcluster import cluster, process, startup, state
from devcluster.cluster import Cluster
from devcluster.errors import DevclusterError
from tests.devcluster.support import eventually, kubectl, processes, requests

pytestmark = pytest.mark.cluster

free_ports = startup.free_ports

WIDGETS = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "widgets.example.com"},
    "spec": {
        "group": "example.com",
        "names": {"kind": "Widget", "plural": "widgets", "singular": "widget"},
        "scope": "Namespaced",
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {
                                "type": "object",
                                "properties": {"size": {"type": "integer"}},
                                "x-kubernetes-validations": [{"rule": "self.size > 0", "message": "too small"}],
                            }
                        },
                    }
                },
            }
        ],
    },
}


@pytest.fixture(scope="module")
def shared() -> Iterator[Cluster]:
    """A control plane for tests that only add objects."""
    up = cluster.up(f"t{os.getpid()}-shared", control_plane_only=True)
    yield up
    up.down()


def widget(size: int) -> str:
    content = {
        "apiVersion": "example.com/v1",
        "kind": "Widget",
        "metadata": {"name": "w", "namespace": "default"},
        "spec": {"size": size},
    }
    return yaml.safe_dump(content)


def test_custom_resources_are_served_and_validated(shared: Cluster) -> None:
    kubectl(shared, "apply", "-f", "-", text=yaml.safe_dump(WIDGETS))
    # Not by kubectl's own wait, which fails on a definition that has no conditions yet.
    eventually(lambda: "widgets" in kubectl(shared, "api-resources", "--api-group=example.com"), "the widgets")
    assert "too small" in kubectl(shared, "apply", "-f", "-", text=widget(0), check=False)
    kubectl(shared, "apply", "-f", "-", text=widget(1))
    assert kubectl(shared, "get", "widget", "w", "-o", "jsonpath={.spec.size}") == "1"


def test_what_an_object_owns_is_collected_when_it_is_deleted(shared: Cluster) -> None:
    kubectl(shared, "create", "configmap", "owner")
    identity = kubectl(shared, "get", "configmap", "owner", "-o", "jsonpath={.metadata.uid}")
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": identity}
    owned = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "owned", "ownerReferences": [reference]},
    }
    kubectl(shared, "create", "-f", "-", text=yaml.safe_dump(owned))
    kubectl(shared, "delete", "configmap", "owner")
    found = ["get", "secret", "owned", "--ignore-not-found", "-o", "name"]
    eventually(lambda: not kubectl(shared, *found), "the garbage collector")


def test_deployments_get_their_replica_sets(shared: Cluster) -> None:
    kubectl(shared, "create", "deployment", "app", "--image=localhost/none", "--replicas=0")
    eventually(lambda: kubectl(shared, "get", "replicasets", "-l", "app=app", "-o", "name"), "a replica set")


def test_a_service_account_may_do_nothing_until_it_is_allowed_to(shared: Cluster) -> None:
    account = "system:serviceaccount:default:default"
    asked = ["auth", "can-i", "list", "configmaps", f"--as={account}"]
    assert kubectl(shared, *asked, check=False).strip().splitlines()[0] == "no"
    kubectl(shared, "create", "rolebinding", "view", "--clusterrole=view", "--serviceaccount=default:default")
    eventually(lambda: kubectl(shared, *asked, check=False).startswith("yes"), "the role binding")


def test_pod_security_is_enforced_where_a_namespace_asks_for_it(shared: Cluster) -> None:
    kubectl(shared, "create", "namespace", "strict")
    kubectl(shared, "label", "namespace", "strict", "pod-security.kubernetes.io/enforce=restricted")
    run = ["--namespace=strict", "run", "p", "--image=localhost/none"]
    assert 'violates PodSecurity "restricted' in kubectl(shared, *run, check=False)


def test_the_audit_log_tells_who_wrote_what(shared: Cluster) -> None:
    kubectl(shared, "create", "configmap", "audited")

    def written() -> list[dict[str, object]]:
        named = [line for line in requests(shared) if line.get("objectRef", {}).get("name") == "audited"]
        return [line for line in named if line["verb"] == "create"]

    [line] = eventually(written, "the audit log")
    assert line["user"]["username"] == "admin"
    assert line["userAgent"].startswith("kubectl/")
    assert line["objectRef"]["resource"] == "configmaps"
    assert line["responseStatus"]["code"] == 201
    assert "requestObject" not in line


def test_the_audit_log_leaves_out_leases_and_health_checks(shared: Cluster) -> None:
    kubectl(shared, "get", "--raw", "/readyz")
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "quiet"}}
    kubectl(shared, "create", "-f", "-", text=yaml.safe_dump(lease))
    kubectl(shared, "create", "configmap", "after")

    def named() -> list[str | None]:
        return [line.get("objectRef", {}).get("name") for line in requests(shared)]

    eventually(lambda: "after" in named(), "the audit log")
    assert "quiet" not in named()
    assert not any(line["requestURI"].startswith("/readyz") for line in requests(shared))


def test_two_clusters_side_by_side_know_nothing_of_each_other(shared: Cluster, names: Callable[[], str]) -> None:
    other = cluster.up(names(), control_plane_only=True)
    assert other.server != shared.server
    kubectl(other, "create", "configmap", "mine")
    assert "NotFound" in kubectl(shared, "get", "configmap", "mine", check=False)
    assert "NotFound" not in kubectl(other, "get", "configmap", "mine", check=False)
    other.down()
    assert kubectl(shared, "get", "--raw", "/readyz") == "ok"


def test_up_again_changes_nothing(shared: Cluster) -> None:
    before = processes(shared.name)
    assert cluster.up(shared.name, control_plane_only=True) == shared
    assert processes(shared.name) == before


def test_a_cluster_outlives_the_command_that_started_it_and_another_one_takes_it_down(
    names: Callable[[], str],
) -> None:
    name = names()
    driver = [sys.executable, "-m", "devcluster"]
    subprocess.run([*driver, "up", name, "--control-plane-only"], check=True, capture_output=True)
    running = processes(name)
    assert len(running) == len(state.files(name).components()) == 3
    subprocess.run([*driver, "down", name], check=True, capture_output=True)
    assert not any(process.is_alive(each) for each in running)
    assert not state.files(name).folder.exists()


def test_two_commands_at_once_start_one_cluster(names: Callable[[], str]) -> None:
    command = [sys.executable, "-m", "devcluster", "up", names(), "--control-plane-only", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as first:
        second = subprocess.run(command, check=True, capture_output=True)
        assert first.stdout is not None
        assert first.stdout.read() == second.stdout


def test_up_works_after_everything_was_killed(names: Callable[[], str]) -> None:
    name = names()
    first = cluster.up(name, control_plane_only=True)
    kubectl(first, "create", "configmap", "old")
    for each in processes(name):
        process.kill(each)
    assert cluster.get(name) is None
    second = cluster.up(name, control_plane_only=True)
    assert "NotFound" in kubectl(second, "get", "configmap", "old", check=False)


def test_a_start_that_fails_shows_why_and_leaves_nothing_after_down(
    names: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = names()
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setattr(startup, "free_ports", lambda _: [port, *free_ports(2)])
        with pytest.raises(DevclusterError, match=r"(?s)kube-apiserver ended.*address already in use"):
            cluster.up(name, control_plane_only=True)
    started = processes(name)
    assert started
    cluster.down(name)
    assert not any(process.is_alive(each) for each in started)
    assert not state.files(name).folder.exists()


def test_an_interrupted_start_is_cleaned_by_down(names: Callable[[], str]) -> None:
    name = names()
    command = [sys.executable, "-m", "devcluster", "up", name, "--control-plane-only"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as driver:
        while state.files(name).process("kube-apiserver") is None:
            assert driver.poll() is None
            time.sleep(0.01)
        driver.kill()
    started = processes(name)
    assert cluster.get(name) is None
    cluster.down(name)
    assert not any(process.is_alive(each) for each in started)
    assert not state.files(name).folder.exists()
