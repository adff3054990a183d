"""What goes with an AIAssistant: it owns its volumes and its generated Secrets while `deletionPolicy` is Delete.

All of them, also those of components that are turned off or run elsewhere by now: nothing renders these any more, and
data and password belong together. With Retain nobody owns them, and the successor of the same name finds them all.

It comes first in a pass, so that what is to be kept or deleted never depends on anything else being well
(docs/decisions/20261126-owners-of-volumes.md).
"""

from http import HTTPStatus

from assistant_operator import conditions
from assistant_operator.assistant import AIAssistant
from assistant_operator.cluster.cache import Cache, Ref, ref
from assistant_operator.cluster.client import ApiError, Client
from assistant_operator.cluster.confirmation import Confirmation
from assistant_operator.cluster.kinds import CLAIM, SECRET
from assistant_operator.errors import WaitingError
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
    WaitingError
        A predecessor's volume or Secret is still being deleted. A pod that used it now would lose what it writes.
    """
    written: list[Ref] = []
    for kind in (CLAIM, SECRET):
        for body in cache.all(kind.kind, (assistant.namespace, assistant.name)):
            metadata = body["metadata"]
            before: list[Object] = metadata.get("ownerReferences") or []
            if any(owner["kind"] == KIND and owner["uid"] != assistant.metadata.uid for owner in before):
                message = f"{kind.kind} {metadata['name']} of the AIAssistant's predecessor is still being deleted."
                raise WaitingError(conditions.TERMINATING, message)
            owners = _owners(before, assistant)
            if owners == before or metadata.get("deletionTimestamp"):
                continue
            if assistant.spec.deletion_policy == "Delete":
                await confirmation.before_adoption()
            patch = {"metadata": {"resourceVersion": metadata["resourceVersion"], "ownerReferences": owners}}
            try:
                cache.put(kind.kind, await api.merge(kind, assistant.namespace, metadata["name"], patch))
            except ApiError as error:
                if error.status not in _OVERTAKEN:
                    raise
                continue
            written.append(ref(kind.kind, body))
    return written


def _owners(before: list[Object], assistant: AIAssistant) -> list[Object]:
    """Return the owners that a volume claim or Secret should have."""
    if assistant.spec.deletion_policy == "Retain":
        return [owner for owner in before if owner["kind"] != KIND]
    return before if any(owner["kind"] == KIND for owner in before) else [*before, owner_reference(assistant)]
