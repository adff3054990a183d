"""Objects of other operators in a cluster without those: from the golden files, with what the operators would write."""

import json
from pathlib import Path
from typing import NamedTuple

import yaml

from assistant_operator import desired
from assistant_operator.rooms.component import ReferencedObject
from assistant_operator.spec.assistant import AIAssistant
from tests.cluster.definitions import install
from tests.operator.assistants import facts
from tests.support.api import Object
from tests.support.kube import Kube, eventually

GOLDEN = Path(__file__).parents[1] / "operator/golden/runtime"


class Case(NamedTuple):
    """An AIAssistant, the object of another operator that it names, and what the runtime is told."""

    spec: Object
    body: Object
    environment: list[Object]
    named: ReferencedObject
    secrets: dict[str, dict[str, str]]
    condition: str


def read(name: str, namespace: str) -> Case:
    """Read a golden pair; what it says of the namespace `default` is said of another one."""
    source, body = yaml.safe_load_all((GOLDEN / f"{name}.input.yaml").read_text().replace(".default", f".{namespace}"))
    output = (GOLDEN / f"{name}.output.yaml").read_text().replace(".default", f".{namespace}")
    runtime = next(found for found in yaml.safe_load_all(output) if found["kind"] == "Deployment")
    source["metadata"]["namespace"] = namespace
    found = AIAssistant.model_validate(source)
    ((component, named),) = desired.referenced_objects(found).items()
    bound = named.binding(facts(found, body).referenced[component])
    secrets: dict[str, dict[str, str]] = {}
    for secret in bound.references():
        secrets.setdefault(secret.name, {})[secret.key] = "value"
    condition = next(c.condition for c in desired.COMPONENTS if c.name == component)
    environment = runtime["spec"]["template"]["spec"]["containers"][0]["env"]
    return Case(source["spec"], body, environment, named, secrets, condition)


CASES = sorted(
    path.name.removesuffix(".input.yaml")
    for path in GOLDEN.glob("*.input.yaml")
    if len([*yaml.safe_load_all(path.read_text())]) > 1
)


def make(kube: Kube, case: Case) -> None:
    """Make the object as its operator leaves it, and the Secrets that it names. An unknown field is refused."""
    install(kube, case.named.kind.crd)
    body = {key: value for key, value in case.body.items() if key != "status"}
    kube.run("apply", "--server-side", "--validate=strict", "-f", "-", stdin=yaml.safe_dump(body))
    report(kube, case, case.body.get("status"))
    for name, values in case.secrets.items():
        kube.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": values})


def report(kube: Kube, case: Case, status: Object | None) -> None:
    """Write the object's status as its operator would."""
    if status:
        patch = ["--subresource=status", "--type=merge", "-p", json.dumps({"status": status})]
        kube.run("patch", case.named.kind.crd, case.named.name, *patch)


def told(kube: Kube, name: str = "demo") -> list[Object]:
    """Give the variables of an assistant's runtime, when it is deployed."""
    found = eventually(lambda: kube.get("deployment", f"{name}-runtime"), f"{name}'s runtime is deployed")
    variables: list[Object] = found["spec"]["template"]["spec"]["containers"][0]["env"]
    return variables
