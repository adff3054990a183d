"""One real control plane and one operator process for all tests of this folder; each test has its own namespace."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from assistant_operator import labels
from devcluster import cluster as devcluster
from tests.operator.assistants import PROVIDERS
from tests.support.apart import own_number
from tests.support.kube import Kube, eventually, install, running_operator

_numbers = itertools.count(1)


@pytest.fixture(scope="package")
def control_plane() -> Iterator[devcluster.Cluster]:
    with own_number("cluster", 16) as number:
        devcluster.down(name := f"tests-cluster-{number}")
        cluster = devcluster.up(name, control_plane_only=True)
        yield cluster
        cluster.down()


@pytest.fixture(scope="package")
def account(control_plane: devcluster.Cluster) -> Path:
    """Kubeconfig of the operator's own account, which has the chart's rights and no others."""
    return install(Kube(control_plane))


@pytest.fixture(scope="package")
def garbage_collector(control_plane: devcluster.Cluster, account: Path) -> None:
    """Wait until the garbage collector watches AIAssistants: it looks for new kinds every half minute.

    What an assistant owned that is deleted before, it collects when its backoff lets it, which may take minutes.
    """
    with own_namespace(control_plane) as kube:
        eventually(lambda: _is_collected(kube, f"probe-{next(_numbers)}"), "AIAssistants' objects are collected")


def _is_collected(kube: Kube, name: str) -> bool:
    """Tell whether what a deleted AIAssistant owned is gone soon."""
    head = {"apiVersion": labels.API_VERSION, "kind": labels.KIND}
    kube.api.create({**head, "metadata": {"name": name}, "spec": {"providers": PROVIDERS}}, kube.namespace)
    owner = {**head, "name": name, "uid": kube.must("aia", name)["metadata"]["uid"]}
    metadata = {"name": name, "ownerReferences": [owner]}
    kube.api.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}, kube.namespace)
    kube.api.delete("aia", name, kube.namespace)
    with suppress(AssertionError):
        eventually(lambda: kube.get("configmap", name) is None, "it is gone", timeout=2)
        return True
    return False


@pytest.fixture(scope="package")
def operator_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("operator") / "operator.log"


@pytest.fixture(scope="module")
def operator(account: Path, operator_log: Path) -> Iterator[None]:
    with running_operator(account, operator_log):
        yield


@contextmanager
def own_namespace(control_plane: devcluster.Cluster) -> Iterator[Kube]:
    """Give kubectl in a new namespace, in which restricted Pod Security is enforced."""
    namespace = f"test-{next(_numbers)}"
    restricted = {"pod-security.kubernetes.io/enforce": "restricted"}
    scoped = Kube(control_plane, namespace)
    head = {"apiVersion": "v1", "kind": "Namespace"}
    scoped.api.create({**head, "metadata": {"name": namespace, "labels": restricted}})
    yield scoped
    scoped.api.delete("namespace", namespace)


@pytest.fixture
def kube(control_plane: devcluster.Cluster, account: Path) -> Iterator[Kube]:
    """kubectl in a namespace of the test's own."""
    with own_namespace(control_plane) as scoped:
        yield scoped
