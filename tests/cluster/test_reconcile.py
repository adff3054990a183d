"""Does a real API server agree? Ownership, pruning, drift, deletion and adoption, with the operator's own rights."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from assistant_operator import desired, labels
from assistant_operator.kinds import APPLIED, SECRET
from devcluster.cluster import Cluster
from tests.operator.assistants import FACTS, PROVIDERS, assistant, resource
from tests.support.api import RefusedError
from tests.support.kube import Kube, audit_mark, audited, eventually, writes

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("garbage_collector", "operator")]

ROOT = Path(__file__).parents[2]
MADE = ",".join(kind.plural for kind in (*APPLIED.values(), SECRET))
PROVIDERS_WITH_KEY = {"items": [{**PROVIDERS["items"][0], "apiKeyFrom": {"name": "provider", "key": "token"}}]}


def create(kube: Kube, name: str = "demo", **spec: Any) -> None:
    """Apply an AIAssistant and wait until the operator has looked at it."""
    kube.apply({**resource(name, **spec), "metadata": {"name": name}})
    settled(kube, name)


def settled(kube: Kube, name: str = "demo") -> dict[str, Any]:
    """Wait until the status describes the newest spec, and return the AIAssistant."""

    def check() -> dict[str, Any] | None:
        found = kube.must("aia", name)
        seen = (found.get("status") or {}).get("observedGeneration")
        return found if seen == found["metadata"]["generation"] else None

    return eventually(check, f"{name} is observed", last=lambda: kube.get("aia", name))


def gone(kube: Kube, kind: str, name: str) -> None:
    eventually(lambda: kube.get(kind, name) is None, f"{kind} {name} is gone", last=lambda: kube.get(kind, name))


def remove(kube: Kube, name: str = "demo") -> None:
    """Delete an AIAssistant and wait for the garbage collector."""
    kube.run("delete", "aia", name)
    for kind, child in (("deployment", f"{name}-runtime"), ("statefulset", f"{name}-redis"), ("service", name)):
        gone(kube, kind, child)


def test_every_object_is_there_and_owned(kube: Kube) -> None:
    create(kube)
    uid = kube.must("aia", "demo")["metadata"]["uid"]
    for kind, name in (
        ("serviceaccount", "demo-runtime"),
        ("configmap", "demo-redis"),
        ("service", "demo"),
        ("service", "demo-redis"),
        ("statefulset", "demo-redis"),
        ("statefulset", "demo-mongodb"),
        ("statefulset", "demo-milvus"),
        ("deployment", "demo-searxng"),
        ("deployment", "demo-runtime"),
        ("poddisruptionbudget", "demo-runtime"),
    ):
        owners = kube.must(kind, name)["metadata"]["ownerReferences"]
        assert [(owner["uid"], owner["controller"]) for owner in owners] == [(uid, True)]


def test_pods_are_admitted_where_restricted_pod_security_is_enforced(kube: Kube) -> None:
    create(kube)
    eventually(lambda: len(kube.list("pods")) == 7, "three pods of the runtime and one of each server exist")


def test_the_resource_itself_is_left_alone(kube: Kube) -> None:
    create(kube)
    metadata = kube.must("aia", "demo")["metadata"]
    assert "finalizers" not in metadata
    assert set(metadata["annotations"]) == {"kubectl.kubernetes.io/last-applied-configuration"}


def test_what_is_turned_off_is_pruned_but_its_data_and_password_stay(kube: Kube) -> None:
    create(kube)
    eventually(lambda: kube.get("pvc", "data-demo-redis-0"), "the volume claim exists")
    password = kube.secret("demo-redis")["password"]
    kube.apply({**resource(redis={"enabled": False}), "metadata": {"name": "demo"}})
    for kind in ("statefulset", "service", "configmap"):
        gone(kube, kind, "demo-redis")
    assert "data-demo-redis-0" in kube.names("pvc")
    assert kube.secret("demo-redis")["password"] == password


def _kept(kube: Kube) -> list[dict[str, Any]]:
    """Give the metadata of Redis's volume claim and Secret."""
    return [
        kube.must(kind, name)["metadata"] for kind, name in (("pvc", "data-demo-redis-0"), ("secret", "demo-redis"))
    ]


def _owners(kube: Kube) -> list[list[str]]:
    return [[owner["kind"] for owner in metadata.get("ownerReferences", [])] for metadata in _kept(kube)]


def test_what_is_kept_of_a_component_that_is_off_goes_with_the_assistant_if_the_policy_says_so(kube: Kube) -> None:
    def turned_off(policy: str) -> None:
        kube.apply({**resource(redis={"enabled": False}, deletionPolicy=policy), "metadata": {"name": "demo"}})

    create(kube, deletionPolicy="Delete")
    eventually(lambda: kube.get("pvc", "data-demo-redis-0"), "the volume claim exists")
    turned_off("Delete")
    gone(kube, "statefulset", "demo-redis")
    eventually(lambda: _owners(kube) == [["AIAssistant"], ["AIAssistant"]], "it owns both", last=lambda: _kept(kube))
    assert not any(metadata.get("deletionTimestamp") for metadata in _kept(kube))
    turned_off("Retain")
    eventually(lambda: _owners(kube) == [[], []], "it lets go of both", last=lambda: _kept(kube))
    turned_off("Delete")
    eventually(lambda: _owners(kube) == [["AIAssistant"], ["AIAssistant"]], "it owns both", last=lambda: _kept(kube))
    kube.run("delete", "aia", "demo")
    gone(kube, "secret", "demo-redis")
    gone(kube, "pvc", "data-demo-redis-0")


def test_owners_that_the_api_server_refuses_stop_nothing_else(kube: Kube) -> None:
    """As OwnerReferencesPermissionEnforcement does, with whom the operator lacks the right to delete them."""
    policy = _refuse_owners(kube)
    kube.apply({**resource(deletionPolicy="Delete"), "metadata": {"name": "demo"}})
    told = kube.wait_for_reason("demo", "OwnersRefused", "DeletionPolicyReady")
    assert "cannot set an ownerRef" in told["message"]
    kube.run("scale", "aia/demo", "--replicas=1")
    eventually(lambda: kube.must("deployment", "demo-runtime")["spec"]["replicas"] == 1, "scaled")
    assert _owners(kube) == [[], []], "neither goes without the other"
    kube.run("delete", *policy)
    kube.run("scale", "aia/demo", "--replicas=2")
    eventually(lambda: _owners(kube) == [["AIAssistant"], ["AIAssistant"]], "it owns both", last=lambda: _kept(kube))


def _refuse_owners(kube: Kube) -> list[str]:
    """Have the API server refuse every change of owners in the namespace; return the names of what does so."""
    name = f"owners-{kube.namespace}"
    match: dict[str, Any] = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": kube.namespace}},
        "resourceRules": [
            {
                "apiGroups": [""],
                "apiVersions": ["v1"],
                "operations": ["UPDATE"],
                "resources": ["persistentvolumeclaims", "secrets"],
            }
        ],
    }
    validation = {
        "expression": "object.metadata.?ownerReferences.orValue([]) == oldObject.metadata.?ownerReferences.orValue([])",
        "message": "cannot set an ownerRef on a resource you can't delete",
        "reason": "Forbidden",
    }
    head = {"apiVersion": "admissionregistration.k8s.io/v1", "metadata": {"name": name}}
    policy, binding = "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"
    kube.apply(
        {**head, "kind": policy, "spec": {"matchConstraints": match, "validations": [validation]}},
        {**head, "kind": binding, "spec": {"policyName": name, "validationActions": ["Deny"]}},
    )
    probe = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "probe"}}
    kube.apply(probe)
    owner = [{"apiVersion": "v1", "kind": "Secret", "name": "probe", "uid": "u"}]

    def refused() -> bool:
        try:
            patch = json.dumps({"metadata": {"ownerReferences": owner}})
            kube.run("patch", "secret", "probe", "--type=merge", "-p", patch, "--dry-run=server")
        except RefusedError as error:
            return "cannot set an ownerRef" in str(error)
        return False

    eventually(refused, "owners are refused")
    return [f"{policy.lower()}/{name}", f"{binding.lower()}/{name}"]


@pytest.mark.parametrize("policy", ["Retain", "Delete"])
def test_objects_that_were_orphaned_outlive_the_assistant_and_are_adopted(kube: Kube, policy: str) -> None:
    create(kube, deletionPolicy=policy)
    uids, owners = _made(kube)
    kube.run("delete", "aia", "demo", "--cascade=orphan")
    eventually(lambda: not any(_made(kube)[1].values()), "they have no owner", last=lambda: _made(kube))
    assert _made(kube)[0] == uids
    create(kube, deletionPolicy=policy)
    adopted = {found: [kube.must("aia", "demo")["metadata"]["uid"]] if owner else [] for found, owner in owners.items()}
    eventually(lambda: _made(kube) == (uids, adopted), "the successor owns them", last=lambda: _made(kube))
    assert not kube.condition("demo", "Stalled")


def _made(kube: Kube) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Give the UIDs of all that was made for the assistant, and of their owners."""
    made = {
        f"{found['kind']} {found['metadata']['name']}": found["metadata"]
        for found in kube.list(MADE, f"{labels.MANAGED_BY}={labels.MANAGER},{labels.INSTANCE}=demo")
    }
    owners = {
        found: [owner["uid"] for owner in metadata.get("ownerReferences", [])] for found, metadata in made.items()
    }
    return {found: metadata["uid"] for found, metadata in made.items()}, owners


def test_nothing_is_made_again_of_a_deleted_assistant(kube: Kube, control_plane: Cluster) -> None:
    create(kube)
    mark = audit_mark(control_plane)
    remove(kube)
    create(kube, "later")
    written = writes(audited(control_plane, mark, kube.namespace))
    # The status may still be written while the assistant is there.
    made = [request for request in written if request[1] != "aiassistants"]
    assert not [request for request in made if request[2].startswith("demo")]


def test_pods_that_are_refused_are_explained(kube: Kube) -> None:
    create(kube, podTemplate={"spec": {"hostNetwork": True}})
    refused = kube.wait_for_reason("demo", "FailedCreate", "RuntimeReady")
    assert "violates PodSecurity" in refused["message"]


def test_a_malformed_overlay_is_stalled_in_the_api_servers_words(kube: Kube) -> None:
    create(kube, podTemplate={"spec": {"containers": ["x"]}})
    kube.wait_for_reason("demo", "InvalidObject", "Stalled")


def test_foreign_labels_and_annotations_are_kept(kube: Kube) -> None:
    create(kube)
    kube.run("label", "service", "demo", "team=platform")
    kube.run("annotate", "deployment", "demo-runtime", "example.com/note=mine")
    create(kube, replicas=2)
    eventually(lambda: kube.must("deployment", "demo-runtime")["spec"]["replicas"] == 2, "scaled")
    assert kube.must("service", "demo")["metadata"]["labels"]["team"] == "platform"
    assert kube.must("deployment", "demo-runtime")["metadata"]["annotations"]["example.com/note"] == "mine"


def test_rollout_restart_is_kept(kube: Kube) -> None:
    create(kube)
    kube.run("rollout", "restart", "deployment/demo-runtime")
    create(kube, logging={"level": "DEBUG"})
    template = kube.must("deployment", "demo-runtime")["spec"]["template"]
    assert "kubectl.kubernetes.io/restartedAt" in template["metadata"]["annotations"]
    assert {"name": "LOG_LEVEL", "value": "DEBUG"} in template["spec"]["containers"][0]["env"]


def test_drift_is_corrected(kube: Kube) -> None:
    create(kube)
    kube.run("patch", "service", "demo", "--type=json", '-p=[{"op":"replace","path":"/spec/ports/0/port","value":81}]')
    kube.run("scale", "deployment/demo-runtime", "--replicas=7")
    kube.run("delete", "configmap", "demo-redis")
    eventually(lambda: kube.must("service", "demo")["spec"]["ports"][0]["port"] == 80, "the port is 80 again")
    eventually(lambda: kube.must("deployment", "demo-runtime")["spec"]["replicas"] == 3, "three replicas again")
    eventually(lambda: kube.get("configmap", "demo-redis"), "the ConfigMap is back")


def test_what_is_added_to_a_selector_or_to_the_rules_of_an_ingress_is_taken_out_again(kube: Kube) -> None:
    """Kubernetes sets these fields as a whole: a key more in a Service's selector, and it has no endpoints."""
    create(kube, ingress={"enabled": True, "host": "a.example.com"})
    eventually(lambda: kube.get("ingress", "demo"), "the Ingress is there")
    added = (
        ("service", "demo", "/spec/selector/extra", '"x"'),
        ("pdb", "demo-runtime", "/spec/selector/matchLabels/extra", '"x"'),
        ("ingress", "demo", "/spec/rules/-", '{"host":"b.example.com"}'),
    )
    for kind, name, path, value in added:
        _add_and_see_it_go(kube, kind, name, f'[{{"op":"add","path":"{path}","value":{value}}}]')


def _add_and_see_it_go(kube: Kube, kind: str, name: str, patch: str) -> None:
    before = kube.must(kind, name)
    kube.run("patch", kind, name, "--type=json", f"-p={patch}")
    assert kube.must(kind, name)["metadata"]["resourceVersion"] != before["metadata"]["resourceVersion"]
    eventually(lambda: kube.must(kind, name)["spec"] == before["spec"], f"the {kind} is as it was")


def test_labels_that_are_taken_off_are_put_back_and_what_can_t_be_changed_stays(kube: Kube) -> None:
    """Without its labels no watch sees it, and the claim template that is rendered is not the one it was made with."""

    def size(size: str) -> dict[str, Any]:
        return {"managed": {"storage": {"size": size}}}

    create(kube, redis=size("1Gi"))
    before = kube.must("statefulset", "demo-redis")["spec"]
    create(kube, redis=size("2Gi"))
    kube.run("label", "statefulset", "demo-redis", f"{labels.MANAGED_BY}-", f"{labels.INSTANCE}-")
    eventually(lambda: labels.INSTANCE in kube.must("statefulset", "demo-redis")["metadata"]["labels"], "labelled")
    create(kube, redis=size("2Gi"), replicas=1)
    eventually(lambda: kube.must("deployment", "demo-runtime")["spec"]["replicas"] == 1, "the stack follows its spec")
    assert kube.must("statefulset", "demo-redis")["spec"] == before
    assert not kube.condition("demo", "Stalled")


def test_a_field_that_is_no_longer_set_is_removed(kube: Kube) -> None:
    create(kube, podTemplate={"spec": {"nodeSelector": {"disk": "ssd"}}})
    assert kube.must("deployment", "demo-runtime")["spec"]["template"]["spec"]["nodeSelector"] == {"disk": "ssd"}
    create(kube)
    template = eventually(
        lambda: (
            t
            if "nodeSelector" not in (t := kube.must("deployment", "demo-runtime")["spec"]["template"]["spec"])
            else None
        ),
        "the node selector is gone",
    )
    assert template["containers"]


def test_kubectl_scale_and_its_status(kube: Kube) -> None:
    create(kube)
    kube.run("scale", "aia/demo", "--replicas=5")
    eventually(lambda: kube.must("deployment", "demo-runtime")["spec"]["replicas"] == 5, "five replicas")
    status = eventually(
        lambda: s if (s := kube.must("aia", "demo")["status"])["replicas"] == 5 else None, "five in the status"
    )
    assert len(kube.list("pods", status["selector"])) == 5


def test_suspend_stops_every_pod_and_resume_brings_them_back(kube: Kube) -> None:
    create(kube)
    create(kube, suspend=True)
    eventually(lambda: not kube.list("pods"), "no pods")
    assert kube.wait_for_reason("demo", "Suspended")["status"] == "True"
    assert {"demo", "demo-redis"} <= kube.names("service")
    create(kube, suspend=False)
    eventually(lambda: len(kube.list("pods")) == 7, "all pods are back")


def test_retained_volumes_and_credentials_are_adopted_by_a_successor(kube: Kube) -> None:
    create(kube)
    claim = eventually(lambda: kube.get("pvc", "data-demo-redis-0"), "the volume claim exists")
    before = {name: kube.secret(name) for name in ("demo-redis", "demo-runtime", "demo-api-keys")}
    remove(kube)
    create(kube)
    assert {name: kube.secret(name) for name in before} == before
    eventually(lambda: kube.get("statefulset", "demo-redis"), "Redis is back")
    assert kube.must("pvc", "data-demo-redis-0")["metadata"]["uid"] == claim["metadata"]["uid"]
    assert not kube.condition("demo", "Stalled")


def test_deletion_policy_delete_leaves_nothing(kube: Kube) -> None:
    create(kube, deletionPolicy="Delete")
    eventually(
        lambda: [bool(claim["metadata"].get("ownerReferences")) for claim in kube.list("pvc")] == [True] * 3,
        "the claims of Redis, MongoDB and Milvus are owned",
    )
    remove(kube)
    # No kubelet runs here to release a claim that a pod may use; that it is being deleted is what counts.
    eventually(
        lambda: all(c["metadata"].get("deletionTimestamp") for c in kube.list("pvc")), "the volume claims are deleted"
    )
    eventually(lambda: not kube.list("secrets"), "no Secret is left")


@pytest.mark.parametrize(
    "state", [{}, {"suspend": True}, {"providers": PROVIDERS_WITH_KEY}], ids=["at work", "suspended", "stuck"]
)
def test_the_policy_can_change_later(kube: Kube, state: dict[str, Any]) -> None:
    create(kube, deletionPolicy="Delete")
    eventually(
        lambda: (kube.get("pvc", "data-demo-redis-0") or {"metadata": {}})["metadata"].get("ownerReferences"),
        "the claim is owned",
    )
    create(kube, deletionPolicy="Delete", **state)
    if "suspend" in state:
        eventually(lambda: not kube.list("pods"), "no pods")
    create(kube, deletionPolicy="Retain", **state)
    eventually(
        lambda: not kube.must("secret", "demo-redis")["metadata"].get("ownerReferences"), "the Secret is not owned"
    )
    eventually(
        lambda: not kube.must("pvc", "data-demo-redis-0")["metadata"].get("ownerReferences"), "the claim is not owned"
    )
    remove(kube)
    assert "demo-redis" in kube.names("secret")
    assert not kube.must("pvc", "data-demo-redis-0")["metadata"].get("deletionTimestamp")


def test_deleted_and_created_again_at_once(kube: Kube) -> None:
    create(kube)
    kube.run("delete", "aia", "demo", "--wait=false")
    create(kube)
    uid = kube.must("aia", "demo")["metadata"]["uid"]

    def owned() -> bool:
        children = [
            kube.get("deployment", "demo-runtime"),
            kube.get("statefulset", "demo-redis"),
            kube.get("service", "demo"),
        ]
        return all(child and child["metadata"]["ownerReferences"][0]["uid"] == uid for child in children)

    eventually(owned, "everything belongs to the successor", last=lambda: kube.get("aia", "demo"))


def test_an_immutable_field_is_stalled_and_setting_it_back_mends_it(kube: Kube) -> None:
    create(kube)
    create(kube, redis={"managed": {"storage": {"storageClassName": "other"}}})
    stalled = kube.wait_for_reason("demo", "ImmutableField", "Stalled")
    assert stalled["message"].startswith("spec.redis.managed.storage.storageClassName: can't be changed")
    claim = kube.must("statefulset", "demo-redis")["spec"]["volumeClaimTemplates"][0]
    assert "storageClassName" not in claim["spec"]
    create(kube, redis={"managed": {}})
    eventually(lambda: not kube.condition("demo", "Stalled"), "no longer stalled")


def test_a_secret_that_is_missing_and_then_appears(kube: Kube) -> None:
    create(kube, providers=PROVIDERS_WITH_KEY)
    waiting = kube.wait_for_reason("demo", "SecretNotFound")
    assert "spec.providers.items[0].apiKeyFrom: there is no Secret provider" in waiting["message"]
    assert kube.get("deployment", "demo-runtime") is None
    kube.run("create", "secret", "generic", "provider", "--from-literal=key=x")
    kube.wait_for_reason("demo", "SecretKeyNotFound")
    kube.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "provider"}, "stringData": {"token": "sk"}})
    eventually(lambda: kube.get("deployment", "demo-runtime"), "the runtime is deployed")


def config_hash(kube: Kube) -> str:
    template = kube.must("deployment", "demo-runtime")["spec"]["template"]
    return str(template["metadata"]["annotations"]["aiassistant.dev/config-hash"])


def test_a_changed_secret_rolls_the_runtime(kube: Kube) -> None:
    kube.run("create", "secret", "generic", "provider", "--from-literal=token=one")
    create(kube, providers=PROVIDERS_WITH_KEY)
    before = config_hash(kube)
    patch = '{"stringData":{"token":"two"}}'
    kube.run("patch", "secret", "provider", "-p", patch)
    eventually(lambda: config_hash(kube) != before, "the pod template changed")


def test_certificates_in_a_config_map_are_waited_for_and_their_change_rolls_the_runtime(kube: Kube) -> None:
    trusting: dict[str, Any] = {"name": "local", "baseURL": "https://model.example.com/v1", "model": "m"}
    trusting |= {"caFrom": {"kind": "ConfigMap", "name": "bundle"}}
    create(kube, providers={"items": [trusting]})
    waiting = kube.wait_for_reason("demo", "ConfigMapNotFound")
    assert "create configmap bundle --from-file=ca.crt=FILE" in waiting["message"]
    kube.run("create", "configmap", "bundle", "--from-literal=ca.crt=one")
    eventually(lambda: kube.get("deployment", "demo-runtime"), "the runtime is deployed")
    before = config_hash(kube)
    kube.run("patch", "configmap", "bundle", "-p", '{"data":{"ca.crt":"two"}}')
    eventually(lambda: config_hash(kube) != before, "the pod template changed")
    kube.run("delete", "configmap", "bundle")
    kube.wait_for_reason("demo", "ConfigMapNotFound")
    assert kube.get("deployment", "demo-runtime"), "the running stack stays"


def test_a_foreign_object_of_the_same_name_is_left_alone(kube: Kube) -> None:
    kube.run("create", "serviceaccount", "demo-runtime")
    create(kube)
    stalled = kube.wait_for_reason("demo", "NameConflict", "Stalled")
    assert "ServiceAccount" in stalled["message"]
    assert "labels" not in kube.must("serviceaccount", "demo-runtime")["metadata"]
    kube.run("delete", "serviceaccount", "demo-runtime")
    eventually(lambda: kube.get("deployment", "demo-runtime"), "the conflict is over")


def test_two_assistants_whose_objects_would_share_a_name(kube: Kube) -> None:
    create(kube, "demo")
    create(kube, "demo-redis")
    conflict = kube.wait_for_reason("demo-redis", "NameConflict", "Stalled")
    assert "Service" in conflict["message"]
    assert kube.must("service", "demo-redis")["metadata"]["labels"]["app.kubernetes.io/instance"] == "demo"


def test_what_kubernetes_refuses_is_stalled_in_its_own_words(kube: Kube) -> None:
    create(kube, podTemplate={"spec": {"containrs": []}})
    stalled = kube.wait_for_reason("demo", "InvalidObject", "Stalled")
    assert "containrs" in stalled["message"]


def test_a_change_of_readiness_is_an_event(kube: Kube) -> None:
    create(kube, providers=PROVIDERS_WITH_KEY)
    events = eventually(
        lambda: [e for e in kube.list("events") if e["involvedObject"]["kind"] == "AIAssistant"], "an event"
    )
    assert [(e["type"], e["reason"]) for e in events] == [("Warning", "SecretNotFound")]


def test_printer_columns(kube: Kube) -> None:
    create(kube, ingress={"enabled": True, "host": "assistant.example.com"})
    header, row = kube.run("get", "aia").splitlines()
    assert header.split() == ["NAME", "READY", "STATUS", "REPLICAS", "URL", "AGE"]
    assert "http://assistant.example.com" in row
    assert "Reason" in kube.run("get", "aia", "-o", "wide").title()


def test_a_namespace_with_an_assistant_goes_away(kube: Kube, control_plane: Cluster) -> None:
    create(kube)
    kube.run("delete", "namespace", kube.namespace, "--wait=false")
    # Pods wait for a kubelet that does not run here; the AIAssistant itself must not hold the namespace.
    eventually(lambda: not kube.list("aia"), "the AIAssistant is gone")
    kube.run("delete", "pods", "--all", "--force", "--grace-period=0")
    everywhere = Kube(control_plane)
    eventually(lambda: everywhere.get("namespace", kube.namespace) is None, "the namespace is gone")
    everywhere.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": kube.namespace}})


def all_pods_exist(kube: Kube) -> bool:
    """Tell whether every controller has made what pods it makes while none is ready, and has said so."""
    for workload in kube.list("deployments,statefulsets"):
        one_by_one = workload["spec"].get("podManagementPolicy") == "OrderedReady"
        wanted = 1 if one_by_one else workload["spec"]["replicas"]
        if (workload.get("status") or {}).get("replicas", 0) != wanted:
            return False
    return True


def test_an_idle_assistant_costs_no_request(kube: Kube, control_plane: Cluster) -> None:
    sample = yaml.safe_load((ROOT / "manifests/samples/production.yaml").read_text())["spec"]
    named = [reference.named for reference in desired.references(assistant(**sample), FACTS)]
    for source, name in {(key.source, key.name) for key in named}:
        literals = [f"--from-literal={key.key}=value" for key in named if (key.source, key.name) == (source, name)]
        kind = ("configmap",) if source == "ConfigMap" else ("secret", "generic")
        kube.run("create", *kind, name, *sorted(set(literals)))
    create(kube, **sample)
    eventually(lambda: all_pods_exist(kube), "all pods exist that can", last=lambda: kube.list("statefulsets"))
    eventually(lambda: kube.must("aia", "demo")["status"]["replicas"] == 3, "all pods are counted")
    # A pass over another assistant, queued after those of before, shows that they are over.
    create(kube, "earlier")
    mark = audit_mark(control_plane)
    kube.run("annotate", "aia", "demo", "example.com/look=again")
    kube.run("annotate", "deployment", "demo-runtime", "example.com/look=again")
    create(kube, "later")
    requests = audited(control_plane, mark, kube.namespace)
    assert requests["patch", "deployments", "later-runtime"] == 1, "the audit log shows requests"
    assert not [request for request in requests if request[2].startswith("demo")]


def _policy(kube: Kube) -> list[dict[str, Any]]:
    """A policy of this namespace alone: each Deployment has a label `team`."""
    name = f"team-{kube.namespace}"
    here = {"matchLabels": {"kubernetes.io/metadata.name": kube.namespace}}
    rules = [
        {"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["deployments"]}
    ]
    head = {"apiVersion": "admissionregistration.k8s.io/v1", "metadata": {"name": name}}
    validation = {
        "expression": "has(object.metadata.labels) && 'team' in object.metadata.labels",
        "message": "a Deployment needs the label team",
    }
    spec = {"matchConstraints": {"resourceRules": rules, "namespaceSelector": here}, "validations": [validation]}
    binding = {"policyName": name, "validationActions": ["Deny"]}
    return [
        {**head, "kind": "ValidatingAdmissionPolicy", "spec": spec},
        {**head, "kind": "ValidatingAdmissionPolicyBinding", "spec": binding},
    ]


def _is_enforced(kube: Kube) -> bool:
    """Tell whether the policy is in force, which takes the API server a moment."""
    selector = {"matchLabels": {"a": "b"}}
    pod = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "a", "image": "a"}]}}
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "tried"}}
    try:
        kube.api.create({**body, "spec": {"selector": selector, "template": pod}}, kube.namespace, keep=False)
    except RefusedError as refused:
        return "needs the label team" in str(refused)
    return False


def test_what_a_policy_asks_for_is_reported_and_given_by_common_labels(kube: Kube) -> None:
    policy = _policy(kube)
    kube.apply(*policy)
    try:
        eventually(lambda: _is_enforced(kube), "the policy is in force")
        create(kube)
        denied = kube.wait_for_reason("demo", "AdmissionDenied")
        assert "a Deployment needs the label team" in denied["message"]
        assert not kube.condition("demo", "Stalled")
        create(kube, commonLabels={"team": "search"})
        eventually(lambda: kube.get("deployment", "demo-runtime"), "the policy takes it")
    finally:
        for body in policy:
            kube.api.delete(body["kind"], body["metadata"]["name"])


def test_a_policy_that_is_lifted_is_noticed(kube: Kube) -> None:
    policy = _policy(kube)
    kube.apply(*policy)
    try:
        eventually(lambda: _is_enforced(kube), "the policy is in force")
        create(kube)
        kube.wait_for_reason("demo", "AdmissionDenied")
    finally:
        for body in policy:
            kube.api.delete(body["kind"], body["metadata"]["name"])
    eventually(lambda: kube.get("deployment", "demo-runtime"), "the operator tries again", timeout=240)
