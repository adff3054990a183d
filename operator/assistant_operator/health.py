"""Whether a component serves, read from its workload and its pods: pure functions of what the watches have seen."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from assistant_operator import conditions
from assistant_operator.manifests import Object

_SCHEDULED = "PodScheduled"
_HARMLESS = {"ContainerCreating", "PodInitializing"}
"""Waiting reasons of a container that is on its way."""


@dataclass(frozen=True)
class Health:
    """One component's state: whether it serves, a condition reason, and one sentence."""

    ready: bool
    reason: str
    message: str
    replicas: int = 0
    ready_replicas: int = 0


def elsewhere() -> Health:
    """Return the health of a server that runs elsewhere, where only its users can tell how it is."""
    return Health(True, conditions.EXTERNAL, "It runs elsewhere; /ready of the runtime tells whether it answers.")


def assess(workload: Object | None, pods: Iterable[Object], *, suspended: bool) -> Health:
    """Judge a Deployment or StatefulSet.

    It serves when the controller has seen the newest template, every wanted pod runs it, and all of them are ready.
    """
    if workload is None:
        return Health(False, conditions.PROGRESSING, "It is being created.")
    spec, status = workload["spec"], workload.get("status") or {}
    wanted, exist = spec.get("replicas", 1), status.get("replicas", 0)
    ready, updated = status.get("readyReplicas", 0), status.get("updatedReplicas", 0)
    if wanted == 0:
        reason = conditions.SUSPENDED if suspended else conditions.SCALED_TO_ZERO
        message = "spec.suspend is true: no pods run." if suspended else "spec.replicas is 0: no pods run."
        return Health(False, reason, message, exist, ready)
    current = status.get("observedGeneration", 0) >= workload["metadata"].get("generation", 0)
    if current and updated >= wanted and ready >= wanted and exist <= wanted:
        return Health(True, conditions.READY, f"{ready}/{wanted} pods are ready.", exist, ready)
    reason, message = _first_problem(pods) or _refused_pod(status) or (conditions.PROGRESSING, "")
    counts = f"{ready}/{wanted} pods are ready"
    return Health(False, reason, f"{counts}: {message}" if message else f"{counts}.", exist, ready)


def _first_problem(pods: Iterable[Object]) -> tuple[str, str] | None:
    """Return reason and sentence of the first pod that needs help, None while all are on their way."""
    for pod in sorted(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp", "")), reverse=True):
        if pod["metadata"].get("deletionTimestamp"):
            continue
        status = pod.get("status") or {}
        problem = _unscheduled(status) or _container_problem(status)
        if problem:
            reason, message = problem
            return reason, f"pod {pod['metadata']['name']}: {message}"
    return None


def _refused_pod(status: dict[str, Any]) -> tuple[str, str] | None:
    """Return why the API server takes no pod of a Deployment: Pod Security, a quota, a limit range."""
    for condition in status.get("conditions") or []:
        if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
            return condition.get("reason") or "FailedCreate", condition.get("message") or "pods are refused"
    return None


def _unscheduled(status: dict[str, Any]) -> tuple[str, str] | None:
    for condition in status.get("conditions") or []:
        if condition["type"] == _SCHEDULED and condition["status"] == "False":
            return condition.get("reason") or "Unschedulable", condition.get("message") or "can't be scheduled"
    return None


def _container_problem(status: dict[str, Any]) -> tuple[str, str] | None:
    for container in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") and waiting["reason"] not in _HARMLESS:
            detail = waiting.get("message") or _last_exit(container) or "is waiting"
            return waiting["reason"], f"container {container['name']}: {detail}"
    return None


def _last_exit(container: dict[str, Any]) -> str | None:
    ended = (container.get("lastState") or {}).get("terminated") or {}
    return f"exited with code {ended['exitCode']} ({ended.get('reason', 'Error')})" if "exitCode" in ended else None
