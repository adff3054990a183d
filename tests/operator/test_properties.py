"""What always holds of whatever is rendered, for any valid AIAssistant."""

import json
import re
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant_operator import desired, labels
from assistant_operator.cluster.apply import matches, stamped
from assistant_operator.kinds import APPLIED
from assistant_operator.names import MAX_LENGTH, child
from assistant_operator.rights import rules
from assistant_operator.rooms.manifests import Object
from assistant_operator.spec.assistant import AIAssistant
from tests.operator.assistants import assistant as made
from tests.operator.assistants import facts
from tests.operator.strategies import ASSISTANTS


def _render(assistant: AIAssistant) -> list[Object]:
    return desired.desired(assistant, facts(assistant)).objects


def _nulls(value: object, path: str) -> Iterator[str]:
    if value is None:
        yield path
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _nulls(inner, f"{path}.{key}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _nulls(inner, f"{path}[{index}]")


def _templates(objects: list[Object]) -> Iterator[Object]:
    return (o["spec"]["template"] for o in objects if o["kind"] in ("Deployment", "StatefulSet", "Job"))


@given(ASSISTANTS)
def test_every_name_fits_and_no_two_objects_share_one(assistant: AIAssistant) -> None:
    rendered = [(o["kind"], o["metadata"]["name"]) for o in _render(assistant)]
    assert all(len(name) <= MAX_LENGTH for _, name in rendered)
    assert len(set(rendered)) == len(rendered)


@given(ASSISTANTS)
def test_every_object_is_labelled_owned_and_in_the_assistants_namespace(assistant: AIAssistant) -> None:
    for rendered in _render(assistant):
        metadata = rendered["metadata"]
        assert metadata["namespace"] == assistant.namespace
        assert metadata["labels"][labels.INSTANCE] == assistant.name
        assert metadata["labels"][labels.MANAGED_BY] == labels.MANAGER
        assert [owner["controller"] for owner in metadata["ownerReferences"]] == [True]


@given(ASSISTANTS)
def test_a_new_version_restarts_no_pod_by_a_label_more(assistant: AIAssistant) -> None:
    """What one version writes into a template, every later one writes too."""
    released = {"app.kubernetes.io/" + key for key in ("name", "instance", "component", "part-of", "managed-by")}
    rendered = _render(assistant)
    claims = [claim for found in rendered for claim in found.get("spec", {}).get("volumeClaimTemplates", ())]
    for template in (*_templates(rendered), *claims):
        assert set(template["metadata"]["labels"]) == released


@given(ASSISTANTS)
def test_every_pod_meets_restricted_pod_security(assistant: AIAssistant) -> None:
    # https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted
    for template in _templates(_render(assistant)):
        pod = template["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        allowed = {"configMap", "secret", "emptyDir", "persistentVolumeClaim", "projected"}
        assert all(set(volume) - {"name"} <= allowed for volume in pod["volumes"])
        for container in pod["containers"]:
            security = container["securityContext"]
            assert security["allowPrivilegeEscalation"] is False
            assert security["capabilities"] == {"drop": ["ALL"]}
            assert security["readOnlyRootFilesystem"] is True


@given(ASSISTANTS)
def test_every_container_has_probes_and_resources(assistant: AIAssistant) -> None:
    for template in _templates(_render(assistant)):
        for container in template["spec"]["containers"]:
            assert "resources" in container
            if not template["spec"].get("restartPolicy"):
                assert "readinessProbe" in container
                assert _patience(container["startupProbe"]) >= 600
                assert _patience(container["livenessProbe"]) >= 300


def _patience(probe: Object) -> int:
    """Return for how many seconds a container of an overloaded node may fail a probe before it is restarted."""
    assert probe["timeoutSeconds"] >= 10
    patience: int = probe["periodSeconds"] * probe["failureThreshold"]
    return patience


@given(ASSISTANTS)
def test_several_pods_of_one_workload_are_spread_and_leave_a_node_one_by_one(assistant: AIAssistant) -> None:
    rendered = _render(assistant)
    budgets = [found["spec"]["selector"] for found in rendered if found["kind"] == "PodDisruptionBudget"]
    several = [found["spec"] for found in rendered if found.get("spec", {}).get("replicas", 0) > 1]
    assert sorted(map(str, budgets)) == sorted(str(spec["selector"]) for spec in several)
    for spec in several:
        (constraint,) = spec["template"]["spec"]["topologySpreadConstraints"][:1]
        assert constraint["labelSelector"] == spec["selector"]


@given(ASSISTANTS)
def test_selectors_pick_the_pods_of_their_own_component(assistant: AIAssistant) -> None:
    rendered = _render(assistant)
    templates = [template["metadata"]["labels"] for template in _templates(rendered)]
    for found in rendered:
        selector = found["spec"]["selector"] if found["kind"] == "Service" else None
        if found["kind"] in ("Deployment", "StatefulSet", "PodDisruptionBudget"):
            selector = found["spec"]["selector"]["matchLabels"]
        if selector:
            assert len([t for t in templates if selector.items() <= t.items()]) == 1


@given(ASSISTANTS)
def test_no_object_holds_a_secret_inline(assistant: AIAssistant) -> None:
    rendered = _render(assistant)
    assert "Secret" not in {found["kind"] for found in rendered}
    sensitive = (
        "SECRET_KEY",
        "API_KEYS",
        "REDISCLI_AUTH",
        "SEARXNG_SECRET",
        "BULL_AUTH_KEY",
        "ROOTPASSWORD",
        "_API_KEY",
        "_PASSWORD",
        "_USERNAME",
    )
    for template in _templates(rendered):
        for container in template["spec"]["containers"]:
            for variable in container["env"]:
                if variable["name"].endswith(sensitive) and variable["name"] != "MONGO_INITDB_ROOT_USERNAME":
                    assert "secretKeyRef" in variable["valueFrom"]
                if variable["name"].endswith("_URL"):
                    assert "@" not in variable.get("value", "")
            # An option that takes a password, or Kubernetes' own expansion of a variable that holds one.
            words = [*container.get("command", ()), *container.get("args", ())]
            assert [word for word in words if re.search(r"^--?\w*pass|\$\(\w*PASS", word, re.IGNORECASE)] == []


@given(ASSISTANTS)
def test_no_field_is_null(assistant: AIAssistant) -> None:
    assert list(_nulls(_render(assistant), "")) == []


@given(ASSISTANTS)
def test_every_variable_is_set_once(assistant: AIAssistant) -> None:
    for template in _templates(_render(assistant)):
        for container in template["spec"]["containers"]:
            names = [variable["name"] for variable in container["env"]]
            assert len(set(names)) == len(names)


@given(ASSISTANTS)
def test_rbac_covers_every_kind_that_is_rendered(assistant: AIAssistant) -> None:
    granted = {(group, resource) for rule in rules() for group in rule["apiGroups"] for resource in rule["resources"]}
    for rendered in _render(assistant):
        kind = APPLIED[rendered["kind"]]
        assert kind.api_version == rendered["apiVersion"]
        assert (kind.group, kind.plural) in granted


@given(ASSISTANTS)
def test_what_was_applied_is_recognised(assistant: AIAssistant) -> None:
    for rendered in _render(assistant):
        body = stamped(rendered)
        assert matches(body, json.loads(json.dumps(body)))


def test_no_right_beyond_what_is_used() -> None:
    verbs = {verb for rule in rules() for verb in rule["verbs"]}
    assert "*" not in verbs
    secrets = next(rule for rule in rules() if rule["resources"] == ["secrets"])
    assert "delete" not in secrets["verbs"], "credentials are never pruned"


@given(st.text("abc-", min_size=1, max_size=80), st.text("abc-", min_size=1, max_size=80))
def test_long_names_are_cut_without_meeting(one: str, other: str) -> None:
    assert len(child(one, "redis")) <= MAX_LENGTH
    assert (child(one, "redis") == child(other, "redis")) == (one == other)


@pytest.mark.parametrize("topology", ["standalone", "cluster"])
def test_the_longest_name_gives_no_object_a_longer_one(topology: str) -> None:
    found = made("a" * MAX_LENGTH, redis={"managed": {"topology": topology}})
    assert max(len(body["metadata"]["name"]) for body in _render(found)) == MAX_LENGTH
