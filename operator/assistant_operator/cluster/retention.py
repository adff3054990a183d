"""What goes with an AIAssistant: it owns its volumes and its generated Secrets while `deletionPolicy` is Delete.

All of them, also those of components that are turned off or run elsewhere by now: nothing renders these any more, and
data and password belong together. With Retain nobody owns them, and the successor of the same name finds them all.

It comes first in a pass, so that what is to be kept or deleted never depends on anything else being well
(docs/decisions/20261126-owners-of-volumes.md).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from assistant_operator import conditions
from assistant_operator.cluster.cache import Cache, Ref, ref
from assistant_operator.cluster.client import ApiError, Client
from assistant_operator.cluster.confirmation import Confirmation
from assistant_operator.errors import WaitingError
from assistant_operator.kinds import CLAIM, SECRET, Kind
from assistant_operator.labels import KIND
from assistant_operator.rooms.manifests import Object, owner_reference
from assistant_operator.spec.assistant import AIAssistant

_OVERTAKEN = (HTTPStatus.CONFLICT, HTTPStatus.NOT_FOUND)
"""Answers where somebody else was first; what they did wakes the next pass."""
_REFUSALS = (HTTPStatus.FORBIDDEN, HTTPStatus.UNPROCESSABLE_ENTITY)


@dataclass(frozen=True)
class Retained:
    """What came of it: the objects that were written, and why none was where the API server refuses one."""

    written: Sequence[Ref] = ()
    refusal: str | None = None


@dataclass(frozen=True)
class _Change:
    kind: Kind
    body: Object
    patch: Object


async def keep_owners(api: Client, cache: Cache, assistant: AIAssistant, confirmation: Confirmation) -> Retained:
    """Have the assistant own all that goes with it, and nothing else.

    Passwords and volumes share one fate: where the API server refuses to change the owners of one of them
    (OwnerReferencesPermissionEnforcement asks for the right to delete it), those of all stay as they are.

    Raises
    ------
    GoneError
        There is something to own, and the AIAssistant is gone.
    WaitingError
        A predecessor's volume or Secret is still being deleted. A pod that used it now would lose what it writes.
    """
    changes = list(_changes(cache, assistant))
    for change in changes:
        refusal = await _refusal(api, assistant, change)
        if refusal:
            return Retained(refusal=refusal)
    written: list[Ref] = []
    for change in changes:
        if assistant.spec.deletion_policy == "Delete":
            await confirmation.before_adoption()
        try:
            name = change.body["metadata"]["name"]
            cache.put(change.kind.kind, await api.merge(change.kind, assistant.namespace, name, change.patch))
        except ApiError as error:
            if error.status not in _OVERTAKEN:
                raise
            continue
        written.append(ref(change.kind.kind, change.body))
    return Retained(written)


def _changes(cache: Cache, assistant: AIAssistant) -> Iterator[_Change]:
    for kind in (CLAIM, SECRET):
        for body in cache.all(kind.kind, (assistant.namespace, assistant.name)):
            metadata = body["metadata"]
            before: list[Object] = metadata.get("ownerReferences") or []
            if any(owner["kind"] == KIND and owner["uid"] != assistant.metadata.uid for owner in before):
                message = f"{kind.kind} {metadata['name']} of the AIAssistant's predecessor is still being deleted."
                raise WaitingError(conditions.TERMINATING, message)
            owners = _owners(before, assistant)
            if owners != before and not metadata.get("deletionTimestamp"):
                patch = {"metadata": {"resourceVersion": metadata["resourceVersion"], "ownerReferences": owners}}
                yield _Change(kind, body, patch)


async def _refusal(api: Client, assistant: AIAssistant, change: _Change) -> str | None:
    """Return why the API server would refuse a change, None where it would not."""
    name = change.body["metadata"]["name"]
    try:
        await api.merge(change.kind, assistant.namespace, name, change.patch, dry_run=True)
    except ApiError as error:
        if error.status in _OVERTAKEN:
            return None
        if error.status not in _REFUSALS or error.namespace_terminating:
            raise
        return f"{change.kind.kind} {name}: {error.message.rstrip('.')}."
    return None


def _owners(before: list[Object], assistant: AIAssistant) -> list[Object]:
    """Return the owners that a volume claim or Secret should have."""
    if assistant.spec.deletion_policy == "Retain":
        return [owner for owner in before if owner["kind"] != KIND]
    return before if any(owner["kind"] == KIND for owner in before) else [*before, owner_reference(assistant)]
