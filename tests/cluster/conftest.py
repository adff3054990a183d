"""One real control plane and one operator process for all tests of this folder; each test has its own namespace."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from devcluster import cluster as devcluster
from devcluster.paths import lock
from tests.support.kube import Kube, install, running_operator

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def control_plane() -> Iterator[devcluster.Cluster]:
    with lock("tests-cluster"):  # another run of this user's tests has a cluster of the same name
        devcluster.down("tests-cluster")
        cluster = devcluster.up("tests-cluster", control_plane_only=True)
        yield cluster
        cluster.down()


@pytest.fixture(scope="session")
def account(control_plane: devcluster.Cluster) -> Path:
    """Kubeconfig of the operator's own account, which has the chart's rights and no others."""
    return install(Kube(control_plane))


@pytest.fixture(scope="session")
def operator_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("operator") / "operator.log"


@pytest.fixture(scope="module")
def operator(account: Path, operator_log: Path) -> Iterator[None]:
    with running_operator(account, operator_log):
        yield


@pytest.fixture
def kube(control_plane: devcluster.Cluster, account: Path) -> Iterator[Kube]:
    """kubectl in a namespace of the test's own, in which restricted Pod Security is enforced."""
    namespace = f"test-{next(_numbers)}"
    restricted = {"pod-security.kubernetes.io/enforce": "restricted"}
    scoped = Kube(control_plane, namespace)
    scoped.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": restricted}})
    yield scoped
    scoped.run("delete", "namespace", namespace, "--wait=false")
