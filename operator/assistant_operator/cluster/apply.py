"""Making one object so: recognise that nothing is to do, refuse what is not ours, else server-side apply.

An object carries the hash of what was last applied. Where that hash is the wanted one and every wanted field still has
its value, there is nothing to do: this holds over operator restarts, and costs no request.
"""

import hashlib
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import orjson

from assistant_operator import conditions, labels
from assistant_operator.cluster.cache import Cache, owner_key
from assistant_operator.cluster.client import ApiError, Client
from assistant_operator.cluster.confirmation import Confirmation
from assistant_operator.cluster.digests import same_text
from assistant_operator.errors import ReconcileError, StalledError, TransientError, WaitingError
from assistant_operator.kinds import APPLIED, Kind
from assistant_operator.rooms.manifests import Object
from assistant_operator.spec.assistant import AIAssistant
from assistant_operator.spec.values import quantity

_MALFORMED = "failed to create typed patch object"
"""What the API server says, with status 500, of an object that does not have its kind's form."""
_DENIED = re.compile("denied (the )?request")
"""What the API server says where an admission webhook or a ValidatingAdmissionPolicy refuses an object."""
_QUANTITIES = {"requests", "limits", "capacity"}
_WHOLE = {"selector", "matchLabels", "rules", "tls"}
"""Fields that Kubernetes sets as a whole (atomic): what another writer adds changes what the rest means."""
_ENTRY_KEYS = ("uid", "mountPath", "containerPort", "name", "port", "topologyKey", "host")
"""Keys by which list entries are found again in the live object, in the order tried."""


def stamped(wanted: Object) -> Object:
    """Return the object with the hash of its own content as an annotation."""
    digest = hashlib.sha256(orjson.dumps(wanted, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]
    metadata = wanted["metadata"]
    annotations = {**metadata.get("annotations", {}), labels.APPLIED_HASH: digest}
    return {**wanted, "metadata": {**metadata, "annotations": annotations}}


async def apply_object(
    api: Client, cache: Cache, assistant: AIAssistant, wanted: Object, confirmation: Confirmation
) -> bool:
    """Make the object so; return whether a write was needed.

    Raises
    ------
    GoneError
        The object is missing or has no owner, and the AIAssistant is gone too.
    StalledError
        The object belongs to somebody else, or the API server will never take it.
    TransientError
        The object exists and was not seen, so what is wanted was made up without what it is now.
    WaitingError
        A predecessor of the same name is still being deleted.
    """
    kind, metadata = APPLIED[wanted["kind"]], wanted["metadata"]
    body = stamped(wanted)
    live = cache.get(kind.kind, metadata["namespace"], metadata["name"])
    if live is not None and matches(_content(body), live):
        return False
    try:
        if live is None:
            await confirmation.before_creation()
            if created := await _create(api, kind, body):
                cache.put(kind.kind, created)
                return True
            live = await _existing(api, kind, body)
            if _is_ours(kind.kind, live, assistant):
                cache.put(kind.kind, await _labelled(api, kind, body, live))
                raise TransientError(conditions.CONFLICT, _unseen(f"{kind.kind} {metadata['name']}"))
        if not _is_ours(kind.kind, live, assistant):
            await confirmation.before_adoption()
        cache.put(kind.kind, await _update(api, kind, body, live))
    except ApiError as error:
        if error.namespace_terminating:
            raise
        raise _explain(error, body) from error
    return True


async def _create(api: Client, kind: Kind, body: Object) -> Object | None:
    """Create an object by apply; return None where one of that name exists, which is left as it is."""
    try:
        # No object has this version any more: an apply to one that exists conflicts, and a creation ignores it.
        return await api.apply(kind, _with_metadata(body, resourceVersion="1"))
    except ApiError as error:
        if error.status != HTTPStatus.CONFLICT:
            raise
        return None


async def _existing(api: Client, kind: Kind, body: Object) -> Object:
    metadata = body["metadata"]
    live = await api.get(kind, metadata["namespace"], metadata["name"], metadata_only=True)
    if live is None:
        raise TransientError(conditions.CONFLICT, _replaced(f"{kind.kind} {metadata['name']}"))
    return live


async def _labelled(api: Client, kind: Kind, body: Object, live: Object) -> Object:
    """Give an object of ours the labels by which the watches see it: somebody took them off."""
    metadata = body["metadata"]
    seen_by = {label: metadata["labels"][label] for label in (labels.MANAGED_BY, labels.INSTANCE)}
    patch = {"metadata": {"uid": live["metadata"]["uid"], "labels": seen_by}}
    return await api.merge(kind, metadata["namespace"], metadata["name"], patch)


async def _update(api: Client, kind: Kind, body: Object, live: Object) -> Object:
    """Apply to that very object, and to none that took its place since."""
    identity = {"uid": live["metadata"]["uid"]}
    body = _with_metadata(body, **identity)
    try:
        return await api.apply(kind, body)
    except ApiError as error:
        if error.status != HTTPStatus.UNPROCESSABLE_ENTITY or "spec" not in body or not _drifted(body, live):
            raise
    # Somebody changed the key of a list entry (a Service's port number), so apply would add ours beside theirs. What
    # was valid when it was applied is put back whole, and then owned by apply again.
    metadata = body["metadata"]
    await api.merge(kind, metadata["namespace"], metadata["name"], {"metadata": identity, "spec": body["spec"]})
    return await api.apply(kind, body)


def _with_metadata(body: Object, **fields: str) -> Object:
    return {**body, "metadata": {**body["metadata"], **fields}}


def _replaced(what: str) -> str:
    return f"{what} was deleted or created by another writer just now; the operator looks at it again."


def _unseen(what: str) -> str:
    return f"{what} was there without the operator's labels. It has them again; the operator looks at it again."


def _drifted(body: Object, live: Object) -> bool:
    """Tell whether the object was applied exactly so before, and changed by another hand since."""
    applied = (live["metadata"].get("annotations") or {}).get(labels.APPLIED_HASH)
    return bool(applied == body["metadata"]["annotations"][labels.APPLIED_HASH])


def _content(body: Object) -> Object:
    """Return an object without its type, which the entries of a list do not carry."""
    return {key: value for key, value in body.items() if key not in ("apiVersion", "kind")}


def _is_ours(kind: str, live: Object, assistant: AIAssistant) -> bool:
    """Tell whether this assistant controls an object, or may because nobody does; refuse any other.

    Raises
    ------
    StalledError, WaitingError
        As in `apply_object`.
    """
    metadata = live["metadata"]
    what = f"{kind} {metadata['namespace']}/{metadata['name']}"
    owners: list[Object] = metadata.get("ownerReferences") or []
    controller: Object = next((owner for owner in owners if owner.get("controller")), {})
    predecessor = controller.get("kind") == labels.KIND and controller.get("name") == assistant.name
    ours = controller.get("uid") == assistant.metadata.uid
    if (predecessor and not ours) or (ours and metadata.get("deletionTimestamp")):
        raise WaitingError(conditions.TERMINATING, f"{what} is still being deleted; it is created again after that.")
    orphan = not controller and owner_key(live) == (assistant.namespace, assistant.name)
    if not ours and not orphan:
        raise StalledError(
            conditions.NAME_CONFLICT,
            f"{what} exists and is not managed by this AIAssistant. Delete it, or give the AIAssistant another name.",
        )
    return ours


def _explain(error: ApiError, wanted: Object) -> ReconcileError:
    what = f"{wanted['kind']} {wanted['metadata']['name']}"
    if error.status == HTTPStatus.CONFLICT or "metadata.uid" in error.fields:
        return TransientError(conditions.CONFLICT, _replaced(what))
    if _DENIED.search(error.message):
        # A policy may change at any time, and no watch tells of it.
        return TransientError(conditions.ADMISSION_DENIED, f"A policy of the cluster refuses {what}: {error.message}")
    if error.status in (HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.BAD_REQUEST) or _MALFORMED in error.message:
        return StalledError(conditions.INVALID_OBJECT, f"The API server refused {what}: {error.message}")
    return TransientError(conditions.API_ERROR, f"The API server did not take {what}: {error.message or error.reason}")


def check_immutable(cache: Cache, wanted: Object, fields: Mapping[str, str]) -> None:
    """Refuse a change of a StatefulSet that Kubernetes would refuse, before anything else is written.

    `fields` names the field of the AIAssistant behind each part that can't be changed.

    Raises
    ------
    StalledError
        The message names the field.
    """
    metadata = wanted["metadata"]
    live = (
        cache.get(wanted["kind"], metadata["namespace"], metadata["name"]) if wanted["kind"] == "StatefulSet" else None
    )
    changed = immutable_changes(wanted, live) if live else []
    if changed:
        what = f"StatefulSet {metadata['name']}"
        named = ", ".join(fields.get(part, f"spec.{part} of {what}") for part in changed)
        raise StalledError(
            conditions.IMMUTABLE_FIELD,
            f"{named}: can't be changed once {what} exists. Set it back to what it was; the stack runs on as it is.",
        )


def immutable_changes(wanted: Object, live: Object) -> list[str]:
    """Name the parts of a StatefulSet that differ and that Kubernetes never changes."""
    mutable = {"replicas", "template", "updateStrategy", "minReadySeconds"}
    spec, now = wanted["spec"], live.get("spec", {})
    return [field for field in spec if field not in mutable and not matches(spec[field], now.get(field), field)]


def matches(wanted: Any, live: Any, field: str = "") -> bool:
    """Tell whether every value of `wanted` stands in `live`; what `live` has beyond it counts only in an atomic field.

    The API server writes quantities its own way (`1000m` becomes `1`) and leaves out empty values, so those count as
    equal. `field` is the name of the field being compared.
    """
    if isinstance(wanted, dict):
        if not wanted:
            return live is None or isinstance(live, dict)
        inner = "quantity" if field in _QUANTITIES else ""
        if not isinstance(live, dict) or (field in _WHOLE and live.keys() > wanted.keys()):
            return False
        return all(matches(value, live.get(key), inner or key) for key, value in wanted.items())
    if isinstance(wanted, list):
        return _matches_list(wanted, live, field)
    return _matches_value(wanted, live, field)


def _matches_value(wanted: Any, live: Any, field: str) -> bool:
    if live is None:
        return wanted in ("", 0, False)
    if wanted != live and field in ("quantity", "sizeLimit", "divisor"):
        return quantity(wanted) == quantity(live)
    same = same_text(wanted, live) if isinstance(live, dict) else wanted == live
    return bool(same) and isinstance(wanted, bool) == isinstance(live, bool)


def _matches_list(wanted: list[Any], live: Any, field: str) -> bool:
    if not isinstance(live, list):
        return not wanted and live is None
    key = next((key for key in _ENTRY_KEYS if wanted and all(isinstance(w, dict) and key in w for w in wanted)), None)
    if key is None or len({str(entry[key]) for entry in wanted}) < len(wanted):
        return len(wanted) == len(live) and all(
            matches(entry, other, field) for entry, other in zip(wanted, live, strict=True)
        )
    if field in _WHOLE and len(live) != len(wanted):
        return False
    found = {entry.get(key): entry for entry in live if isinstance(entry, dict)}
    return all(matches(entry, found.get(entry[key])) for entry in wanted)
