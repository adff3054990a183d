"""What is said of pods, volume claims and Jobs in trouble, and what is asked to find it out?"""

from typing import Any

import pytest

from assistant_operator.health.trouble import Scene, first, job_trouble, questions
from assistant_operator.rooms.manifests import Object

NOON = "2026-01-01T12:00:00Z"
UNREADY = {"type": "Ready", "status": "False", "lastTransitionTime": NOON}


def _workload(wanted: int = 1, **status: Any) -> Object:
    return {"metadata": {"uid": "workload"}, "spec": {"replicas": wanted}, "status": status}


def _pod(*containers: Object, **status: Any) -> Object:
    metadata = {"name": "demo-0", "uid": "pod", "creationTimestamp": NOON}
    return {"metadata": metadata, "status": {"conditions": [UNREADY], "containerStatuses": [*containers], **status}}


def _container(**state: Any) -> Object:
    return {"name": "redis", "ready": False, "state": {"running": {}}, **state}


def _ended(code: int = 1, reason: str = "Error", message: str = "", at: str = "2026-01-01T12:00:01Z") -> Object:
    return {"terminated": {"exitCode": code, "reason": reason, "message": message, "finishedAt": at}}


def _event(reason: str, note: str, count: int = 1, at: str = "2026-01-01T12:00:05Z", kind: str = "Warning") -> Object:
    return {"type": kind, "reason": reason, "note": note, "deprecatedCount": count, "deprecatedLastTimestamp": at}


def _claim(phase: str) -> Object:
    return {"metadata": {"name": "data-demo-0", "uid": "claim"}, "status": {"phase": phase}}


def _first(*pods: Object, **told: list[Object]) -> tuple[str, str]:
    found = first(Scene(_workload(len(pods)), pods, events=told))
    return (found.reason, found.message) if found else ("", "")


def test_a_crash_is_told_with_its_last_lines() -> None:
    waiting = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}}
    pod = _pod(_container(state=waiting, lastState=_ended(message="starting\nFatal: bad directive\n")))
    found = first(Scene(_workload(), [pod]))
    assert found is not None
    assert (found.reason, found.quotes) == ("CrashLoopBackOff", True)
    assert found.message == "pod demo-0: container redis: exited with code 1 (Error): starting\nFatal: bad directive"


def test_of_long_output_the_end_is_told() -> None:
    _, message = _first(_pod(_container(state=_ended(message="x" * 5000 + "the end"))))
    assert message.endswith("xthe end")
    assert len(message) < 800


def test_a_crash_is_told_at_once_and_while_the_container_starts_again() -> None:
    for states in ({"state": _ended()}, {"lastState": _ended()}):
        assert _first(_pod(_container(**states)))[0] == "Crashed"


def test_running_out_of_memory_is_the_reason_whatever_state_follows() -> None:
    waiting = {"waiting": {"reason": "CrashLoopBackOff"}}
    for states in ({"state": _ended(137, "OOMKilled")}, {"state": waiting, "lastState": _ended(137, "OOMKilled")}):
        assert _first(_pod(_container(**states)))[0] == "OOMKilled"


def test_a_crash_of_long_ago_is_not_why_a_pod_is_not_ready_now() -> None:
    assert _first(_pod(_container(lastState=_ended(at="2026-01-01T08:00:00Z")))) == ("", "")


def test_an_init_container_that_fails_is_named() -> None:
    waits = _container(name="redis", state={"waiting": {"reason": "PodInitializing"}})
    pod = _pod(waits, initContainerStatuses=[_container(name="prepare", state=_ended(2, message="no space"))])
    assert _first(pod) == ("Crashed", "pod demo-0: container prepare: exited with code 2 (Error): no space")


def test_a_failing_probe_is_told_by_events_once_it_failed_twice() -> None:
    pod = _pod(_container())
    assert questions(Scene(_workload(), [pod])) == ["pod"]
    note = "Readiness probe failed: connection refused"
    assert _first(pod, pod=[_event("Unhealthy", note)]) == ("", "")
    assert _first(pod, pod=[_event("Unhealthy", note, count=2)]) == ("Unhealthy", f"pod demo-0: {note}")


def test_a_server_that_is_starting_may_fail_its_startup_probe() -> None:
    events = [_event("Unhealthy", "Startup probe failed: loading", count=9)]
    assert _first(_pod(_container()), pod=events) == ("Progressing", "pod demo-0: Startup probe failed: loading")


def test_what_killed_a_container_is_told_by_its_liveness_probe() -> None:
    pod = _pod(_container(lastState=_ended(137)))
    assert questions(Scene(_workload(), [pod])) == ["pod"]
    note = "Liveness probe failed: timeout"
    assert _first(pod, pod=[_event("Unhealthy", note, count=3)])[0] == "Unhealthy"
    assert _first(pod)[0] == "Crashed"


def test_a_volume_that_can_not_be_mounted_is_told_by_events() -> None:
    waits = _container(state={"waiting": {"reason": "ContainerCreating"}})
    events = [_event("FailedMount", 'secret "tls" not found'), _event("Pulled", "present", kind="Normal")]
    assert _first(_pod(waits), pod=events) == ("FailedMount", 'pod demo-0: secret "tls" not found')


def test_warnings_of_the_time_when_the_pod_was_ready_are_over() -> None:
    events = [_event("Unhealthy", "Readiness probe failed", count=9, at="2026-01-01T11:00:00Z")]
    assert _first(_pod(_container()), pod=events) == ("", "")


def test_a_ready_pod_is_asked_nothing() -> None:
    ready = _pod(_container(ready=True), conditions=[{"type": "Ready", "status": "True"}])
    assert questions(Scene(_workload(), [ready], [_claim("Bound")])) == []


def test_what_its_status_says_is_asked_for_nowhere() -> None:
    pulls = _container(state={"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}})
    assert questions(Scene(_workload(), [_pod(pulls)])) == []


def test_a_pending_claim_is_told_with_its_reason_before_the_pod_that_waits_for_it() -> None:
    unscheduled = _pod(conditions=[{"type": "PodScheduled", "status": "False", "message": "unbound claims"}])
    scene = Scene(_workload(), [unscheduled], [_claim("Pending")])
    assert questions(scene) == ["claim"]
    told = {"claim": [_event("ProvisioningFailed", 'storageclass "fast" not found')]}
    found = first(Scene(_workload(), [unscheduled], [_claim("Pending")], told))
    assert found is not None
    assert found[:2] == (
        "VolumePending",
        'volume claim data-demo-0 is pending: storageclass "fast" not found',
    )


@pytest.mark.parametrize("reason", ["WaitForFirstConsumer", "WaitForPodScheduled"])
def test_a_claim_that_waits_for_its_pod_is_on_its_way(reason: str) -> None:
    told = {"claim": [_event(reason, "waiting for pod demo-0 to be scheduled", kind="Normal")]}
    assert first(Scene(_workload(), [_pod()], [_claim("Pending")], told)) is None


def test_a_lost_volume_is_told() -> None:
    found = first(Scene(_workload(), [_pod()], [_claim("Lost")]))
    assert found is not None
    assert found.message == "volume claim data-demo-0 has lost its volume"


def test_pods_that_a_stateful_set_may_not_make_are_told_by_events() -> None:
    assert questions(Scene(_workload())) == ["workload"]
    told = {"workload": [_event("FailedCreate", "exceeded quota: pods")]}
    found = first(Scene(_workload(), events=told))
    assert found is not None
    assert found[:2] == ("FailedCreate", "exceeded quota: pods")
    later = _pod(_container())
    later["metadata"]["creationTimestamp"] = "2026-01-01T13:00:00Z"
    assert first(Scene(_workload(2), [later], events=told)) is None, "a pod that came after that shows that it is over"


def _job(**status: Any) -> Object:
    return {"metadata": {"name": "demo-redis-form"}, "status": status}


def test_a_job_counts_only_while_it_fails() -> None:
    done = {"conditions": [{"type": "Complete", "status": "True"}], "failed": 1}
    for calm in ({}, {"active": 1}, done):
        assert job_trouble(_job(**calm), [], {}) is None
    assert job_trouble(_job(**done), [_pod(_container(state=_ended()))], {}) is None


# The last: a container that failed is started again in the same pod, which the Job's status does not count.
@pytest.mark.parametrize(
    "status", [{"failed": 1}, {"conditions": [{"type": "Failed", "status": "True"}]}, {"active": 1, "ready": 0}]
)
def test_a_failing_job_is_told_with_its_pods_output(status: Object) -> None:
    found = job_trouble(_job(**status), [_pod(_container(state=_ended(message="no route")))], {})
    assert found is not None
    assert found.reason == "JobFailed"
    expected = "job demo-redis-form: pod demo-0: container redis: exited with code 1 (Error): no route"
    assert found.message == expected


def test_a_failed_job_without_a_pod_is_told_in_kubernetes_words() -> None:
    failed = {"type": "Failed", "status": "True", "message": "Job has reached the specified backoff limit"}
    found = job_trouble(_job(conditions=[failed]), [], {})
    assert found is not None
    assert found.message == "job demo-redis-form: Job has reached the specified backoff limit"
