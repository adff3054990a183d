"""The kinds that the operator reads or writes, and the rights that this takes.

A static table instead of discovery: start-up costs no request, and the RBAC rules of the chart are generated from it.
"""

from dataclasses import dataclass

from assistant_operator import labels

_APPLIED = ("get", "list", "watch", "create", "patch", "delete")
READ = ("list", "watch")
"""Verbs on what is only looked at."""


@dataclass(frozen=True)
class Kind:
    """An API resource: its group and version, its kind and plural, and the verbs that the operator uses on it."""

    api_version: str
    kind: str
    plural: str
    verbs: tuple[str, ...] = _APPLIED
    optional: bool = False
    """Whether a cluster may not serve it: it then counts as a kind without objects, and nothing is applied of it."""

    @property
    def group(self) -> str:
        """API group, empty for the core group."""
        return self.api_version.rpartition("/")[0]

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        """Return the URL path of a collection or of one object; no namespace means all of them."""
        parts = ["apis" if "/" in self.api_version else "api", self.api_version]
        if namespace:
            parts += ["namespaces", namespace]
        parts.append(self.plural)
        parts += [part for part in (name, subresource) if part]
        return "/" + "/".join(parts)


ASSISTANT = Kind(labels.API_VERSION, labels.KIND, labels.PLURAL, ("get", "list", "watch"))
CONFIG_MAP = Kind("v1", "ConfigMap", "configmaps")
SECRET = Kind("v1", "Secret", "secrets", ("get", "list", "watch", "create", "patch"))
POD = Kind("v1", "Pod", "pods", (*READ, "delete"))
EVENT = Kind("events.k8s.io/v1", "Event", "events", ("list", "create"))
CLAIM = Kind("v1", "PersistentVolumeClaim", "persistentvolumeclaims", (*READ, "patch"))
LEASE = Kind("coordination.k8s.io/v1", "Lease", "leases", ("get", "create", "patch"))
"""Not among USED: it is in the operator's own namespace, and needs rights there alone."""

APPLIED: dict[str, Kind] = {
    kind.kind: kind
    for kind in (
        Kind("v1", "ServiceAccount", "serviceaccounts"),
        CONFIG_MAP,
        Kind("v1", "Service", "services"),
        Kind("apps/v1", "StatefulSet", "statefulsets"),
        Kind("apps/v1", "Deployment", "deployments"),
        Kind("batch/v1", "Job", "jobs"),
        Kind("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets"),
        Kind("networking.k8s.io/v1", "Ingress", "ingresses"),
    )
}
"""Kinds that are applied and pruned, by name, in the order of application: what a pod needs comes before it."""

USED = (ASSISTANT, SECRET, POD, CLAIM, EVENT, *APPLIED.values())
"""Every kind that the operator itself uses."""
