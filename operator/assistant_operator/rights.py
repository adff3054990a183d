"""The rights that the operator needs in the namespaces that it watches, from which the chart's rules are generated."""

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


def _referenced() -> list[dict[str, Any]]:
    plurals: defaultdict[str, set[str]] = defaultdict(set)
    for component in desired.COMPONENTS:
        for kind in component.referenced:
            plurals[kind.group].add(kind.plural)
    return [_rule(group, sorted(plurals[group]), kinds.READ) for group in sorted(plurals)]


def _rule(group: str, resources: list[str], verbs: Any) -> dict[str, Any]:
    return {"apiGroups": [group], "resources": resources, "verbs": list(verbs)}
