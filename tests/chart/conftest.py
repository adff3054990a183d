"""Render the chart with the real helm: $HELM, or the one that the development cluster is built with."""

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from devcluster import build
from devcluster.progress import Terminal

CHART = Path(__file__).parents[2] / "helm" / "assistant-operator"

KUBERNETES_VERSION = "1.29.0"
"""The oldest that the chart promises to work on."""


class HelmError(Exception):
    """What helm wrote to standard error."""


@dataclass(frozen=True)
class Chart:
    """The chart and the helm that renders it."""

    helm: Path

    @property
    def values(self) -> dict[str, Any]:
        return yaml.safe_load((CHART / "values.yaml").read_text())

    def text(self, values: Mapping[str, Any] | None = None) -> str:
        """Render as `make generate` does, with `values` over the defaults."""
        command: list[str | Path] = [self.helm, "template", "assistant-operator", CHART, "--values", "-"]
        command += ["--namespace", "assistant-operator-system", "--kube-version", KUBERNETES_VERSION]
        result = subprocess.run(
            command, input=yaml.safe_dump(dict(values or {})), capture_output=True, text=True, check=False
        )
        if result.returncode != 0:
            raise HelmError(result.stderr)
        return result.stdout

    def objects(self, values: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        return [document for document in yaml.safe_load_all(self.text(values)) if document]

    def one(self, kind: str, values: Mapping[str, Any] | None = None) -> dict[str, Any]:
        (found,) = (document for document in self.objects(values) if document["kind"] == kind)
        return found


@pytest.fixture(scope="session")
def chart() -> Chart:
    given = os.environ.get("HELM")
    return Chart(Path(given) if given else build.binaries(Terminal()) / "helm")


@pytest.fixture(scope="session")
def update_golden(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--update-golden"))
