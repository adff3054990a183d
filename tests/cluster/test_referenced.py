"""An object of another operator stands for a component: found, followed and explained, with the operator's own rights.

Its operator does not run here; the tests write what it would write.
"""

import json
from collections.abc import Iterator

import pytest

from devcluster.cluster import Cluster
from tests.cluster.definitions import install
from tests.cluster.test_reconcile import create
from tests.support.api import Object
from tests.support.kube import Kube, audit_mark, audited, eventually

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("operator")]

CRD = "clusters.postgresql.cnpg.io"
REF = {"apiVersion": "postgresql.cnpg.io/v1", "kind": "Cluster", "name": "main"}
SPEC: Object = {"redis": {"enabled": False}, "postgresql": {"enabled": True, "operatorRef": REF}}


@pytest.fixture
def installed(kube: Kube) -> Iterator[None]:
    install(kube, CRD)
    yield
    kube.run("delete", "clusters.postgresql.cnpg.io", "--all", "--wait=false")


def _make_cluster(kube: Kube, password: str = "one") -> None:
    """Make a Cluster with what its operator would make of it."""
    spec = {"instances": 3, "storage": {"size": "1Gi"}}
    kube.apply({"apiVersion": REF["apiVersion"], "kind": REF["kind"], "metadata": {"name": "main"}, "spec": spec})
    kube.apply(
        _secret("main-app", username="app", password=password),
        _secret("main-ca", **{"ca.crt": "certificate"}),
    )


def _secret(name: str, **values: str) -> Object:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": values}


def _report(kube: Kube, status: str, reason: str, phase: str, serving: int) -> None:
    """Write the Cluster's status as its operator would."""
    ready = {"type": "Ready", "status": status, "reason": reason, "message": phase}
    condition = {**ready, "lastTransitionTime": "2026-01-01T00:00:00Z"}
    body = {"status": {"conditions": [condition], "phase": phase, "instances": 3, "readyInstances": serving}}
    kube.run("patch", CRD, "main", "--subresource=status", "--type=merge", "-p", json.dumps(body))


def _config_hash(kube: Kube) -> str:
    template = kube.must("deployment", "demo-runtime")["spec"]["template"]
    return template["metadata"]["annotations"]["aiassistant.dev/config-hash"]


def test_a_kind_that_is_not_installed_stalls_until_it_is(kube: Kube) -> None:
    kube.run("delete", "crd", CRD, "--ignore-not-found")
    create(kube, **SPEC)
    stalled = kube.wait_for_reason("demo", "ApiNotInstalled", "Stalled")
    assert stalled["message"].startswith("spec.postgresql.operatorRef: this cluster serves no Cluster of")
    assert CRD in stalled["message"]
    assert "CloudNativePG" in stalled["message"]
    assert kube.get("deployment", "demo-runtime") is None
    install(kube, CRD)
    missing = kube.wait_for_reason("demo", "ObjectNotFound")
    assert f"kubectl -n {kube.namespace} get {CRD}" in missing["message"]
    _make_cluster(kube)
    eventually(lambda: kube.get("deployment", "demo-runtime"), "the runtime is deployed")
    kube.run("delete", CRD, "main")
    kube.wait_for_reason("demo", "ObjectNotFound")
    assert kube.get("deployment", "demo-runtime"), "the running stack stays"


@pytest.mark.usefixtures("installed")
def test_its_secret_is_waited_for_and_its_change_rolls_the_runtime(kube: Kube) -> None:
    _make_cluster(kube)
    kube.run("delete", "secret", "main-app")
    create(kube, **SPEC)
    waiting = kube.wait_for_reason("demo", "SecretNotFound")
    assert "CloudNativePG has not yet put key" in waiting["message"]
    kube.apply(_secret("main-app", username="app", password="one"))
    eventually(lambda: kube.get("deployment", "demo-runtime"), "the runtime is deployed")
    before = _config_hash(kube)
    kube.apply(_secret("main-app", username="app", password="two"))
    eventually(lambda: _config_hash(kube) != before, "the pod template changed")


@pytest.mark.usefixtures("installed")
def test_the_condition_follows_what_its_operator_says(kube: Kube) -> None:
    _make_cluster(kube)
    create(kube, **SPEC)
    _report(kube, "True", "ClusterIsReady", "Cluster in healthy state", 3)
    ready = kube.wait_for_reason("demo", "Ready", "PostgreSQLReady")
    assert (ready["status"], ready["message"]) == ("True", "Cluster main: 3/3 instances are ready.")
    _report(kube, "False", "ClusterIsNotReady", "Failing over", 2)
    bad = kube.wait_for_reason("demo", "ClusterIsNotReady", "PostgreSQLReady", timeout=15)
    assert bad["message"] == "Cluster main: 2/3 instances are ready: Failing over"
    _report(kube, "True", "ClusterIsReady", "Cluster in healthy state", 3)
    kube.wait_for_reason("demo", "Ready", "PostgreSQLReady")


@pytest.mark.usefixtures("installed")
def test_following_an_object_costs_no_request(kube: Kube, control_plane: Cluster) -> None:
    _make_cluster(kube)
    create(kube, **SPEC)
    _report(kube, "True", "ClusterIsReady", "Cluster in healthy state", 3)
    kube.wait_for_reason("demo", "Ready", "PostgreSQLReady")
    eventually(lambda: kube.must("aia", "demo")["status"]["replicas"] == 3, "all pods are counted")
    mark = audit_mark(control_plane)
    kube.run("label", CRD, "main", "example.com/look=again")
    kube.run("annotate", "aia", "demo", "example.com/look=again")
    create(kube, "later", redis={"enabled": False})
    requests = audited(control_plane, mark, kube.namespace)
    assert requests["patch", "deployments", "later-runtime"] == 1, "the audit log shows requests"
    assert not [request for request in requests if request[2].startswith(("demo", "main"))]
    assert not [request for request in requests if request[1] == "clusters"]
