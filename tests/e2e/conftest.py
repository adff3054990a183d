"""A real cluster with the operator installed by its chart, and real images: everything as `make demo` makes it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from devcluster import cluster as devcluster
from devcluster import images
from devcluster.demo.kubernetes import Kubernetes
from devcluster.demo.recipes import (
    CHART,
    MILVUS_LITE,
    MODEL_SERVER,
    OPERATOR,
    RERANKER,
    ROOT,
    RUNTIME,
    known_to_the_chart,
)
from tests.e2e import outside as program
from tests.support.apart import own_number
from tests.support.api import Object
from tests.support.kube import Kube
from tests.support.searxng import PAGES

SYSTEM_NAMESPACE = "assistant-operator-system"
NAMESPACE = "assistants"
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}


@pytest.fixture(scope="package")
def nodes() -> Iterator[devcluster.Cluster]:
    with own_number("e2e", 16) as number:
        devcluster.down(name := f"tests-e2e-{number}")
        # Two, so that pods are spread, and there is room for every server at once.
        cluster = devcluster.up(name, nodes=2)
        yield cluster
        cluster.down()


@pytest.fixture(scope="package")
def loaded(nodes: devcluster.Cluster) -> dict[str, str]:
    """Image references by recipe name, built and on the node."""
    references = {}
    for recipe in (OPERATOR, RUNTIME, MODEL_SERVER, RERANKER, MILVUS_LITE, *known_to_the_chart()):
        references[recipe.name] = recipe.reference()
        nodes.load(images.build(recipe.reference(), recipe.dockerfile, recipe.context, target=recipe.target))
    return references


@pytest.fixture(scope="package")
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


@pytest.fixture(scope="package")
def kube(nodes: devcluster.Cluster, operator: Kube) -> Kube:
    """kubectl in a namespace that enforces restricted Pod Security, with the model server of the samples."""
    scoped = Kube(nodes, NAMESPACE)
    scoped.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": RESTRICTED}})
    scoped.run("apply", "-f", str(ROOT / "manifests/samples/model-server.yaml"))
    scoped.run("rollout", "status", "deployment/model-server", "--timeout=120s", timeout=130)
    return scoped


@pytest.fixture(scope="package")
def outside(kube: Kube, loaded: dict[str, str]) -> str:
    """The address of what the assistants meet outside: a provider with a script, a search index, a web site."""
    kube.apply(*_outside(loaded[RUNTIME.name]))
    kube.run("wait", "--for=condition=Ready", "pod/outside", "--timeout=120s", timeout=130)
    return f"http://{kube.must('service', 'outside')['spec']['clusterIP']}:{program.PORT}"


def _outside(image: str) -> list[Object]:
    """Return a pod that runs the program, and its Service."""
    container: dict[str, Any] = {
        "name": "outside",
        "image": image,
        "command": ["python", "/outside/outside.py"],
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "128Mi"}},
        "readinessProbe": {"tcpSocket": {"port": program.PORT}, "periodSeconds": 1},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [{"name": "files", "mountPath": "/outside"}],
    }
    pod = {
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
        "terminationGracePeriodSeconds": 1,  # there is nothing to finish
        "volumes": [{"name": "files", "configMap": {"name": "outside"}}],
    }
    files = {"outside.py": Path(program.__file__).read_text(), program.RESULTS.name: json.dumps({"results": PAGES})}
    named = {"apiVersion": "v1", "metadata": {"name": "outside", "labels": {"app": "outside"}}}
    service = {"selector": {"app": "outside"}, "ports": [{"port": program.PORT}]}
    return [
        {**named, "kind": "ConfigMap", "data": files},
        {**named, "kind": "Pod", "spec": pod},
        {**named, "kind": "Service", "spec": service},
    ]
