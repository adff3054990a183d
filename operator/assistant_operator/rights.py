"""The rights that the operator needs; the chart's rules for the namespaces that it watches are generated from them."""

from collections import defaultdict
from typing import Any

from assistant_operator import desired, kinds, labels


def rules() -> list[dict[str, Any]]:
    """Return the RBAC rules: for the kinds that the operator itself uses, and for those that `operatorRef` may name."""
    granted = [_rule(kind.group, [kind.plural], kind.verbs) for kind in kinds.USED]
    status = _rule(labels.GROUP, [f"{labels.PLURAL}/status"], ["patch"])
    # Owner references that block deletion need this right where OwnerReferencesPermissionEnforcement is on.
    finalizers = _rule(labels.GROUP, [f"{labels.PLURAL}/finalizers"], ["update"])
    return [*granted, status, finalizers, *_referenced()]


def lease_rules(name: str) -> list[dict[str, Any]]:
    """Return the RBAC rules for the Lease of that name, which are needed in the operator's own namespace alone."""
    create = _rule(kinds.LEASE.group, [kinds.LEASE.plural], ["create"])  # RBAC knows no names at a creation
    named = [verb for verb in kinds.LEASE.verbs if verb != "create"]
    return [{**_rule(kinds.LEASE.group, [kinds.LEASE.plural], named), "resourceNames": [name]}, create]


def _referenced() -> list[dict[str, Any]]:
    plurals: defaultdict[str, set[str]] = defaultdict(set)
    for component in desired.COMPONENTS:
        for kind in component.referenced:
            plurals[kind.group].add(kind.plural)
    return [_rule(group, sorted(plurals[group]), kinds.READ) for group in sorted(plurals)]


def _rule(group: str, resources: list[str], verbs: Any) -> dict[str, Any]:
    return {"apiGroups": [group], "resources": resources, "verbs": list(verbs)}
