"""Ask the assistant, as an application in the cluster would: from a pod, through the Service, with the client's key."""

import time
from typing import Any

from rich.console import Console

from devcluster.demo.kubernetes import Kubernetes
from devcluster.errors import DevclusterError

START_SECONDS = 60.0
"""For a small pod whose image is on the node already."""

POLL_SECONDS = 0.2


def ask(kubernetes: Kubernetes, namespace: str, assistant: str, question: str, *, image: str, console: Console) -> None:
    """Ask, and print the answer as it streams in.

    Raises
    ------
    DevclusterError
        The pod did not run, or the assistant gave no answer; the pod's own output has been printed.
    """
    url = f"http://{assistant}.{namespace}.svc/v1"
    console.print(f"\nAsking {url} from a pod: {question}\n", markup=False)
    manifest = _pod(assistant, image, ["chat", "--base-url", url, "--api-key-env", "API_KEY", question])
    pod = kubernetes.create(namespace, manifest)
    try:
        _wait_until_started(kubernetes, namespace, pod)
        kubernetes.follow_logs(namespace, pod)
        code = _exit_code(kubernetes, namespace, pod)
    finally:
        kubernetes.kubectl("--namespace", namespace, "delete", "pod", pod, "--wait=false", "--ignore-not-found")
    if code != 0:
        raise DevclusterError(
            f"the assistant gave no answer (exit code {code}). Look at what it says:\n"
            f"  kubectl -n {namespace} logs -l app.kubernetes.io/instance={assistant},app.kubernetes.io/name=runtime"
        )


def _pod(assistant: str, image: str, arguments: list[str]) -> dict[str, Any]:
    """Return a pod that meets the restricted Pod Security Standard and runs the runtime's own client once."""
    key = {"secretKeyRef": {"name": f"{assistant}-api-keys", "key": "api-key"}}
    container = {
        "name": "question",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "args": arguments,
        "env": [{"name": "API_KEY", "valueFrom": key}],
        "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"generateName": f"{assistant}-question-", "labels": {"app.kubernetes.io/name": "question"}},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [container],
        },
    }


def _wait_until_started(kubernetes: Kubernetes, namespace: str, pod: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while (status := _status(kubernetes, namespace, pod)).get("phase") == "Pending":
        if time.monotonic() > deadline:
            waiting = [each.get("state", {}).get("waiting", {}) for each in status.get("containerStatuses", [])]
            raise DevclusterError(f"pod {pod} did not start within {START_SECONDS:.0f} s: {waiting}")
        time.sleep(POLL_SECONDS)


def _exit_code(kubernetes: Kubernetes, namespace: str, pod: str) -> int:
    """Return the exit code; the log ends a moment before the API server knows it."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        for status in _status(kubernetes, namespace, pod).get("containerStatuses", []):
            if terminated := status.get("state", {}).get("terminated"):
                return int(terminated["exitCode"])
        time.sleep(POLL_SECONDS)
    raise DevclusterError(f"pod {pod} did not end; its log did")


def _status(kubernetes: Kubernetes, namespace: str, pod: str) -> dict[str, Any]:
    found = kubernetes.get("pod", pod, "--namespace", namespace)
    if found is None:
        raise DevclusterError(f"pod {pod}, which asks the question, was deleted by somebody else: run it again")
    status: dict[str, Any] = found["status"]
    return status
