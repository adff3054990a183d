"""What goes with an AIAssistant: it owns its volumes and its generated Secrets while `deletionPolicy` is Delete.

All of them, also those of components that are turned off or run elsewhere by now: nothing renders these any more, and
data and password belong together. With Retain it owns none, and its successor of the same name finds them all.
"""

from http import HTTPStatus

from assistant_operator.assistant import AIAssistant
from assistant_operator.cluster.cache import Cache, Ref, ref
from assistant_operator.cluster.client import ApiError, Client
from assistant_operator.cluster.confirmation import Confirmation
from assistant_operator.cluster.kinds import CLAIM, SECRET
from assistant_operator.labels import KIND
from assistant_operator.manifests import Object, owner_reference

_OVERTAKEN = (HTTPStatus.CONFLICT, HTTPStatus.NOT_FOUND)
"""Answers where somebody else was first; what they did wakes the next pass."""


async def ensure(api: Client, cache: Cache, assistant: AIAssistant, confirmation: Confirmation) -> list[Ref]:
    """Have the assistant own what goes with it, and nothing else; return what was written.

    Raises
    ------
    GoneError
        There is something to own, and the AIAssistant is gone.
    """
    written: list[Ref] = []
    for kind in (CLAIM, SECRET):
        for body in cache.all(kind.kind, (assistant.namespace, assistant.name)):
            metadata = body["metadata"]
            owners = _owners(body, assistant)
            if owners == (metadata.get("ownerReferences") or []) or metadata.get("deletionTimestamp"):
                continue
            if assistant.spec.deletion_policy == "Delete":
                await confirmation.before_adoption()
            # Volume claims have a second writer, the StatefulSet controller: its owners must not be overwritten.
            patch = {"metadata": {"resourceVersion": metadata["resourceVersion"], "ownerReferences": owners}}
            try:
                cache.put(kind.kind, await api.merge(kind, assistant.namespace, metadata["name"], patch))
            except ApiError as error:
                if error.status not in _OVERTAKEN:
                    raise
                continue
            written.append(ref(kind.kind, body))
    return written


def _owners(body: Object, assistant: AIAssistant) -> list[Object]:
    """Return the owners that a volume claim or Secret should have; a predecessor's goes with the predecessor."""
    owners: list[Object] = body["metadata"].get("ownerReferences") or []
    if any(owner["kind"] == KIND and owner["uid"] != assistant.metadata.uid for owner in owners):
        return owners
    owned = any(owner["uid"] == assistant.metadata.uid for owner in owners)
    if assistant.spec.deletion_policy == "Retain":
        return [owner for owner in owners if owner["uid"] != assistant.metadata.uid] if owned else owners
    # Not as its controller, which of a volume claim is the StatefulSet.
    return owners if owned else [*owners, {**owner_reference(assistant), "controller": False}]
