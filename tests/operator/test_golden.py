"""What do we create? Each case is a pair of files: an AIAssistant, and every object that its room renders from it.

Where an object of another operator stands for a server, the input has it too, as that operator leaves it in a cluster.

`make golden` rewrites the outputs; review the difference as you would review code.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import yaml

from assistant_operator import desired
from assistant_operator.cli import dump
from assistant_operator.policies import ingress
from assistant_operator.rooms.component import Component
from assistant_operator.rooms.facts import Facts
from assistant_operator.rooms.manifests import Object
from assistant_operator.spec.assistant import AIAssistant
from assistant_operator.spec.parsing import parse
from tests.operator.assistants import facts

GOLDEN = Path(__file__).parent / "golden"
CASES = sorted(GOLDEN.glob("*/*.input.yaml"))


def _component(component: Component, assistant: AIAssistant, known: Facts) -> list[Object]:
    """Render one component, and what operations do for it."""
    rendered = component.objects(assistant, known, desired.all_bindings(assistant, known))
    for operation in desired.OPERATIONS:
        rendered += operation.objects(component, assistant, known)
    return rendered


ROOMS: dict[str, Callable[[AIAssistant, Facts], list[Object]]] = {
    **{component.name: partial(_component, component) for component in desired.COMPONENTS},
    "ingress": lambda a, f: ingress.POLICY.rendered(a, f, {}, []),
    "disruption": lambda a, f: [o for o in desired.desired(a, f).objects if o["kind"] == "PodDisruptionBudget"],
    "assistant": lambda a, f: desired.desired(a, f).objects,
}


@pytest.mark.parametrize("case", CASES, ids=lambda path: f"{path.parent.name}/{path.name.split('.')[0]}")
def test_renders_the_golden_objects(case: Path, request: pytest.FixtureRequest) -> None:
    source, *others = yaml.safe_load_all(case.read_text())
    source["metadata"] = {"namespace": "default", "uid": "11111111-2222-3333-4444-555555555555", **source["metadata"]}
    assistant = parse(source)
    rendered = dump(ROOMS[case.parent.name](assistant, facts(assistant, *others)))
    golden = case.with_name(case.name.replace(".input.", ".output."))
    if request.config.getoption("--update-golden"):
        golden.write_text(rendered)
    assert rendered == golden.read_text()


def test_every_room_has_a_case() -> None:
    assert {case.parent.name for case in CASES} == set(ROOMS)
