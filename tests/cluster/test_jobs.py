"""Jobs that form and mend servers are made once for what they are to do. The tests write what a kubelet would."""

import json
from typing import Any

import pytest

from devcluster.cluster import Cluster
from tests.cluster.test_reconcile import create
from tests.support.api import Object
from tests.support.kube import Kube, audit_mark, audited, eventually, writes

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("operator")]

MONGODB = {"enabled": True, "managed": {"storage": {"size": "1Gi"}}}
POD = "demo-mongodb-0"
SOON = 15
"""Seconds within which an error must be told."""


def _patch_status(kube: Kube, pod: str, **status: Any) -> None:
    kube.run("patch", "pod", pod, "--subresource=status", "--type=merge", "-p", json.dumps({"status": status}))


def _address(kube: Kube, address: str) -> None:
    """Give MongoDB's pod an address."""
    eventually(lambda: kube.get("pod", POD), "the pod exists")
    _patch_status(kube, POD, phase="Running", podIP=address, podIPs=[{"ip": address}])


def _ready(kube: Kube) -> None:
    """Let MongoDB's pod be ready."""
    _patch_status(
        kube, POD, conditions=[{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T12:00:00Z"}]
    )


def _job(kube: Kube) -> Object:
    """Wait for the Job, and give it."""

    def only() -> Object | None:
        found = [job for job in kube.list("jobs") if not job["metadata"].get("deletionTimestamp")]
        return found[0] if len(found) == 1 else None

    return eventually(only, "there is one Job", last=lambda: kube.names("jobs"))


def _pod_of(kube: Kube, job: Object) -> str:
    selector = f"batch.kubernetes.io/job-name={job['metadata']['name']}"
    return str(eventually(lambda: kube.list("pods", selector), "the Job has a pod")[0]["metadata"]["name"])


def _end(kube: Kube, job: Object, code: int, message: str = "") -> None:
    """Let the Job's container end, and its pod with it where it succeeded; one that failed is started again."""
    ended = {"exitCode": code, "reason": "Error" if code else "Completed", "message": message}
    container = {"name": "setup", "image": "mongodb", "imageID": "", "restartCount": 1, "ready": False}
    state = {"waiting": {"reason": "CrashLoopBackOff"}} if code else {"terminated": ended}
    last = {"lastState": {"terminated": ended}} if code else {}
    phase = "Running" if code else "Succeeded"
    _patch_status(kube, _pod_of(kube, job), phase=phase, containerStatuses=[{**container, "state": state, **last}])


def test_a_job_that_is_done_is_made_again_only_when_there_is_something_else_to_do(
    kube: Kube, control_plane: Cluster
) -> None:
    create(kube, mongodb=MONGODB)
    _address(kube, "10.1.0.1")
    job = _job(kube)
    _end(kube, job, 0)
    eventually(lambda: kube.must("job", job["metadata"]["name"])["status"].get("succeeded"), "the Job is done")
    mark = audit_mark(control_plane)
    kube.run("annotate", "aia", "demo", "example.com/look=again")
    create(kube, mongodb=MONGODB, replicas=2)
    eventually(lambda: kube.must("deployment", "demo-runtime")["spec"]["replicas"] == 2, "a pass has ended")
    assert not [
        name for _, resource, name in writes(audited(control_plane, mark, kube.namespace)) if resource == "jobs"
    ]
    assert _job(kube)["metadata"]["uid"] == job["metadata"]["uid"]
    _address(kube, "10.1.0.2")
    eventually(lambda: kube.get("job", job["metadata"]["name"]) is None, "the old Job is gone")
    moved = _job(kube)["metadata"]["name"]
    assert moved != job["metadata"]["name"]
    kube.run("patch", "secret", "demo-mongodb", "--type=merge", '-p={"stringData":{"password":"another"}}')
    eventually(lambda: kube.get("job", moved) is None, "that one is gone too")
    assert _job(kube)["metadata"]["name"] != moved


def test_a_job_whose_container_fails_again_and_again_is_told(kube: Kube) -> None:
    create(kube, mongodb=MONGODB)
    _address(kube, "10.1.0.3")
    _ready(kube)
    job = _job(kube)
    _end(kube, job, 1, "MongoDB refuses the root-password of its Secret")
    told = kube.wait_for_reason("demo", "JobFailed", "MongoDBReady", timeout=SOON)
    assert f"job {job['metadata']['name']}: " in told["message"]
    assert "exited with code 1 (Error): MongoDB refuses the root-password" in told["message"]


def test_a_jobs_pod_is_none_of_the_servers(kube: Kube) -> None:
    create(kube, mongodb=MONGODB)
    _address(kube, "10.1.0.4")
    job = _job(kube)
    pod = _pod_of(kube, job)
    _end(kube, job, 0)
    _ready(kube)
    told = kube.wait_for_reason("demo", "Ready", "MongoDBReady", timeout=SOON)
    assert told["message"] == "1/1 pods are ready."
    labels = kube.must("pod", pod)["metadata"]["labels"]
    for service in kube.list("services"):
        assert not service["spec"]["selector"].items() <= labels.items()
    (endpoints,) = kube.list("endpointslices", "kubernetes.io/service-name=demo-mongodb")
    assert [address for each in endpoints["endpoints"] for address in each["addresses"]] == ["10.1.0.4"]


def test_a_job_whose_pod_the_api_server_refuses_is_reported_in_its_words(kube: Kube) -> None:
    create(kube, mongodb=MONGODB)
    eventually(lambda: kube.get("pod", POD), "the server's pod is made")
    limits = [{"type": "Container", "min": {"memory": "8Gi"}}]
    kube.apply({"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "large"}, "spec": {"limits": limits}})
    _address(kube, "10.1.0.1")
    _ready(kube)
    refused = kube.wait_for_reason("demo", "FailedCreate", "MongoDBReady", timeout=60)
    assert "minimum memory usage per Container is 8Gi" in refused["message"]
    assert refused["message"].startswith("job demo-mongodb-setup-")
