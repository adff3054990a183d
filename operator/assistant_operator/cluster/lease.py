"""The Lease by which one of several operators leads: what it says, and the patches that change it.

Fields and their meaning are client-go's (https://pkg.go.dev/k8s.io/client-go/tools/leaderelection), so that whatever
shows Leases shows this one as any other.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from assistant_operator import labels
from assistant_operator.rooms.manifests import Object


@dataclass(frozen=True)
class Record:
    """A Lease as it was last read."""

    resource_version: str = ""
    holder: str = ""
    """Identity of the leader; empty where it has released the Lease."""
    duration_seconds: float = 0
    renewed: str = ""
    """Time of the last renewal by the holder's clock. It is compared with nothing but the one before."""
    transitions: int = 0
    version: str = ""
    """Version of the holder."""
    candidate: str = ""
    """Version of an operator that waits and is newer than the holder; empty where there is none."""

    @classmethod
    def of(cls, lease: Object) -> "Record":
        """Read a Lease."""
        spec, metadata = lease.get("spec") or {}, lease["metadata"]
        notes = metadata.get("annotations") or {}
        return cls(
            resource_version=metadata["resourceVersion"],
            holder=spec.get("holderIdentity") or "",
            duration_seconds=spec.get("leaseDurationSeconds") or 0,
            renewed=spec.get("renewTime") or "",
            transitions=spec.get("leaseTransitions") or 0,
            version=notes.get(labels.OPERATOR_VERSION) or "",
            candidate=notes.get(labels.CANDIDATE_VERSION) or "",
        )

    @property
    def sign_of_life(self) -> tuple[str, str, int]:
        """What a holder changes at each renewal; another candidate's mark is none of its."""
        return (self.holder, self.renewed, self.transitions)


def taken(before: Record | None, holder: str, version: str, duration_seconds: int, now: datetime) -> Object:
    """Return the change by which an operator takes a Lease; the mark of a candidate ends with it."""
    transitions = before.transitions + (before.holder != holder) if before else 0
    spec = {
        "holderIdentity": holder,
        "leaseDurationSeconds": duration_seconds,
        "acquireTime": _written(now),
        "renewTime": _written(now),
        "leaseTransitions": transitions,
    }
    annotations: dict[str, Any] = {labels.OPERATOR_VERSION: version}
    if before and before.candidate:
        annotations[labels.CANDIDATE_VERSION] = None
    return _change(before, {"annotations": annotations}, spec)


def renewed(before: Record, now: datetime) -> Object:
    """Return the change by which the holder renews its Lease."""
    return _change(before, {}, {"renewTime": _written(now)})


def released(before: Record, now: datetime) -> Object:
    """Return the change by which the holder gives its Lease up."""
    return _change(before, {}, {"holderIdentity": "", "renewTime": _written(now)})


def marked(before: Record, version: str) -> Object:
    """Return the change by which a candidate that is newer than the holder asks for the Lease."""
    return _change(before, {"annotations": {labels.CANDIDATE_VERSION: version}}, {})


def is_newer(version: str, other: str) -> bool:
    """Compare two versions by the numbers that they begin with; what has none is older than all."""
    return _numbers(version) > _numbers(other)


def _numbers(version: str) -> tuple[int, ...]:
    found = re.match(r"\d{1,9}(\.\d{1,9}){0,9}", version)
    return tuple(int(number) for number in found[0].split(".")) if found else ()


def _change(before: Record | None, metadata: Object, spec: Object) -> Object:
    """Return a merge patch that is refused where the Lease has changed since it was read."""
    if before:
        metadata = {**metadata, "resourceVersion": before.resource_version}
    return {"metadata": metadata, **({"spec": spec} if spec else {})}


def _written(time: datetime) -> str:
    """Write a metav1.MicroTime."""
    return time.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
