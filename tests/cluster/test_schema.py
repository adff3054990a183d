"""The API server refuses bad input itself, with a message that names the field and what to write there."""

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from devcluster.cluster import Cluster
from tests.cluster.conftest import own_namespace
from tests.operator.assistants import PROVIDERS, resource
from tests.operator.bad_input import BAD_NAMES, BAD_SPECS
from tests.support.api import RefusedError
from tests.support.kstatus import statuses
from tests.support.kube import Kube

pytestmark = pytest.mark.cluster

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SAMPLES = sorted((ROOT / "manifests/samples").glob("*.yaml"))
GOLDEN = sorted((ROOT / "tests/operator/golden").glob("*/*.output.yaml"))


@pytest.fixture(scope="module")
def kube(control_plane: Cluster, account: Path) -> Iterator[Kube]:
    """kubectl in one namespace for all of them: nothing that is tried here is kept."""
    with own_namespace(control_plane) as scoped:
        yield scoped


def _assistant(name: str = "demo", **spec: Any) -> dict[str, Any]:
    body = resource(name, **spec)
    return {**body, "metadata": {"name": name}}


def _dry_run(kube: Kube, body: dict[str, Any]) -> None:
    kube.api.create(body, kube.namespace, keep=False)


@pytest.mark.parametrize(("spec", "message"), BAD_SPECS.values(), ids=BAD_SPECS)
def test_bad_spec_is_refused(kube: Kube, spec: dict[str, Any], message: str) -> None:
    body = _assistant(**spec)
    body["spec"] = {key: value for key, value in body["spec"].items() if value is not None}
    with pytest.raises(RefusedError) as refused:
        _dry_run(kube, body)
    assert message in str(refused.value)


@pytest.mark.parametrize("name", BAD_NAMES)
def test_bad_name_is_refused(kube: Kube, name: str) -> None:
    with pytest.raises(RefusedError, match=r"metadata\.name: must be at most 52 characters, begin with a letter"):
        _dry_run(kube, _assistant(name))


def test_what_no_operator_has_seen_is_not_taken_for_done(kube: Kube) -> None:
    kube.api.create(_assistant("unseen"), kube.namespace)
    found = kube.must("aia", "unseen")
    assert found["status"]["observedGeneration"] == -1
    assert statuses([found]) == ["InProgress"]
    kube.api.delete("aia", "unseen", kube.namespace)


def test_the_longest_name_is_taken(kube: Kube) -> None:
    _dry_run(kube, _assistant("a" * 52))


def test_an_unknown_field_is_refused(kube: Kube) -> None:
    with pytest.raises(RefusedError, match=r'unknown field "spec\.replcas"'):
        _dry_run(kube, _assistant(replcas=2))


def test_two_providers_of_one_name_are_refused(kube: Kube) -> None:
    with pytest.raises(RefusedError, match=r"spec\.providers\.items\[1\]: Duplicate value"):
        _dry_run(kube, _assistant(providers={"items": PROVIDERS["items"] * 2}))


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_samples_are_valid(kube: Kube, sample: Path) -> None:
    for body in yaml.safe_load_all(sample.read_text()):
        _dry_run(kube, body)


def _shown(page: Path) -> list[dict[str, Any]]:
    """The AIAssistants that a page shows: whole ones, and those of which it shows a part of the spec."""
    blocks = re.findall(r"^ *```yaml\n(.*?)^ *```", page.read_text(), re.DOTALL | re.MULTILINE)
    found = [yaml.safe_load(textwrap.dedent(block)) for block in blocks]
    shown = [body for body in found if "spec" in body and body.get("kind", "AIAssistant") == "AIAssistant"]
    return [body if "kind" in body else _assistant(**body["spec"]) for body in shown]


@pytest.mark.parametrize("page", [page for page in PAGES if _shown(page)], ids=lambda page: page.stem)
def test_what_the_documentation_shows_is_valid(kube: Kube, page: Path) -> None:
    for body in _shown(page):
        _dry_run(kube, body)


def test_explain_is_the_manual(kube: Kube) -> None:
    printed = kube.run("explain", "aia.spec.redis.managed.storage.size")
    assert "Capacity of the volume." in printed


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda path: f"{path.parent.name}/{path.name.split('.')[0]}")
def test_every_golden_object_is_accepted(kube: Kube, golden: Path) -> None:
    """Strictly: an unknown or misplaced field in what the operator renders would be refused here."""
    objects = list(yaml.safe_load_all(golden.read_text()))
    for body in filter(None, objects):
        body["metadata"]["namespace"] = kube.namespace
        kube.api.try_to_apply(body, kube.namespace)
