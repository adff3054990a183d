"""On a user's cluster the demo overwrites and deletes only what it made; what it made has its label."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from devcluster.demo.kubernetes import Kubernetes
from devcluster.demo.ownership import mark, refuse_what_is_the_users
from devcluster.demo.targets import DEFINITION, DEMO_LABEL, DEMO_SELECTOR, NAMESPACE, RELEASE, SYSTEM_NAMESPACE
from devcluster.errors import DevclusterError

ASSISTANT: dict[str, Any] = {"kind": "AIAssistant", "metadata": {"name": "demo"}}
OWN: dict[str, Any] = {"metadata": {"labels": {DEMO_LABEL: "true"}}}
ANOTHERS: dict[str, Any] = {"metadata": {}}


class Cluster:
    """A kubectl and a helm that know what a test says that there is."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def has(self, kind: str, name: str, found: dict[str, Any]) -> None:
        (self._folder / f"{kind} {name}").write_text(json.dumps(found))

    def has_release(self, *, marked: bool) -> None:
        (self._folder / "release").write_text(RELEASE)
        if marked:
            (self._folder / "marked").write_text(RELEASE)

    def kubernetes(self) -> Kubernetes:
        folder = shlex.quote(str(self._folder))
        kubectl = self._program("kubectl", f'cat {folder}/"$2 $3" 2>/dev/null || true')
        look = f'case "$*" in *{DEMO_SELECTOR}*) file=marked;; *) file=release;; esac'
        helm = self._program("helm", f"{look}; cat {folder}/$file 2>/dev/null || true")
        return Kubernetes(kubectl, helm)

    def _program(self, name: str, script: str) -> str:
        file = self._folder / name
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(0o755)
        return str(file)


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return Cluster(tmp_path)


def refuse(cluster: Cluster) -> None:
    refuse_what_is_the_users(cluster.kubernetes(), [ASSISTANT])


def test_an_empty_cluster_is_taken(cluster: Cluster) -> None:
    refuse(cluster)


def test_an_operator_that_the_demo_did_not_install_is_left_alone(cluster: Cluster) -> None:
    cluster.has("namespace", SYSTEM_NAMESPACE, ANOTHERS)
    cluster.has_release(marked=False)
    with pytest.raises(DevclusterError, match=f"release {RELEASE} .* stays as it is. Use another cluster"):
        refuse(cluster)


def test_an_operator_of_an_earlier_demo_is_updated(cluster: Cluster) -> None:
    cluster.has("namespace", SYSTEM_NAMESPACE, ANOTHERS)
    cluster.has_release(marked=True)
    refuse(cluster)


def test_the_demos_own_namespace_needs_no_further_proof(cluster: Cluster) -> None:
    cluster.has("namespace", SYSTEM_NAMESPACE, OWN)
    cluster.has_release(marked=False)
    refuse(cluster)


def test_an_assistant_of_the_same_name_is_left_alone(cluster: Cluster) -> None:
    cluster.has("namespace", NAMESPACE, ANOTHERS)
    cluster.has("crd", DEFINITION, ANOTHERS)
    cluster.has(DEFINITION, "demo", ANOTHERS)
    with pytest.raises(DevclusterError, match=f"AIAssistant demo in namespace {NAMESPACE}"):
        refuse(cluster)


def test_the_demos_assistant_in_a_users_namespace_is_updated(cluster: Cluster) -> None:
    cluster.has("namespace", NAMESPACE, ANOTHERS)
    cluster.has("crd", DEFINITION, ANOTHERS)
    cluster.has(DEFINITION, "demo", mark(ASSISTANT))
    refuse(cluster)


def test_marking_keeps_the_labels_and_the_sample_itself() -> None:
    sample = {"metadata": {"name": "demo", "labels": {"team": "a"}}}
    assert mark(sample)["metadata"]["labels"] == {"team": "a", DEMO_LABEL: "true"}
    assert sample["metadata"]["labels"] == {"team": "a"}
