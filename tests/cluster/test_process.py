"""The operator as a process: restarts cost nothing, deletion needs no operator, and a namespace's rights are enough."""

from pathlib import Path

import pytest

from devcluster.cluster import Cluster
from tests.cluster.referenced import make, read, report, told
from tests.operator.assistants import resource
from tests.support.kube import Kube, audit_mark, audited, eventually, install, running_operator

pytestmark = pytest.mark.cluster


def _create(kube: Kube, name: str = "demo") -> None:
    kube.apply({**resource(name), "metadata": {"name": name}})


def test_a_restart_writes_nothing_and_reads_no_object_by_its_name(
    kube: Kube, control_plane: Cluster, account: Path, operator_log: Path
) -> None:
    """Lists and watches bring all that is there, generated Secrets too."""
    with running_operator(account, operator_log):
        _create(kube)
        eventually(lambda: kube.must("aia", "demo").get("status", {}).get("replicas") == 3, "all pods are counted")
        for server in ("Redis", "MongoDB", "Milvus"):  # the last that there is to tell: no volume is ever made here
            kube.wait_for_reason("demo", "VolumePending", f"{server}Ready", timeout=120)
    mark = audit_mark(control_plane)
    with running_operator(account, operator_log):
        _create(kube, "later")
        later = ("patch", "deployments", "later-runtime")
        eventually(lambda: later in audited(control_plane, mark, kube.namespace), "the new process works")
    requests = audited(control_plane, mark, kube.namespace)
    assert not [request for request in requests if request[2].startswith("demo")]


def test_an_assistant_can_be_deleted_while_the_operator_is_down(kube: Kube, account: Path, operator_log: Path) -> None:
    with running_operator(account, operator_log):
        _create(kube)
        eventually(lambda: kube.get("deployment", "demo-runtime"), "the runtime is deployed")
    kube.run("delete", "aia", "demo", timeout=10)
    eventually(lambda: kube.get("deployment", "demo-runtime") is None, "the runtime is gone")


def test_changes_made_while_the_operator_was_down_are_found(kube: Kube, account: Path, operator_log: Path) -> None:
    with running_operator(account, operator_log):
        _create(kube)
        eventually(lambda: kube.get("deployment", "demo-runtime"), "the runtime is deployed")
    kube.run("scale", "aia/demo", "--replicas=1")
    kube.run("delete", "service", "demo")
    with running_operator(account, operator_log):
        eventually(lambda: kube.get("service", "demo"), "the Service is back")
        eventually(lambda: kube.must("deployment", "demo-runtime")["spec"]["replicas"] == 1, "scaled")


def test_a_stateful_set_of_another_version_stalls_nothing_and_restarts_nothing(
    kube: Kube, account: Path, operator_log: Path
) -> None:
    """One label fewer in its claim template, which Kubernetes never changes."""
    with running_operator(account, operator_log):
        _create(kube)
        eventually(lambda: kube.get("statefulset", "demo-redis"), "Redis is deployed")
    made = kube.must("statefulset", "demo-redis")
    kube.api.delete("statefulset", "demo-redis", kube.namespace)
    eventually(lambda: kube.get("statefulset", "demo-redis") is None, "it is gone")
    metadata = {key: made["metadata"][key] for key in ("name", "labels", "annotations", "ownerReferences")}
    del made["spec"]["volumeClaimTemplates"][0]["metadata"]["labels"]["app.kubernetes.io/part-of"]
    kube.api.create({**made, "metadata": metadata, "status": {}}, kube.namespace)
    before = kube.must("statefulset", "demo-redis")["spec"]
    with running_operator(account, operator_log):
        kube.run("scale", "aia/demo", "--replicas=1")
        eventually(lambda: kube.must("deployment", "demo-runtime")["spec"]["replicas"] == 1, "scaled")
        assert not kube.condition("demo", "Stalled")
        assert kube.must("statefulset", "demo-redis")["spec"] == before


def test_many_watched_namespaces(kube: Kube, control_plane: Cluster, operator_log: Path) -> None:
    """Each namespace costs a watch of each kind; they must leave room for requests."""
    others = [f"{kube.namespace}-{number}" for number in range(12)]
    Kube(control_plane).apply(
        *({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in others)
    )
    account = install(Kube(control_plane), kube.namespace, *others)
    with running_operator(account, operator_log, watch_namespaces=",".join([kube.namespace, *others])):
        _create(kube)
        eventually(lambda: kube.get("deployment", "demo-runtime"), "the runtime is deployed")
    Kube(control_plane).run("delete", "namespace", "--wait=false", *others)


def test_the_definition_may_come_after_the_operator(
    kube: Kube, control_plane: Cluster, account: Path, operator_log: Path
) -> None:
    everywhere = Kube(control_plane)
    eventually(lambda: not everywhere.run("get", "aia", "-A", "-o", "name"), "no other test's assistants are left")
    kube.run("delete", "crd", "aiassistants.aiassistant.dev")
    with running_operator(account, operator_log):
        eventually(lambda: "kind_not_served" in operator_log.read_text(), "the operator says what is missing")
    with running_operator(account, operator_log):  # the first one ended well when it was told to
        install(Kube(control_plane))
        _create(kube)
        eventually(lambda: kube.get("deployment", "demo-runtime"), "the runtime is deployed")


def test_watched_namespaces_need_no_cluster_role(kube: Kube, control_plane: Cluster, operator_log: Path) -> None:
    account = install(Kube(control_plane), kube.namespace)
    other = Kube(control_plane, "default")
    with running_operator(account, operator_log, watch_namespaces=kube.namespace):
        _create(other, "unwatched")
        _create(kube)
        eventually(lambda: kube.get("deployment", "demo-runtime"), "the runtime is deployed")
        assert other.get("deployment", "unwatched-runtime") is None
    other.run("delete", "aia", "unwatched")


def test_a_namespace_without_rights_stops_no_other(kube: Kube, control_plane: Cluster, operator_log: Path) -> None:
    """A namespace that is deleted takes the operator's Role in it along."""
    everywhere, gone = Kube(control_plane), f"{kube.namespace}-gone"
    account = install(everywhere, kube.namespace)
    with running_operator(account, operator_log, watch_namespaces=f"{gone},{kube.namespace}"):
        _create(kube)
        eventually(lambda: kube.get("deployment", "demo-runtime"), "the runtime is deployed")
        everywhere.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": gone}})
        back = Kube(control_plane, gone)
        _create(back)
        install(everywhere, gone)
        eventually(lambda: back.get("deployment", "demo-runtime"), "the runtime is deployed there too")
    everywhere.run("delete", "namespace", "--wait=false", gone)


def test_rights_in_a_namespace_are_enough_for_other_operators_objects(
    kube: Kube, control_plane: Cluster, operator_log: Path
) -> None:
    case = read("redis-replication-object", kube.namespace)
    make(kube, case)
    account = install(Kube(control_plane), kube.namespace)
    with running_operator(account, operator_log, watch_namespaces=kube.namespace):
        kube.apply({**resource(**case.spec), "metadata": {"name": "demo"}})
        assert told(kube) == case.environment
        report(kube, case, {"masterNode": ""})
        kube.wait_for_reason("demo", "Progressing", case.condition)
        report(kube, case, {"masterNode": "cache-1"})
        seen = kube.wait_for_reason("demo", "Ready", case.condition)
        assert seen["message"] == "RedisReplication cache: its master is cache-1."
