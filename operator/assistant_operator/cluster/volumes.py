"""Volumes of StatefulSets: grown in place where their class allows it, never shrunk, moved or deleted.

Kubernetes lets no one change the claim templates of a StatefulSet, but claims grow by themselves. So the claims are
patched and the template stays as it was made; the size that was asked for last is kept as an annotation
(docs/decisions/20261124-volume-growth.md).
"""

import re
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any, NamedTuple

import orjson

from assistant_operator import conditions, labels
from assistant_operator.assistant import AIAssistant
from assistant_operator.cluster.cache import Cache
from assistant_operator.cluster.client import ApiError, Client
from assistant_operator.cluster.kinds import CLAIM
from assistant_operator.errors import StalledError
from assistant_operator.manifests import Object
from assistant_operator.values import quantity

_REFUSALS = (HTTPStatus.FORBIDDEN, HTTPStatus.UNPROCESSABLE_ENTITY)


class Growth(NamedTuple):
    """A claim that is smaller than it should be; `field` is where the spec says so."""

    claim: Object
    size: str
    field: str


def fitted(live: Object | None, wanted: Object, field: str) -> Object:
    """Return a StatefulSet as it can be applied: with the sizes of the claim templates that it was made with.

    `field` is the field of the spec that describes the volume, such as spec.redis.managed.storage.

    Raises
    ------
    StalledError
        A volume should shrink or move to another StorageClass.
    """
    templates = wanted["spec"].get("volumeClaimTemplates") or []
    made = {
        template["metadata"]["name"]: template
        for template in (live or {}).get("spec", {}).get("volumeClaimTemplates") or []
    }
    if live is None or not templates:
        return wanted
    asked = orjson.loads((live["metadata"].get("annotations") or {}).get(labels.VOLUME_SIZES) or "{}")
    kept, sizes = [], {}
    for template in templates:
        name = template["metadata"]["name"]
        if name not in made:
            return wanted  # another volume altogether: refused as any part that can't be changed
        _check(template, made[name], asked.get(name), field)
        kept.append(_resized(template, _size(made[name])))
        if quantity(_size(template)) != quantity(_size(made[name])):
            sizes[name] = str(_size(template))
    body = {**wanted, "spec": {**wanted["spec"], "volumeClaimTemplates": kept}}
    if not sizes:
        return body
    annotations = {**wanted["metadata"].get("annotations", {}), labels.VOLUME_SIZES: orjson.dumps(sizes).decode()}
    return {**body, "metadata": {**wanted["metadata"], "annotations": annotations}}


def growths(cache: Cache, assistant: AIAssistant, wanted: Object, field: str) -> Iterator[Growth]:
    """Yield the bound claims of a StatefulSet that are smaller than wanted."""
    templates = wanted["spec"].get("volumeClaimTemplates") or []
    for claim in cache.all(CLAIM.kind, (assistant.namespace, assistant.name)) if templates else ():
        for template in templates:
            grows = (claim.get("status") or {}).get("phase") == "Bound" and _belongs(claim, template, wanted)
            if grows and quantity(_size(claim)) < quantity(_size(template)):
                yield Growth(claim, str(_size(template)), f"{field}.size")


async def grow(api: Client, cache: Cache, wanted: list[Growth]) -> None:
    """Grow claims: all of them, or none where one is refused.

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


def _size(claim: Mapping[str, Any]) -> str | int:
    size: str | int = claim["spec"]["resources"]["requests"]["storage"]
    return size


def _resized(template: Object, size: str | int) -> Object:
    spec = {**template["spec"], "resources": {**template["spec"]["resources"], "requests": {"storage": size}}}
    return {**template, "spec": spec}


def _check(wanted: Object, made: Object, asked: str | None, field: str) -> None:
    classes = [template["spec"].get("storageClassName") for template in (wanted, made)]
    if classes[0] != classes[1]:
        raise StalledError(
            conditions.IMMUTABLE_FIELD,
            f"{field}.storageClassName: can't be changed once the volume exists. Set it back to "
            f"{classes[1] or 'nothing'}; the stack runs on as it is.",
        )
    before = asked or _size(made)
    if quantity(_size(wanted)) < quantity(before):
        raise StalledError(
            conditions.IMMUTABLE_FIELD,
            f"{field}.size: a volume can't shrink. Set it back to {before} or more; the stack runs on as it is.",
        )


def _refused(growth: Growth, error: ApiError) -> StalledError:
    name = growth.claim["metadata"]["name"]
    return StalledError(
        conditions.RESIZE_REFUSED,
        f"{growth.field}: volume claim {name} can't grow to {growth.size}: {error.message.rstrip('.')}. Set it back to "
        "what it was, or let its StorageClass allow it (allowVolumeExpansion); the stack runs on as it is.",
    )
