"""Pods that stand in the way of their own repair.

A StatefulSet's controller replaces a pod only once it is ready, unless its pods are managed in parallel. One that a
wrong spec keeps from that (an image that does not exist, more memory than any node has) would stay for ever, also after
the spec is mended; so it is deleted here:
https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/#forced-rollback
"""

from collections.abc import Iterator

from assistant_operator import labels
from assistant_operator.cluster.cache import Cache, Ref, ref
from assistant_operator.cluster.client import Client
from assistant_operator.health.trouble import ready
from assistant_operator.kinds import POD
from assistant_operator.rooms.manifests import Object
from assistant_operator.spec.assistant import AIAssistant


async def restart_stuck_pods(api: Client, cache: Cache, assistant: AIAssistant) -> list[Ref]:
    """Delete the pods that are neither ready nor of the newest template; return their references."""
    deleted: list[Ref] = []
    for live in cache.all("StatefulSet", (assistant.namespace, assistant.name)):
        for pod in _outdated(cache, assistant, live):
            metadata = pod["metadata"]
            await api.delete(POD, metadata["namespace"], metadata["name"], metadata["uid"])
            deleted.append(ref(POD.kind, pod))
    return deleted


def _outdated(cache: Cache, assistant: AIAssistant, live: Object) -> Iterator[Object]:
    """Yield the pods for whose readiness the controller waits in vain, once it has seen the newest template."""
    metadata, status = live["metadata"], live.get("status") or {}
    newest, seen = status.get("updateRevision"), status.get("observedGeneration", 0) >= metadata.get("generation", 0)
    # Of a cluster's pods none may be ready for a moment, and deleting all at once would make that worse.
    if not newest or not seen or live["spec"].get("podManagementPolicy") == "Parallel":
        return
    for pod in cache.pods((assistant.namespace, assistant.name), metadata["labels"][labels.NAME]):
        revision = pod["metadata"]["labels"].get(labels.REVISION, newest)
        if revision != newest and not ready(pod) and not pod["metadata"].get("deletionTimestamp"):
            yield pod
