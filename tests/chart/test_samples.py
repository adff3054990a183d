"""The samples are accepted as they are, show every field, and fit together."""

import ast
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from assistant_operator import desired
from assistant_operator.rooms.manifests import Object
from assistant_operator.spec.crd import definition
from assistant_operator.spec.parsing import parse
from assistant_operator.spec.values import quantity
from tests.chart.conftest import CHART
from tests.operator.assistants import FACTS

ROOT = CHART.parents[1]
SAMPLES = ROOT / "manifests" / "samples"


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((SAMPLES / name).read_text()))


def launcher_constant(name: str) -> object:
    """Read a constant of the model server's launcher, which only runs where its own packages are."""
    tree = ast.parse((ROOT / "devcluster" / "images" / "model-server" / "serve.py").read_text())
    (value,) = (
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == name for t in node.targets)
    )
    return ast.literal_eval(value)


@pytest.mark.parametrize("name", ["minimal.yaml", "production.yaml"])
def test_the_operator_accepts_the_sample(name: str) -> None:
    (resource,) = documents(name)
    assert parse(resource).name == resource["metadata"]["name"]


def test_the_minimal_sample_is_a_name_a_size_and_one_provider() -> None:
    (resource,) = documents("minimal.yaml")
    assert list(resource["metadata"]) == ["name"]
    assert list(resource["spec"]) == ["replicas", "resources", "providers"]
    (provider,) = resource["spec"]["providers"]["items"]
    assert list(provider) == ["name", "baseURL", "model"]


OWN_PODS_OF_KIND = 0.95
"""Cores that a node of kind's has reserved for Kubernetes' own pods."""


def cores(workload: Object) -> float:
    """Return what a workload's pods ask for while they are replaced one by one."""
    spec = workload["spec"]
    surge = 1 if workload["kind"] == "Deployment" else 0
    asked = sum(
        quantity(container["resources"]["requests"]["cpu"]) for container in spec["template"]["spec"]["containers"]
    )
    return float(asked) * (spec["replicas"] + surge)


def test_the_minimal_sample_fits_one_node_with_two_cores_while_it_is_updated() -> None:
    (resource,) = documents("minimal.yaml")
    objects = desired.desired(
        parse({**resource, "metadata": {"namespace": "a", "uid": "b", "name": "c"}}), FACTS
    ).objects
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    operator = quantity(values["resources"]["requests"]["cpu"]) * values["replicas"]
    workloads = [*objects, *documents("model-server.yaml")]
    asked = sum(cores(body) for body in workloads if body["kind"] in ("Deployment", "StatefulSet"))
    assert OWN_PODS_OF_KIND + float(operator) + asked <= 2


def field_names(schema: dict[str, Any]) -> Iterator[str]:
    for name, child in schema.get("properties", {}).items():
        yield name
        yield from field_names(child)
        yield from field_names(child.get("items", {}))


def test_the_production_sample_names_every_field() -> None:
    text = (SAMPLES / "production.yaml").read_text()
    schema = definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    missing = {name for name in field_names(schema) if not re.search(rf"\b{name}:", text)}
    assert missing == set()


def test_the_production_samples_commands_create_all_that_it_names() -> None:
    text = (SAMPLES / "production.yaml").read_text()
    commands = re.findall(
        r"^#   kubectl create (secret generic|configmap) (\S+) --from-\w+=([\w.-]+)", text, re.MULTILINE
    )
    (resource,) = documents("production.yaml")
    named = {reference.named for reference in desired.references(parse(resource), FACTS)}
    sources = {"secret generic": "Secret", "configmap": "ConfigMap"}
    created = {(sources[kind], name, key) for kind, name, key in commands}
    assert created == {(key.source, key.name, key.key) for key in named}


def test_the_minimal_sample_reaches_the_model_server() -> None:
    (resource,) = documents("minimal.yaml")
    (provider,) = resource["spec"]["providers"]["items"]
    (service,) = (document for document in documents("model-server.yaml") if document["kind"] == "Service")
    (port,) = service["spec"]["ports"]
    assert provider["baseURL"] == f"http://{service['metadata']['name']}:{port['port']}/v1"
    assert provider["model"] == launcher_constant("MODEL_ALIAS")


def test_the_model_servers_port_is_the_launchers() -> None:
    deployment, service = documents("model-server.yaml")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    (port,) = container["ports"]
    assert port["containerPort"] == launcher_constant("PORT")
    assert service["spec"]["ports"][0]["targetPort"] == port["name"]
    assert service["spec"]["selector"] == deployment["spec"]["template"]["metadata"]["labels"]
