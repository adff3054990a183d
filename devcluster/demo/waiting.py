"""Wait for Deployments and for the AIAssistant, and show how they come up; give up when they plainly won't."""

import time
from typing import Any

from devcluster.demo import diagnosis
from devcluster.demo.checklist import Checklist, Row
from devcluster.demo.kubernetes import Kubernetes
from devcluster.demo.targets import DEFINITION, RELEASE, SYSTEM_NAMESPACE
from devcluster.errors import DevclusterError

POLL_SECONDS = 0.5

TIMEOUT_SECONDS = 300.0
"""Images may have to be pulled, and two cores shared by everything."""

DEPLOYMENT_SECONDS = 180.0
"""For one pod, whose image may have to be pulled."""

HOPELESS_RESTARTS = 3
"""A container that crashed so often is not waiting for anything that starts beside it."""

OPERATOR_SECONDS = 60.0
"""Until the operator has written the first status, which takes it well under a second when it works."""

READY = "Ready"


def wait_for_deployment(kubernetes: Kubernetes, namespace: str, name: str, checklist: Checklist) -> None:
    """Wait until every pod of a Deployment is of its newest version and available.

    Raises
    ------
    DevclusterError
        Its pods crash, or time ran out; with what pods, events and logs say.
    """
    deadline = time.monotonic() + DEPLOYMENT_SECONDS
    deployment = kubernetes.get("deployment", name, "--namespace", namespace)
    labels = deployment["spec"]["selector"]["matchLabels"]
    selector = ",".join(f"{key}={value}" for key, value in labels.items())
    _delete_crashed(kubernetes, namespace, selector)
    while not _is_rolled_out(deployment):
        pods = _pods(kubernetes, namespace, selector)
        if any(_is_hopeless(pod) for pod in pods):
            problem = DevclusterError(f"Deployment {name} does not come up: its container ends again and again")
            raise diagnosis.of_pods(kubernetes, namespace, selector, problem)
        if time.monotonic() > deadline:
            problem = DevclusterError(f"Deployment {name} was not available within {DEPLOYMENT_SECONDS:.0f} s")
            raise diagnosis.of_pods(kubernetes, namespace, selector, problem)
        checklist.note(", ".join(sorted(filter(None, map(_waiting_reason, pods)))))
        time.sleep(POLL_SECONDS)
        deployment = kubernetes.get("deployment", name, "--namespace", namespace)


def _pods(kubernetes: Kubernetes, namespace: str, selector: str) -> list[dict[str, Any]]:
    """Return the pods that are not on their way out."""
    found = kubernetes.items("pods", "--namespace", namespace, "--selector", selector)
    return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]


def _delete_crashed(kubernetes: Kubernetes, namespace: str, selector: str) -> None:
    """Delete pods that gave up in an earlier run: the next try need not wait until their back-off ends."""
    for pod in _pods(kubernetes, namespace, selector):
        if _is_hopeless(pod):
            kubernetes.kubectl("--namespace", namespace, "delete", "pod", pod["metadata"]["name"], "--wait=false")


def _is_rolled_out(deployment: dict[str, Any]) -> bool:
    status, wanted = deployment.get("status", {}), deployment["spec"]["replicas"]
    counts = (status.get(count, 0) for count in ("replicas", "updatedReplicas", "availableReplicas"))
    observed = status.get("observedGeneration") == deployment["metadata"]["generation"]
    return observed and all(count == wanted for count in counts)


def _is_hopeless(pod: dict[str, Any]) -> bool:
    """Tell whether a container crashed often and is not up now."""
    statuses = pod["status"].get("containerStatuses", [])
    return any(not status["ready"] and status["restartCount"] >= HOPELESS_RESTARTS for status in statuses)


def _waiting_reason(pod: dict[str, Any]) -> str:
    """Return why a container does not run, such as ErrImagePull."""
    for status in pod["status"].get("containerStatuses", []):
        if waiting := status.get("state", {}).get("waiting"):
            return str(waiting.get("reason", ""))
    return ""


def wait_for_assistant(kubernetes: Kubernetes, namespace: str, name: str, checklist: Checklist) -> None:
    """Wait until the assistant is Ready, with a row for each component.

    Raises
    ------
    DevclusterError
        It stalled, or time ran out; with what its conditions, pods and events say.
    """
    started = time.monotonic()
    rows: dict[str, Row] = {}
    while True:
        conditions = _conditions(kubernetes, namespace, name)
        _show(conditions, rows, checklist)
        if _is_true(conditions, READY):
            return
        waited = time.monotonic() - started
        if _is_true(conditions, "Stalled") or waited > (TIMEOUT_SECONDS if conditions else OPERATOR_SECONDS):
            for row in rows.values():
                if row.succeeded is None:
                    checklist.end(row, succeeded=False)
            raise _failure(kubernetes, namespace, name, conditions, waited)
        time.sleep(POLL_SECONDS)


def _conditions(kubernetes: Kubernetes, namespace: str, name: str) -> dict[str, dict[str, Any]]:
    """Return the conditions by type; none while the status describes an older spec."""
    found = kubernetes.get(DEFINITION, name, "--namespace", namespace)
    status = (found or {}).get("status", {})
    if not found or status.get("observedGeneration") != found["metadata"]["generation"]:
        return {}
    return {condition["type"]: condition for condition in status.get("conditions", [])}


def _is_true(conditions: dict[str, dict[str, Any]], kind: str) -> bool:
    return conditions.get(kind, {}).get("status") == "True"


def _show(conditions: dict[str, dict[str, Any]], rows: dict[str, Row], checklist: Checklist) -> None:
    """Keep one row for each component, over once it is ready."""
    for kind, condition in conditions.items():
        if kind == READY or not kind.endswith(READY):
            continue
        if kind not in rows:
            rows[kind] = checklist.add(kind.removesuffix(READY))
        row = rows[kind]
        if row.succeeded is None:
            checklist.describe(row, condition["message"])
            if condition["status"] == "True":
                checklist.end(row)


def _failure(
    kubernetes: Kubernetes, namespace: str, name: str, conditions: dict[str, dict[str, Any]], waited: float
) -> DevclusterError:
    if not conditions:
        problem = f"the operator wrote no status of AIAssistant {name} within {waited:.0f} s"
        selector = f"app.kubernetes.io/instance={RELEASE}"
        return diagnosis.of_pods(kubernetes, SYSTEM_NAMESPACE, selector, DevclusterError(problem))
    ready = conditions.get(READY, {})
    problem = f"AIAssistant {name} is not Ready after {waited:.0f} s: {ready.get('reason')}: {ready.get('message')}"
    selector = f"app.kubernetes.io/instance={name}"
    return diagnosis.of_pods(kubernetes, namespace, selector, DevclusterError(problem))
