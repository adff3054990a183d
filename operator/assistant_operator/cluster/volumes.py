"""Volumes of StatefulSets: grown in place where their class allows it, never shrunk, moved or deleted.

Kubernetes lets no one change the claim templates of a StatefulSet, but claims grow by themselves. So the claims are
patched and the template stays as it was made; the size that was asked for last is kept as an annotation
(docs/decisions/20261124-volume-growth.md). What a claim asks for and its volume has not yet may be taken back.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from http import HTTPStatus
from typing import Any, NamedTuple

import orjson

from assistant_operator import conditions, labels
from assistant_operator.cluster.apply import matches
from assistant_operator.cluster.cache import Cache
from assistant_operator.cluster.client import ApiError, Client
from assistant_operator.errors import StalledError
from assistant_operator.kinds import CLAIM
from assistant_operator.rooms.manifests import Object
from assistant_operator.spec.assistant import AIAssistant
from assistant_operator.spec.values import quantity

_REFUSALS = (HTTPStatus.FORBIDDEN, HTTPStatus.UNPROCESSABLE_ENTITY)

Size = str | int


class Growth(NamedTuple):
    """A claim that should ask for another size; `field` is where the spec says so."""

    claim: Object
    size: str
    field: str


def fitted(live: Object | None, wanted: Object, claims: Iterable[Object], field: str) -> Object:
    """Return a StatefulSet as it can be applied: with the claim templates that it was made with.

    Parameters
    ----------
    claims
        What `bound` gives for it.
    field
        The field of the spec that describes the volume, such as spec.redis.managed.storage.

    Raises
    ------
    StalledError
        A volume should shrink or move to another StorageClass.
    """
    made, before = _made(live), _before(live)
    kept, sizes = [], {}
    for template in _templates(wanted):
        name = template["metadata"]["name"]
        if name not in made:
            return wanted  # new, or another volume altogether: refused as any part that can't be changed
        _check_class(template, made[name], field)
        if quantity(_size(template)) < quantity(before[name]):
            own = [claim for claim in claims if _belongs(claim, template, wanted)]
            _check_lowered(template, before[name], made[name], own, field)
        resized = _resized(template, _size(made[name]))
        # Kubernetes changes nothing of it, so what another version of the operator wrote there stays as it was made.
        kept.append(resized if matches(resized, made[name]) else made[name])
        if quantity(_size(template)) != quantity(_size(made[name])):
            sizes[name] = str(_size(template))
    body = {**wanted, "spec": {**wanted["spec"], "volumeClaimTemplates": kept}} if kept else wanted
    if not sizes:
        return body
    annotations = {**wanted["metadata"].get("annotations", {}), labels.VOLUME_SIZES: orjson.dumps(sizes).decode()}
    return {**body, "metadata": {**wanted["metadata"], "annotations": annotations}}


def bound(cache: Cache, assistant: AIAssistant, wanted: Object) -> list[Object]:
    """Return the volume claims of a StatefulSet that have a volume."""
    templates = _templates(wanted)
    return [
        claim
        for claim in (cache.all(CLAIM.kind, (assistant.namespace, assistant.name)) if templates else ())
        if (claim.get("status") or {}).get("phase") == "Bound"
        and any(_belongs(claim, template, wanted) for template in templates)
    ]


def growths(live: Object | None, wanted: Object, claims: Iterable[Object], field: str) -> Iterator[Growth]:
    """Yield the claims of a StatefulSet that ask for less than is wanted, or still for what is wanted no longer."""
    before = _before(live)
    for claim in claims:
        for template in _templates(wanted):
            size, last = _size(template), before.get(template["metadata"]["name"])
            lowered = last is not None and quantity(size) < quantity(last)
            if _belongs(claim, template, wanted) and _asks_wrongly(claim, size, lowered=lowered):
                yield Growth(claim, str(size), f"{field}.size")


async def grow(api: Client, cache: Cache, wanted: list[Growth]) -> None:
    """Let claims ask for their sizes: all of them, or none where one is refused.

    Raises
    ------
    StalledError
        The API server refuses a growth: the StorageClass does not allow it, or a quota is spent.
    """
    for rehearsal in (True, False):
        for growth in wanted:
            metadata = growth.claim["metadata"]
            patch = {"spec": {"resources": {"requests": {"storage": growth.size}}}}
            try:
                grown = await api.merge(CLAIM, metadata["namespace"], metadata["name"], patch, dry_run=rehearsal)
            except ApiError as error:
                if error.status not in _REFUSALS or error.namespace_terminating:
                    raise
                raise _refused(growth, error) from error
            if not rehearsal:
                cache.put(CLAIM.kind, grown)


def claims_of(cache: Cache, assistant: AIAssistant, stateful_set: str) -> list[str]:
    """Return the names of the claims of a StatefulSet, which may be gone, by its name."""
    claims = (claim["metadata"]["name"] for claim in cache.all(CLAIM.kind, (assistant.namespace, assistant.name)))
    return [name for name in claims if re.fullmatch(f".+-{re.escape(stateful_set)}-[0-9]+", name)]


def _belongs(claim: Object, template: Object, stateful_set: Object) -> bool:
    prefix = f"{template['metadata']['name']}-{stateful_set['metadata']['name']}-"
    return bool(re.fullmatch(f"{re.escape(prefix)}[0-9]+", claim["metadata"]["name"]))


def _templates(stateful_set: Object) -> list[Object]:
    return stateful_set["spec"].get("volumeClaimTemplates") or []


def _made(live: Object | None) -> dict[str, Object]:
    """Return the claim templates that a StatefulSet was made with, by name."""
    return {template["metadata"]["name"]: template for template in _templates(live)} if live else {}


def _before(live: Object | None) -> dict[str, Size]:
    """Return the sizes that were asked for last, by the names of the templates."""
    annotations = (live["metadata"].get("annotations") or {}) if live else {}
    return {name: _size(template) for name, template in _made(live).items()} | _noted(annotations)


def _noted(annotations: Mapping[str, Any]) -> dict[str, Size]:
    """Return the sizes that the annotation tells, none where another hand wrote something else there."""
    try:
        noted: dict[str, Size] = orjson.loads(annotations.get(labels.VOLUME_SIZES) or "{}")
        for size in noted.values():
            quantity(size)
    except (ValueError, TypeError, AttributeError):
        return {}
    return noted


def _size(claim: Mapping[str, Any]) -> Size:
    size: Size = claim["spec"]["resources"]["requests"]["storage"]
    return size


def _capacity(claim: Mapping[str, Any]) -> Size:
    """Return what a bound claim has: less than it asks for while its volume has not grown yet."""
    capacity: Size = (claim["status"].get("capacity") or {}).get("storage") or _size(claim)
    return capacity


def _resized(template: Object, size: Size) -> Object:
    spec = {**template["spec"], "resources": {**template["spec"]["resources"], "requests": {"storage": size}}}
    return {**template, "spec": spec}


def _asks_wrongly(claim: Object, size: Size, *, lowered: bool) -> bool:
    """Tell whether a claim asks for too little, or for more than it has and than is asked for since it was lowered.

    What somebody else lets a claim ask for is left alone.
    """
    asks, wanted = quantity(_size(claim)), quantity(size)
    return asks < wanted or (lowered and asks > max(wanted, quantity(_capacity(claim))))


def _check_class(wanted: Object, made: Object, field: str) -> None:
    classes = [template["spec"].get("storageClassName") for template in (wanted, made)]
    if classes[0] != classes[1]:
        raise StalledError(
            conditions.IMMUTABLE_FIELD,
            f"{field}.storageClassName: can't be changed once the volume exists. Set it back to "
            f"{classes[1] or 'nothing'}; the stack runs on as it is.",
        )


def _check_lowered(wanted: Object, before: Size, made: Object, claims: Iterable[Object], field: str) -> None:
    """Raise StalledError unless all that is taken back is growth that has not come true."""
    size = quantity(_size(wanted))
    remedy = f"back to {before} or more" if size < quantity(_size(made)) else ""
    for claim in claims:
        asks, has = quantity(_size(claim)), quantity(_capacity(claim))
        if size <= has < asks:  # Kubernetes wants to see that it is no attempt to shrink
            remedy = f"to more than the {_capacity(claim)} that volume claim {claim['metadata']['name']} has"
        elif size < asks <= has:
            remedy = f"back to {before} or more"
    if remedy:
        raise StalledError(
            conditions.IMMUTABLE_FIELD,
            f"{field}.size: a volume can't shrink. Set it {remedy}; the stack runs on as it is.",
        )


def _refused(growth: Growth, error: ApiError) -> StalledError:
    name, storage_class = growth.claim["metadata"]["name"], growth.claim["spec"].get("storageClassName")
    found = f"StorageClass {storage_class}" if storage_class else "its StorageClass"
    return StalledError(
        conditions.RESIZE_REFUSED,
        f"{growth.field}: volume claim {name} can't grow to {growth.size}: {error.message.rstrip('.')}. Set it back to "
        f"{_size(growth.claim)}, or have {found} allow it (allowVolumeExpansion: true); the stack runs on as it is.",
    )
