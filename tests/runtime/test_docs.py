"""The documentation names what a client or Prometheus meets: endpoints, error codes, metrics."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from assistant_runtime.app import create_app
from assistant_runtime.settings import Settings
from assistant_runtime.telemetry import Metrics

ROOT = Path(__file__).parents[2]
PAGES = "\n".join(page.read_text() for page in (ROOT / "docs").glob("*.md"))


def _codes() -> Iterator[str]:
    """Give every code that an error of the runtime is made with."""
    for module in (ROOT / "assistant_runtime").rglob("*.py"):
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.Call):
                yield from (
                    word.value.value
                    for word in node.keywords
                    if word.arg == "code" and isinstance(word.value, ast.Constant) and isinstance(word.value.value, str)
                )


def test_every_error_code_is_explained() -> None:
    section = (ROOT / "docs/runtime.md").read_text().split("## Errors\n")[1].split("\n## ")[0]
    explained = set(re.findall(r"`([a-z]+(?:_[a-z]+)+)`", section))
    assert set(_codes()) - explained == set()


def test_every_endpoint_is_named() -> None:
    paths = create_app(Settings(multi_writer_enabled=True)).openapi()["paths"]
    roots = {re.match(r"(/v1)?/[^/]+", path).group() for path in paths}  # type: ignore[union-attr]
    assert {root for root in roots if not re.search(rf"`[^`\n]*{root}\b", PAGES)} == set()


def test_every_metric_is_named() -> None:
    served = Metrics(enabled=True).exposition().decode()
    names = set(re.findall(r"^# TYPE (?!process_)(\w+?)(?:_created)? ", served, re.MULTILINE))
    assert {name for name in names if f"`{name}" not in PAGES} == set()
