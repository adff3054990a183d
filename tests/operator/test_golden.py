"""What do we create? Each case is a pair of files: an AIAssistant, and every object that its room renders from it.

`make golden` rewrites the outputs; review the difference as you would review code.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from assistant_operator import desired
from assistant_operator.assistant import AIAssistant
from assistant_operator.binding import Bindings
from assistant_operator.cli import dump
from assistant_operator.components import (
    firecrawl,
    milvus,
    mongodb,
    postgresql,
    redis,
    reranker,
    runtime,
    searxng,
    ui,
)
from assistant_operator.manifests import Object
from assistant_operator.policies import disruption, ingress
from assistant_operator.reconcile import parse
from tests.operator.assistants import FACTS, facts

GOLDEN = Path(__file__).parent / "golden"
CASES = sorted(GOLDEN.glob("*/*.input.yaml"))


def _bindings(assistant: AIAssistant) -> Bindings:
    found = {c.name: desired.binding(c, assistant, FACTS) for c in desired.enabled(assistant)}
    return {name: bound for name, bound in found.items() if bound}


ROOMS: dict[str, Callable[[AIAssistant], list[Object]]] = {
    "redis": lambda a: redis.COMPONENT.objects(a, facts(a), {}),
    "mongodb": lambda a: mongodb.COMPONENT.objects(a, facts(a), {}),
    "postgresql": lambda a: postgresql.COMPONENT.objects(a, FACTS, {}),
    "milvus": lambda a: milvus.COMPONENT.objects(a, FACTS, {}),
    "searxng": lambda a: searxng.COMPONENT.objects(a, FACTS, {}),
    "firecrawl": lambda a: firecrawl.COMPONENT.objects(a, FACTS, _bindings(a)),
    "reranker": lambda a: reranker.COMPONENT.objects(a, FACTS, {}),
    "runtime": lambda a: runtime.COMPONENT.objects(a, FACTS, _bindings(a)),
    "ui": lambda a: ui.COMPONENT.objects(a, FACTS, {}),
    "ingress": ingress.objects,
    "disruption": disruption.objects,
    "assistant": lambda a: desired.desired(a, facts(a)).objects,
}


@pytest.mark.parametrize("case", CASES, ids=lambda path: f"{path.parent.name}/{path.name.split('.')[0]}")
def test_renders_the_golden_objects(case: Path, request: pytest.FixtureRequest) -> None:
    source = yaml.safe_load(case.read_text())
    source["metadata"] = {"namespace": "default", "uid": "11111111-2222-3333-4444-555555555555", **source["metadata"]}
    rendered = dump(ROOMS[case.parent.name](parse(source)))
    golden = case.with_name(case.name.replace(".input.", ".output."))
    if request.config.getoption("--update-golden"):
        golden.write_text(rendered)
    assert rendered == golden.read_text()


def test_every_room_has_a_case() -> None:
    assert {case.parent.name for case in CASES} == set(ROOMS)
