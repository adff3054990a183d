"""Secrets and ConfigMaps that must exist before anything is applied."""

from collections.abc import Mapping
from dataclasses import dataclass

from assistant_operator import conditions
from assistant_operator.errors import WaitingError
from assistant_operator.rooms.facts import ContentFacts
from assistant_operator.spec.base import KeyRef, Source


@dataclass(frozen=True)
class Reference:
    """A key of a Secret or ConfigMap that must exist before anything is applied, and that is not generated here."""

    field: str
    """Where the spec names it."""
    named: KeyRef
    made_by: str | None = None
    """The operator that makes the object; None for one of the user's."""


_MISSING: Mapping[Source, tuple[str, str, str]] = {
    "Secret": (
        conditions.SECRET_NOT_FOUND,
        conditions.SECRET_KEY_NOT_FOUND,
        "create secret generic {name} --from-literal={key}=VALUE",
    ),
    "ConfigMap": (
        conditions.CONFIG_MAP_NOT_FOUND,
        conditions.CONFIG_MAP_KEY_NOT_FOUND,
        "create configmap {name} --from-file={key}=FILE",
    ),
}
"""Of a kind: the reasons for an object and for a key that is missing, and kubectl's words that make them."""


def check(reference: Reference, found: ContentFacts | None, namespace: str) -> None:
    """Raise WaitingError where a Secret or ConfigMap that is named, or its key, is missing; None: it was not found."""
    source, name, key = reference.named.source, reference.named.name, reference.named.key
    absent, incomplete, remedy = _MISSING[source]
    if found is not None and key in found.digests:
        return
    reason = absent if found is None else incomplete
    if reference.made_by:
        raise WaitingError(
            reason,
            f"{reference.field}: {reference.made_by} has not yet put key {key} into {source} {name} in "
            f"namespace {namespace}. Where that is a {source} of yours which the object names, create it.",
        )
    if found is None:
        raise WaitingError(
            reason,
            f"{reference.field}: there is no {source} {name} in namespace {namespace}. Create it with: "
            f"kubectl -n {namespace} {remedy.format(name=name, key=key)}",
        )
    others = f"it has {', '.join(sorted(found.digests))}" if found.digests else "it has no other"
    raise WaitingError(
        reason,
        f"{reference.field}: {source} {name} in namespace {namespace} has no key {key}, or nothing in it; {others}. "
        "Add the key, or name another.",
    )
