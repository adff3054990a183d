"""What the chart installs: the operator's confinement, and rights no wider than asked for."""

import json
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from assistant_operator.rights import lease_rules
from assistant_operator.settings import Settings
from tests.chart.conftest import CHART, Chart

ROOT = CHART.parents[1]
NAMESPACES = ["team-a", "team-b"]
GOLDEN = Path(__file__).parent / "golden"

VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
"""The programs' version: the images' default tag, and so the chart's."""

LONGEST_NAME = 63
"""Of a DNS label, which a Service's name is."""

STANDARD_LABELS = {
    "app.kubernetes.io/name": "assistant-operator",
    "app.kubernetes.io/instance": "assistant-operator",
    "app.kubernetes.io/version": VERSION,
    "app.kubernetes.io/component": "operator",
    "app.kubernetes.io/part-of": "ai-assistant-operator",
    "app.kubernetes.io/managed-by": "Helm",
    "helm.sh/chart": f"assistant-operator-{VERSION}",
}


def of_kind(objects: list[dict[str, Any]], *kinds: str) -> list[dict[str, Any]]:
    return [found for found in objects if found["kind"] in kinds]


KEPT = {"persistentvolumeclaims", "secrets"}


def test_install_manifest_enforces_restricted_pods() -> None:
    namespace, *objects = yaml.safe_load_all((ROOT / "manifests" / "install.yaml").read_text())
    assert namespace["kind"] == "Namespace"
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    namespaced = {found["metadata"].get("namespace") for found in objects} - {None}
    assert namespaced == {namespace["metadata"]["name"]}


def test_the_readmes_command_puts_a_registry_in_place_of_this_machines() -> None:
    readme = (ROOT / "README.md").read_text()
    (expression,) = re.findall(r"^\$ sed '(.*)' manifests/install.yaml", readme, re.MULTILINE)
    changed = subprocess.run(
        ["sed", expression, str(ROOT / "manifests" / "install.yaml")], capture_output=True, check=True, text=True
    )
    names = set(re.findall(r"[a-z./]+/assistant-(?:operator|runtime|ui):", changed.stdout))
    assert names == {f"registry.example.com/team/assistant-{name}:" for name in ("operator", "runtime", "ui")}


def test_render_for_two_namespaces_is_the_golden_one(chart: Chart, update_golden: bool) -> None:
    """Without the CRD and without the rules, which have golden copies of their own."""
    rendered = chart.objects({"watchNamespaces": NAMESPACES, "crds": {"install": False}})
    for role in of_kind(rendered, "Role"):
        if role not in leases(rendered):
            role["rules"] = "files/rules.yaml"
    text = yaml.safe_dump_all(rendered, sort_keys=True)
    golden = GOLDEN / "two-namespaces.yaml"
    if update_golden:
        golden.write_text(text)
    assert text == golden.read_text(), "look at the difference; accept it with --update-golden"


@pytest.mark.parametrize("values", [{}, {"watchNamespaces": NAMESPACES}])
def test_every_object_has_the_standard_labels(values: dict[str, Any], chart: Chart) -> None:
    for found in chart.objects(values):
        assert found["metadata"]["labels"].items() >= STANDARD_LABELS.items(), found["kind"]


def test_selectors_leave_out_what_an_upgrade_changes(chart: Chart) -> None:
    selector = {key: STANDARD_LABELS[key] for key in list(STANDARD_LABELS)[:2]}
    assert chart.one("Deployment")["spec"]["selector"] == {"matchLabels": selector}
    assert chart.one("Service")["spec"]["selector"] == selector


def test_the_operator_runs_restricted(chart: Chart) -> None:
    pod = chart.one("Deployment")["spec"]["template"]["spec"]
    assert pod["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_a_namespace_that_can_t_be_watched_restarts_nothing(chart: Chart) -> None:
    """/readyz waits for every watch, so that only traffic may depend on it."""
    (container,) = chart.one("Deployment")["spec"]["template"]["spec"]["containers"]
    assert [container[probe]["httpGet"]["path"] for probe in ("startupProbe", "livenessProbe")] == ["/healthz"] * 2
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"


def test_two_operators_run_and_an_upgrade_leaves_no_gap(chart: Chart) -> None:
    spec = chart.one("Deployment")["spec"]
    assert (spec["replicas"], spec["strategy"]["type"]) == (2, "RollingUpdate")
    assert spec["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    budget = chart.one("PodDisruptionBudget")["spec"]
    assert budget == {"maxUnavailable": 1, "selector": spec["selector"]}
    (spread,) = spec["template"]["spec"]["topologySpreadConstraints"]
    assert (spread["whenUnsatisfiable"], spread["labelSelector"]) == ("ScheduleAnyway", spec["selector"])
    alone = chart.objects({"replicas": 1})
    assert of_kind(alone, "PodDisruptionBudget") == [], "it would keep a node from being drained"


@pytest.mark.parametrize("values", [{}, {"fullnameOverride": "other"}, {"watchNamespaces": NAMESPACES}])
def test_rights_on_leases_are_for_the_one_that_the_operator_uses(values: dict[str, Any], chart: Chart) -> None:
    (container,) = chart.one("Deployment", values)["spec"]["template"]["spec"]["containers"]
    variables = {variable["name"]: variable["value"] for variable in container["env"]}
    namespace, name = variables["ASSISTANT_OPERATOR_LEASE"].split("/")
    (role,) = leases(chart.objects(values))
    assert role["metadata"]["namespace"] == namespace
    assert role["rules"] == lease_rules(name)


def leases(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the roles with rights on Leases."""
    return [role for role in of_kind(objects, "Role", "ClusterRole") if "leases" in str(role["rules"])]


def test_by_default_every_namespace_is_served_by_one_cluster_role(chart: Chart) -> None:
    objects = chart.objects()
    assert of_kind(objects, "Role") == leases(objects)
    (binding,) = of_kind(objects, "ClusterRoleBinding")
    roles = {role["metadata"]["name"]: role for role in of_kind(objects, "ClusterRole")}
    assert roles[binding["roleRef"]["name"]]["rules"] == rules()


def test_with_namespaces_the_operator_has_rights_only_there(chart: Chart) -> None:
    objects = chart.objects({"watchNamespaces": NAMESPACES})
    assert of_kind(objects, "ClusterRoleBinding") == []
    roles = [role for role in of_kind(objects, "Role") if role not in leases(objects)]
    bindings = [
        binding
        for binding in of_kind(objects, "RoleBinding")
        if binding["roleRef"]["name"] == roles[0]["metadata"]["name"]
    ]
    assert [role["metadata"]["namespace"] for role in roles] == NAMESPACES
    assert [binding["metadata"]["namespace"] for binding in bindings] == NAMESPACES
    assert all(role["rules"] == rules() for role in roles)


@pytest.mark.parametrize("deleting", [True, False])
def test_the_right_to_delete_what_is_kept_is_given_only_when_asked_for(deleting: bool, chart: Chart) -> None:
    objects = chart.objects({"watchNamespaces": NAMESPACES, "rbac": {"deleteKept": deleting}})
    for role in (role for role in of_kind(objects, "Role") if role not in leases(objects)):
        deletable = {kind for rule in role["rules"] if "delete" in rule["verbs"] for kind in rule["resources"]}
        assert deletable & KEPT == (KEPT if deleting else set())


@pytest.mark.parametrize("values", [{}, {"watchNamespaces": NAMESPACES}])
def test_rights_are_given_to_the_operators_own_account(values: dict[str, Any], chart: Chart) -> None:
    objects = chart.objects(values)
    (account,) = of_kind(objects, "ServiceAccount")
    (deployment,) = of_kind(objects, "Deployment")
    assert deployment["spec"]["template"]["spec"]["serviceAccountName"] == account["metadata"]["name"]
    for binding in of_kind(objects, "RoleBinding", "ClusterRoleBinding"):
        (subject,) = binding["subjects"]
        assert subject["name"] == account["metadata"]["name"]
        assert subject["namespace"] == account["metadata"]["namespace"]


def test_users_get_no_rights_from_the_operators_role(chart: Chart) -> None:
    """What the namespaces' editors may do reaches AIAssistants alone."""
    for role in of_kind(chart.objects(), "ClusterRole"):
        if any("aggregate-to" in label for label in role["metadata"]["labels"]):
            assert {group for rule in role["rules"] for group in rule["apiGroups"]} == {"aiassistant.dev"}


def rules() -> list[dict[str, Any]]:
    return yaml.safe_load((CHART / "files" / "rules.yaml").read_text())


def test_the_longest_name_made_from_the_objects_is_still_a_name(chart: Chart) -> None:
    """A cut that ends in a dash must not leave two of them."""
    service = chart.one("Service", {"fullnameOverride": "a" * 54 + "-" + "b" * 8})
    assert service["metadata"]["name"] == "a" * 54 + "-metrics"
    longest = chart.one("Service", {"fullnameOverride": "a" * 63})
    assert len(longest["metadata"]["name"]) == LONGEST_NAME


@pytest.mark.parametrize("repository", ["operator", "localhost:5000/operator", "registry.example.com/a/b_c.d-e"])
def test_a_repository_may_name_a_registrys_port(repository: str, chart: Chart) -> None:
    (container,) = chart.one("Deployment", {"image": {"repository": repository}})["spec"]["template"]["spec"][
        "containers"
    ]
    assert container["image"] == f"{repository}:{VERSION}"


def test_the_definition_is_the_generated_one(chart: Chart) -> None:
    generated = yaml.safe_load((ROOT / "crds" / "aiassistants.aiassistant.dev.yaml").read_text())
    rendered = chart.one("CustomResourceDefinition")
    assert rendered["spec"] == generated["spec"]
    assert rendered["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}


def test_the_definition_goes_with_the_chart_when_told_to(chart: Chart) -> None:
    definition = chart.one("CustomResourceDefinition", {"crds": {"keep": False}})
    assert "annotations" not in definition["metadata"]


@pytest.mark.parametrize(
    ("image", "operator", "runtime"),
    [
        ({}, f"localhost/assistant-operator:{VERSION}", f"localhost/assistant-runtime:{VERSION}"),
        ({"tag": "2"}, "localhost/assistant-operator:2", "localhost/assistant-runtime:2"),
        (
            {"repository": "registry.example.com:5000/a/assistant-operator"},
            f"registry.example.com:5000/a/assistant-operator:{VERSION}",
            f"registry.example.com:5000/a/assistant-runtime:{VERSION}",
        ),
        (
            {"digest": "sha256:" + "a" * 64},
            "localhost/assistant-operator@sha256:" + "a" * 64,
            f"localhost/assistant-runtime:{VERSION}",
        ),
    ],
)
def test_the_runtimes_image_is_found_beside_the_operators(
    image: dict[str, str], operator: str, runtime: str, chart: Chart
) -> None:
    (container,) = chart.one("Deployment", {"image": image})["spec"]["template"]["spec"]["containers"]
    variables = {variable["name"]: variable["value"] for variable in container["env"]}
    images = json.loads(variables["ASSISTANT_OPERATOR_IMAGES"])
    assert (container["image"], images["runtime"]) == (operator, runtime)


@pytest.mark.parametrize("values", [{}, {"watchNamespaces": NAMESPACES}])
def test_the_environment_is_what_the_operators_settings_read(values: dict[str, Any], chart: Chart) -> None:
    (container,) = chart.one("Deployment", values)["spec"]["template"]["spec"]["containers"]
    given = {variable["name"].removeprefix("ASSISTANT_OPERATOR_").lower() for variable in container["env"]}
    optional = set() if values else {"watch_namespaces"}
    assert given | optional == set(Settings.model_fields)


def test_the_defaults_are_the_operators_own(chart: Chart, monkeypatch: pytest.MonkeyPatch) -> None:
    (container,) = chart.one("Deployment")["spec"]["template"]["spec"]["containers"]
    defaults = Settings()
    for variable in container["env"]:
        monkeypatch.setenv(variable["name"], variable["value"])
    assert Settings().model_copy(update={"lease": ""}) == defaults
