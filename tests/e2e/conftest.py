"""A real cluster with the operator installed by its chart, and real images: everything as `make demo` makes it."""

from collections.abc import Iterator

import pytest

from devcluster import cluster as devcluster
from devcluster import images
from devcluster.demo.kubernetes import Kubernetes
from devcluster.demo.recipes import CHART, MODEL_SERVER, OPERATOR, ROOT, RUNTIME, known_to_the_chart
from devcluster.paths import lock
from tests.support.kube import Kube

SYSTEM_NAMESPACE = "assistant-operator-system"
NAMESPACE = "assistants"
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}


@pytest.fixture(scope="session")
def nodes() -> Iterator[devcluster.Cluster]:
    with lock("tests-e2e"):  # another run of this user's tests has a cluster of the same name
        devcluster.down("tests-e2e")
        # Two, so that pods are spread, and there is room for every server at once.
        cluster = devcluster.up("tests-e2e", nodes=2)
        yield cluster
        cluster.down()


@pytest.fixture(scope="session")
def loaded(nodes: devcluster.Cluster) -> dict[str, str]:
    """Image references by recipe name, built and on the node."""
    references = {}
    for recipe in (OPERATOR, RUNTIME, MODEL_SERVER, *known_to_the_chart()):
        references[recipe.name] = recipe.reference()
        nodes.load(images.build(recipe.reference(), recipe.dockerfile, recipe.context, target=recipe.target))
    return references


@pytest.fixture(scope="session")
def operator(nodes: devcluster.Cluster, loaded: dict[str, str]) -> Kube:
    """The operator, installed by helm; gives kubectl in its namespace."""
    kubernetes = Kubernetes(str(nodes.kubectl), str(nodes.helm), kubeconfig=nodes.kubeconfig)
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SYSTEM_NAMESPACE, "labels": RESTRICTED}}
    kubernetes.apply(namespace)
    repository, _, tag = loaded[OPERATOR.name].rpartition(":")
    values = {
        "image.repository": repository,
        "image.tag": tag,
        "defaultImages.runtime": loaded[RUNTIME.name],
        **{f"defaultImages.{recipe.name}": loaded[recipe.name] for recipe in known_to_the_chart()},
    }
    settings = [f"--set-string={name}={value}" for name, value in values.items()]
    kubernetes.helm("install", "assistant-operator", str(CHART), "--namespace", SYSTEM_NAMESPACE, "--wait", *settings)
    return Kube(nodes, SYSTEM_NAMESPACE)


@pytest.fixture(scope="session")
def kube(nodes: devcluster.Cluster, operator: Kube) -> Kube:
    """kubectl in a namespace that enforces restricted Pod Security, with the model server of the samples."""
    scoped = Kube(nodes, NAMESPACE)
    scoped.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": RESTRICTED}})
    scoped.run("apply", "-f", str(ROOT / "manifests/samples/model-server.yaml"))
    scoped.run("rollout", "status", "deployment/model-server", "--timeout=120s", timeout=130)
    return scoped
