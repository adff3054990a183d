"""When does a component serve, and what is said of it while it does not?"""

from typing import Any

import pytest

from assistant_operator.health.trouble import Scene, Trouble
from assistant_operator.health.workload import Health, assess, failing_job, together
from assistant_operator.rooms.manifests import Object


def _workload(wanted: int = 3, /, **status: Any) -> Object:
    return {"metadata": {"generation": 2}, "spec": {"replicas": wanted}, "status": status}


def _rolled_out(count: int) -> dict[str, int]:
    return {"observedGeneration": 2, "replicas": count, "readyReplicas": count, "updatedReplicas": count}


def _pod(name: str = "demo-0", **status: Any) -> Object:
    return {"metadata": {"name": name, "creationTimestamp": "2026-01-01T00:00:00Z"}, "status": status}


def _waiting(reason: str, message: str = "", **last: Any) -> Object:
    container = {"name": "runtime", "state": {"waiting": {"reason": reason, "message": message}}}
    return _pod(containerStatuses=[{**container, "lastState": last}])


def _judge(workload: Object | None, *pods: Object, suspended: bool = False) -> Health:
    return assess(Scene(workload, pods) if workload else None, suspended=suspended)


def test_it_serves_when_every_wanted_pod_of_the_newest_template_is_ready() -> None:
    health = _judge(_workload(**_rolled_out(3)))
    assert (health.ready, health.reason, health.message) == (True, "Ready", "3/3 pods are ready.")


@pytest.mark.parametrize(
    "status",
    [
        {},
        {**_rolled_out(3), "observedGeneration": 1},
        {**_rolled_out(3), "readyReplicas": 2},
        {**_rolled_out(3), "updatedReplicas": 1},
        {**_rolled_out(3), "replicas": 4},
    ],
    ids=["nothing yet", "newest template not seen", "a pod not ready", "old pods left", "a pod too many"],
)
def test_a_rollout_under_way_is_progress(status: dict[str, int]) -> None:
    health = _judge(_workload(**status))
    assert (health.ready, health.reason) == (False, "Progressing")
    assert ("a change of them is under way" in health.message) == (status.get("readyReplicas") == 3)


def test_what_does_not_exist_yet_is_being_created() -> None:
    assert _judge(None).message == "It is not there yet."


def test_no_pods_on_purpose_is_told_apart() -> None:
    assert _judge(_workload(0, **_rolled_out(0))).reason == "ScaledToZero"
    assert _judge(_workload(0, **_rolled_out(0)), suspended=True).reason == "Suspended"


def test_it_rests_once_every_pod_has_stopped() -> None:
    health = _judge(_workload(0, **_rolled_out(2)), suspended=True)
    assert (health.reason, health.message) == ("Progressing", "2 pods are stopping.")


@pytest.mark.parametrize(
    ("pod", "reason", "message"),
    [
        (_waiting("ImagePullBackOff", "Back-off pulling image a:1"), "ImagePullBackOff", "Back-off pulling image a:1"),
        (_waiting("CreateContainerConfigError", 'secret "x" not found'), "CreateContainerConfigError", "not found"),
        (
            _waiting("CrashLoopBackOff", terminated={"exitCode": 2, "reason": "Error"}),
            "CrashLoopBackOff",
            "exited with code 2 (Error)",
        ),
        (
            _pod(
                conditions=[
                    {
                        "type": "PodScheduled",
                        "status": "False",
                        "reason": "Unschedulable",
                        "message": "0/2 nodes are available",
                    }
                ]
            ),
            "Unschedulable",
            "0/2 nodes are available",
        ),
    ],
)
def test_a_pod_in_trouble_is_named_with_what_the_cluster_says_of_it(pod: Object, reason: str, message: str) -> None:
    health = _judge(_workload(), pod)
    assert health.reason == reason
    assert health.message.startswith("0/3 pods are ready: pod demo-0: ")
    assert message in health.message


def test_a_pod_that_starts_or_goes_is_no_trouble() -> None:
    going = _waiting("CrashLoopBackOff")
    going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:01Z"
    assert _judge(_workload(), _waiting("ContainerCreating"), going).reason == "Progressing"


def test_the_newest_pod_speaks_first() -> None:
    older, newer = _waiting("CrashLoopBackOff"), _waiting("ImagePullBackOff")
    newer["metadata"]["creationTimestamp"] = "2026-01-02T00:00:00Z"
    assert _judge(_workload(), older, newer).reason == "ImagePullBackOff"


SERVES = Health(True, "Ready", "2/2 pods are ready.", 2, 2)
STARTS = Health(False, "Progressing", "0/1 pods are ready.", 1, 0)
BROKEN = Health(False, "ImagePullBackOff", "0/1 pods are ready: pod demo-0: no such image", 1, 0)


def test_several_workloads_serve_when_all_do() -> None:
    assert together({"api": SERVES, "worker": SERVES}) == Health(True, "Ready", "4/4 pods are ready.", 4, 4)


def test_of_several_workloads_the_first_problem_is_told_before_what_is_under_way() -> None:
    health = together({"api": SERVES, "browser": STARTS, "worker": BROKEN})
    assert health == Health(False, BROKEN.reason, f"worker: {BROKEN.message}", 4, 2)


@pytest.mark.parametrize("health", [SERVES, STARTS, BROKEN])
def test_a_single_workload_speaks_for_itself(health: Health) -> None:
    assert together({"redis": health}) == health


def test_a_failing_job_counts_unless_the_pods_are_in_trouble_themselves() -> None:
    failing = [Trouble("JobFailed", "job demo-redis-form: it failed")]
    for calm in (SERVES, STARTS):
        assert failing_job(calm, failing) == Health(False, "JobFailed", failing[0].message, *_counts(calm))
    assert failing_job(BROKEN, failing) == BROKEN
    assert failing_job(SERVES, []) == SERVES


def _counts(health: Health) -> tuple[int, int]:
    return health.replicas, health.ready_replicas
