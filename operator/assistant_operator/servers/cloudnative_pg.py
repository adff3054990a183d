"""What a `Cluster` of CloudNativePG says: where its database is, what opens it, and whether it serves.

Names follow its version 1.27: https://cloudnative-pg.io/documentation/1.27/applications/
"""

from collections.abc import Iterator, Mapping
from typing import Any

from assistant_operator import conditions
from assistant_operator.health.workload import Health
from assistant_operator.rooms.binding import Binding
from assistant_operator.spec.base import SecretKeyRef

GROUP = "postgresql.cnpg.io"
KIND = "Cluster"
PLURAL = "clusters"
OPERATOR = "CloudNativePG"

_PORT = 5432
_DATABASE = "app"
"""Database that it makes where the Cluster names none."""
_HIBERNATION = "cnpg.io/hibernation"
"""Condition of a Cluster that is put to sleep. It stays Ready, also for a moment after it is woken."""


def binding(cluster: Mapping[str, Any]) -> Binding:
    """Return how the primary is reached, as the owner of the application's database."""
    metadata = cluster["metadata"]
    name, namespace = metadata["name"], metadata["namespace"]
    databases = (method.get("database") for method in _bootstrap(cluster))
    secrets = ((method.get("secret") or {}).get("name") for method in _bootstrap(cluster))
    secret = next(filter(None, secrets), f"{name}-app")
    certificates = (cluster.get("status") or {}).get("certificates") or {}
    return Binding(
        url=f"postgresql://{name}-rw.{namespace}:{_PORT}/{next(filter(None, databases), _DATABASE)}",
        username=SecretKeyRef(name=secret, key="username"),
        password=SecretKeyRef(name=secret, key="password"),
        ca=SecretKeyRef(name=certificates.get("serverCASecret") or f"{name}-ca", key="ca.crt"),
    )


def health(cluster: Mapping[str, Any]) -> Health:
    """Return what the Cluster's own conditions say."""
    status = cluster.get("status") or {}
    told: dict[Any, Mapping[str, Any]] = {entry.get("type"): entry for entry in status.get("conditions") or []}
    ready, asleep = told.get("Ready", {}), told.get(_HIBERNATION, {})
    exist, serving = status.get("instances") or 0, status.get("readyInstances") or 0
    what = f"Cluster {cluster['metadata']['name']}: {serving}/{exist} instances are ready"
    called_ready = ready.get("status") == "True"
    if called_ready and serving and not asleep:
        return Health(True, conditions.READY, f"{what}.", exist, serving)
    if called_ready:
        said, reason = asleep.get("message"), asleep.get("reason")
    else:
        phase = ": ".join(filter(None, (status.get("phase"), status.get("phaseReason"))))
        said, reason = phase or ready.get("message"), ready.get("reason")
    return Health(False, reason or conditions.PROGRESSING, f"{what}: {said}" if said else f"{what}.", exist, serving)


def _bootstrap(cluster: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the ways in which the Cluster gets its first data, in the order in which they count."""
    bootstrap = (cluster.get("spec") or {}).get("bootstrap") or {}
    return (bootstrap.get(method) or {} for method in ("recovery", "pg_basebackup", "initdb"))
