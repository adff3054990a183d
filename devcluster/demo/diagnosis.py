"""When something does not come up: what its pods, events and logs say, and which command to look with next."""

from typing import Any

from devcluster.demo.kubernetes import Kubernetes
from devcluster.errors import DevclusterError

LAST_EVENTS = 6
LAST_LOG_LINES = 12


def of_pods(kubernetes: Kubernetes, namespace: str, selector: str, problem: DevclusterError) -> DevclusterError:
    """Return an error with the problem and all that is known about the pods behind it.

    Parameters
    ----------
    kubernetes
        The cluster.
    namespace, selector
        Where the pods are, and the labels that pick them.
    problem
        What failed.
    """
    found = kubernetes.items("pods", "--namespace", namespace, "--selector", selector)
    pods = [pod for pod in found if not _is_ready(pod)]
    parts = [str(problem)]
    parts += [_section(kubernetes, namespace, pod) for pod in pods[:2]]
    look = f"kubectl -n {namespace} describe pods -l {selector}"
    events = f"kubectl -n {namespace} get events --sort-by=.lastTimestamp"
    commands = "\n".join(f"  {each}" for each in (kubernetes.shell_setup, look, events))
    parts.append(f"Look further with:\n{commands}\nThen try again: make demo goes on from here.")
    return DevclusterError("\n\n".join(parts))


def _is_ready(pod: dict[str, Any]) -> bool:
    conditions = pod.get("status", {}).get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def _section(kubernetes: Kubernetes, namespace: str, pod: dict[str, Any]) -> str:
    name = pod["metadata"]["name"]
    lines = [f"Pod {name} ({pod['status'].get('phase')}):"]
    lines += [f"  {text}" for text in _states(pod)]
    lines += [f"  event: {text}" for text in _events(kubernetes, namespace, name)]
    lines += [f"  log: {text}" for text in _log(kubernetes, namespace, name)]
    return "\n".join(lines)


def _states(pod: dict[str, Any]) -> list[str]:
    """Return what the kubelet says about containers that don't run, and the scheduler about a pod without node."""
    found = []
    for status in pod["status"].get("containerStatuses", []):
        for state in (status.get("state", {}), status.get("lastState", {})):
            for detail in (state.get("waiting"), state.get("terminated")):
                if detail:
                    code = f" (exit code {detail['exitCode']})" if "exitCode" in detail else ""
                    found.append(f"{status['name']}: {detail.get('reason')}{code} {detail.get('message', '')}".rstrip())
    scheduled = [each for each in pod["status"].get("conditions", []) if each["type"] == "PodScheduled"]
    return found + [f"not scheduled: {each.get('message')}" for each in scheduled if each["status"] != "True"]


def _events(kubernetes: Kubernetes, namespace: str, pod: str) -> list[str]:
    selector = f"involvedObject.name={pod},type=Warning"
    found = kubernetes.items("events", "--namespace", namespace, "--field-selector", selector)
    events = sorted(found, key=lambda event: event.get("lastTimestamp") or event.get("eventTime") or "")
    return [f"{event.get('reason')}: {event.get('message')}" for event in events[-LAST_EVENTS:]]


def _log(kubernetes: Kubernetes, namespace: str, pod: str) -> list[str]:
    """Return the end of the pod's log; a container that never ran has none."""
    try:
        text = kubernetes.kubectl("--namespace", namespace, "logs", pod, "--all-containers", f"--tail={LAST_LOG_LINES}")
    except DevclusterError:
        return []
    return text.splitlines()
