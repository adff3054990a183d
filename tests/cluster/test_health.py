"""The first real error is in the component's condition within 15 s. No kubelet runs: the tests write what it would."""

import json
from typing import Any

import pytest

from tests.cluster.test_reconcile import create
from tests.support.api import Object
from tests.support.kube import Kube, eventually

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("operator")]

SOON = 15
"""Seconds within which an error must be told."""


def _pod(kube: Kube) -> Object:
    return eventually(lambda: kube.get("pod", "demo-redis-0"), "the pod of Redis exists")


def _report(kube: Kube, container: dict[str, Any], ready: str = "False") -> None:
    """Write the status of Redis's pod."""
    image = {"name": "redis", "image": "redis", "imageID": "", "restartCount": 0, "ready": ready == "True"}
    condition = {"type": "Ready", "status": ready, "lastTransitionTime": "2026-01-01T12:00:00Z"}
    body = {"status": {"phase": "Running", "conditions": [condition], "containerStatuses": [{**image, **container}]}}
    kube.run("patch", "pod", "demo-redis-0", "--subresource=status", "--type=merge", "-p", json.dumps(body))


def _told(kube: Kube, pod: Object, note: str, count: int) -> None:
    """Record an event as the kubelet does."""
    kube.apply(
        {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": "demo-redis-0.unhealthy"},
            "involvedObject": {
                "apiVersion": "v1",
                "kind": "Pod",
                "name": pod["metadata"]["name"],
                "namespace": kube.namespace,
                "uid": pod["metadata"]["uid"],
            },
            "type": "Warning",
            "reason": "Unhealthy",
            "message": note,
            "count": count,
            "firstTimestamp": "2026-01-01T12:00:05Z",
            "lastTimestamp": "2026-01-01T12:00:10Z",
            "source": {"component": "kubelet"},
        }
    )


def test_a_failing_probe_is_told_and_forgotten_when_all_is_well(kube: Kube) -> None:
    create(kube)
    pod = _pod(kube)
    _report(kube, {"state": {"running": {"startedAt": "2026-01-01T12:00:00Z"}}})
    kube.wait_for_reason("demo", "VolumePending", "RedisReady")  # there is no StorageClass here
    _told(kube, pod, "Readiness probe failed: connection refused", 2)
    told = kube.wait_for_reason("demo", "Unhealthy", "RedisReady", timeout=SOON)
    assert told["message"] == "0/1 pods are ready: pod demo-redis-0: Readiness probe failed: connection refused"
    _report(kube, {"state": {"running": {"startedAt": "2026-01-01T12:00:00Z"}}}, ready="True")
    ready = kube.wait_for_reason("demo", "Ready", "RedisReady", timeout=SOON)
    assert ready["message"] == "1/1 pods are ready."


def test_a_crash_is_told_with_its_output_and_without_secrets(kube: Kube) -> None:
    create(kube)
    _pod(kube)
    password = kube.secret("demo-redis")["password"]
    ended = {"exitCode": 1, "reason": "Error", "message": f"Fatal: bad directive 'requirepass {password}'"}
    _report(kube, {"state": {"terminated": ended}})
    told = kube.wait_for_reason("demo", "Crashed", "RedisReady", timeout=SOON)
    assert "container redis: exited with code 1 (Error): Fatal: bad directive" in told["message"]
    assert password not in told["message"]


def test_an_image_that_can_not_be_pulled_is_told(kube: Kube) -> None:
    create(kube)
    _pod(kube)
    _report(kube, {"state": {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}}})
    told = kube.wait_for_reason("demo", "ImagePullBackOff", "RedisReady", timeout=SOON)
    assert "Back-off pulling image" in told["message"]


def test_a_volume_of_a_class_that_does_not_exist_is_told(kube: Kube) -> None:
    create(kube, redis={"managed": {"storage": {"storageClassName": "missing"}}})
    told = kube.wait_for_reason("demo", "VolumePending", "RedisReady", timeout=30)
    assert told["message"].startswith("0/1 pods are ready: volume claim data-demo-redis-0 is pending: ")
    assert '"missing" not found' in told["message"]


def test_a_quota_that_refuses_pods_is_told_of_every_kind_of_workload(kube: Kube) -> None:
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}}
    kube.apply(quota)
    eventually(lambda: (kube.must("resourcequota", "none").get("status") or {}).get("hard"), "the quota is in force")
    create(kube)
    for condition in ("RedisReady", "RuntimeReady"):
        told = kube.wait_for_reason("demo", "FailedCreate", condition, timeout=SOON * 2)
        assert "exceeded quota" in told["message"]
