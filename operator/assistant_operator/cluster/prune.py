"""Deleting what is no longer desired: only what this assistant controls, and only after everything else was applied.

Volumes and generated Secrets are of no kind listed in `APPLIED`, so they can't be pruned.
"""

from assistant_operator.cluster.cache import Cache, Ref, ref
from assistant_operator.cluster.client import Client
from assistant_operator.kinds import APPLIED
from assistant_operator.rooms.manifests import Object
from assistant_operator.spec.assistant import AIAssistant


async def prune(api: Client, cache: Cache, assistant: AIAssistant, wanted: list[Object]) -> list[Ref]:
    """Delete the assistant's objects that are not wanted; return their references."""
    kept = {ref(body["kind"], body) for body in wanted}
    deleted: list[Ref] = []
    for found in cache.owned((assistant.namespace, assistant.name)):
        live = cache.get(*found) if found.kind in APPLIED and found not in kept else None
        if live is None or live["metadata"].get("deletionTimestamp") or not _controls(assistant, live):
            continue
        await api.delete(APPLIED[found.kind], found.namespace, found.name, live["metadata"]["uid"])
        deleted.append(found)
    return deleted


def _controls(assistant: AIAssistant, live: Object) -> bool:
    owners = live["metadata"].get("ownerReferences") or []
    return any(owner.get("controller") and owner["uid"] == assistant.metadata.uid for owner in owners)
