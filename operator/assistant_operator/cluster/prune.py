"""Deleting what is no longer desired: only what this assistant controls, and only after everything else was applied.

Volumes and generated Secrets are of no kind listed in `APPLIED`, so they can't be pruned. A StatefulSet whose volumes
are to go with the AIAssistant (`deletionPolicy: Delete`) must not take them along when it alone is turned off, so it
lets go of them first.
"""

from assistant_operator.assistant import AIAssistant
from assistant_operator.cluster.cache import Cache, Ref, ref
from assistant_operator.cluster.client import Client
from assistant_operator.cluster.kinds import APPLIED
from assistant_operator.manifests import Object


async def prune(api: Client, cache: Cache, assistant: AIAssistant, wanted: list[Object]) -> list[Ref]:
    """Delete the assistant's objects that are not wanted; return their references."""
    kept = {ref(body["kind"], body) for body in wanted}
    deleted: list[Ref] = []
    for found in cache.owned((assistant.namespace, assistant.name)):
        live = cache.get(*found) if found.kind in APPLIED and found not in kept else None
        if live is None or live["metadata"].get("deletionTimestamp") or not _controls(assistant, live):
            continue
        if found.kind == "StatefulSet" and not await _has_released_volumes(api, live):
            continue  # the status that follows wakes the next pass
        await api.delete(APPLIED[found.kind], found.namespace, found.name, live["metadata"]["uid"])
        deleted.append(found)
    return deleted


async def _has_released_volumes(api: Client, live: Object) -> bool:
    """Have a StatefulSet let go of its volumes; tell whether its controller has done so."""
    metadata, policy = live["metadata"], live["spec"].get("persistentVolumeClaimRetentionPolicy") or {}
    if policy.get("whenDeleted") == "Delete":
        retain = {"spec": {"persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain"}}}
        await api.merge(APPLIED["StatefulSet"], metadata["namespace"], metadata["name"], retain)
        return False
    observed = (live.get("status") or {}).get("observedGeneration", 0)
    return bool(observed >= metadata.get("generation", 0))


def _controls(assistant: AIAssistant, live: Object) -> bool:
    owners = live["metadata"].get("ownerReferences") or []
    return any(owner.get("controller") and owner["uid"] == assistant.metadata.uid for owner in owners)
