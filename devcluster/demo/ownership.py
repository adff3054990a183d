"""What on a cluster is the demo's, and what is the user's and must stay as it is.

The demo uses the names that the documentation uses, so a user's cluster may have an operator or an assistant under the
same names. Whatever the demo makes has its label; what has the name without the label is somebody else's.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from devcluster.demo.kubernetes import Kubernetes
from devcluster.demo.targets import DEFINITION, DEMO_LABEL, DEMO_SELECTOR, NAMESPACE, RELEASE, SYSTEM_NAMESPACE, release
from devcluster.errors import DevclusterError


def mark(resource: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of an object with the demo's label."""
    metadata = dict(resource["metadata"])
    return {**resource, "metadata": {**metadata, "labels": {**metadata.get("labels", {}), DEMO_LABEL: "true"}}}


def refuse_what_is_the_users(kubernetes: Kubernetes, objects: Iterable[Mapping[str, Any]]) -> None:
    """Go on only where the demo would not overwrite what it did not make.

    Parameters
    ----------
    kubernetes
        The cluster.
    objects
        What is going to be applied to the demo's namespace.

    Raises
    ------
    DevclusterError
        There is an operator, or one of the objects, that the demo did not make; nothing was changed.
    """
    if _is_release_the_users(kubernetes):
        raise _refusal(f"release {RELEASE} in namespace {SYSTEM_NAMESPACE}")
    if _is_marked(kubernetes.get("namespace", NAMESPACE)):
        return
    for each in objects:
        found = _find(kubernetes, each)
        if found and not _is_marked(found):
            raise _refusal(f"{each['kind']} {each['metadata']['name']} in namespace {NAMESPACE}")


def _is_release_the_users(kubernetes: Kubernetes) -> bool:
    if _is_marked(kubernetes.get("namespace", SYSTEM_NAMESPACE)):
        return False
    return release(kubernetes) and not release(kubernetes, "--selector", DEMO_SELECTOR)


def _find(kubernetes: Kubernetes, wanted: Mapping[str, Any]) -> Any:
    kind = str(wanted["kind"])
    if kind == "AIAssistant":
        if not kubernetes.get("crd", DEFINITION):
            return None
        kind = DEFINITION
    return kubernetes.get(kind, str(wanted["metadata"]["name"]), "--namespace", NAMESPACE)


def _is_marked(found: Any) -> bool:
    return bool(found) and found["metadata"].get("labels", {}).get(DEMO_LABEL) == "true"


def _refusal(what: str) -> DevclusterError:
    return DevclusterError(
        f"{what} was not made by this demo, and stays as it is. Use another cluster, or "
        "run `sudo make demo` without CONTEXT, which makes one."
    )
