"""Is the first real error in the component's condition soon after the kubelet knows it?

One assistant whose servers are all in trouble, each in its own way; its runtime is scaled to nothing.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.kube import Kube, eventually

# The first test waits for images, which are built when they are not there yet.
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]

NAME = "troubled"
SOON = 15
"""Seconds within which an error must be told."""


def _server(container: str, **fields: Any) -> dict[str, Any]:
    """Return the block of a server whose container has other fields."""
    small = {"requests": {"cpu": "20m", "memory": "32Mi"}, "limits": {"cpu": "1", "memory": "512Mi"}}
    overlay = {"spec": {"terminationGracePeriodSeconds": 1, "containers": [{"name": container, **fields}]}}
    return {"resources": small, "podTemplate": overlay}


CRASHING = ["sh", "-c", "echo begins; echo 'Fatal: bad directive' >&2; exit 3"]
UNREADY = {"exec": {"command": ["sh", "-c", "echo no table of users; exit 1"]}, "periodSeconds": 1}
SPEC = {
    "replicas": 0,
    "deletionPolicy": "Delete",
    "providers": {"items": [{"name": "local", "baseURL": "http://model-server:8080/v1", "model": "any"}]},
    "redis": {"managed": {**_server("redis", command=CRASHING), "maxMemory": "32Mi"}},
    "postgresql": {"enabled": True, "managed": _server("postgresql", readinessProbe=UNREADY)},
    "mongodb": {"managed": {"storage": {"size": "1Gi", "storageClassName": "missing"}}},
    "searxng": {"managed": {**_server("searxng"), "image": {"tag": "missing"}}},
    "milvus": {"enabled": False},
}


@pytest.fixture(scope="module")
def troubled(kube: Kube) -> Iterator[Kube]:
    head = {"apiVersion": "aiassistant.dev/v1alpha1", "kind": "AIAssistant", "metadata": {"name": NAME}}
    kube.apply({**head, "spec": SPEC})
    yield kube
    kube.run("delete", "aia", NAME)
    eventually(lambda: not kube.list("pods", f"app.kubernetes.io/instance={NAME}"), "no pod", timeout=120)


def _container(kube: Kube, component: str) -> dict[str, Any]:
    """Return the state of a server's container as the kubelet tells it, empty before it does."""
    selector = f"app.kubernetes.io/instance={NAME},app.kubernetes.io/name={component}"
    found = [state for pod in kube.list("pods", selector) for state in pod["status"].get("containerStatuses") or ()]
    return found[0] if found else {}


def _events(kube: Kube, name: str, reason: str) -> int:
    """Count how often a warning was told about an object."""
    told = (each for each in kube.list("events") if (each["involvedObject"]["name"], each["reason"]) == (name, reason))
    return sum(each.get("count") or 1 for each in told)


def _told(kube: Kube, known: Callable[[], object], condition: str, *words: str) -> dict[str, Any]:
    """Wait until the cluster knows of the trouble, and then a little for the condition that has these words."""
    eventually(known, "the cluster knows", timeout=120)
    return eventually(
        lambda: (
            found
            if all(word in (found := kube.condition(NAME, condition)).get("message", "") for word in words)
            else None
        ),
        f"{condition} tells it",
        timeout=SOON,
        last=lambda: kube.condition(NAME, condition),
    )


def test_a_crash_is_told_with_its_last_lines(troubled: Kube) -> None:
    told = _told(
        troubled,
        lambda: _container(troubled, "redis").get("lastState", {}).get("terminated"),
        "RedisReady",
        f"pod {NAME}-redis-0: container redis: exited with code 3",
        "begins\nFatal: bad directive",
    )
    assert told["status"] == "False"
    assert told["reason"] in ("Crashed", "CrashLoopBackOff")


def test_an_image_that_can_not_be_pulled_is_told(troubled: Kube) -> None:
    told = _told(
        troubled,
        lambda: _container(troubled, "searxng").get("state", {}).get("waiting", {}).get("reason") == "ErrImagePull",
        "SearXNGReady",
        ":missing",
    )
    assert told["reason"] in ("ErrImagePull", "ImagePullBackOff")


def test_a_failing_probe_is_told_with_its_answer(troubled: Kube) -> None:
    told = _told(
        troubled,
        lambda: _events(troubled, f"{NAME}-postgresql-0", "Unhealthy") > 1,
        "PostgreSQLReady",
        f"pod {NAME}-postgresql-0: Readiness probe failed: no table of users",
    )
    assert told["reason"] == "Unhealthy"


def test_a_volume_that_can_not_be_made_is_told(troubled: Kube) -> None:
    claim = f"data-{NAME}-mongodb-0"
    told = _told(
        troubled,
        lambda: _events(troubled, claim, "ProvisioningFailed"),
        "MongoDBReady",
        f"volume claim {claim} is pending",
        '"missing" not found',
    )
    assert told["reason"] == "VolumePending"
