"""The vocabulary of conditions: their types, their reasons, and how a pass's findings become a status.

`Ready` is always there. `Reconciling` and `Stalled` exist only while True, as kstatus wants it
(https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/kstatus/README.md), and `DeletionPolicyReady` only while
False. Each component has a condition of its own. docs/conditions.md explains every reason to users; a test keeps the
two together.
"""

from collections.abc import Iterable, Mapping
from typing import Any

Condition = dict[str, Any]

TYPE_READY = "Ready"
TYPE_RECONCILING = "Reconciling"
TYPE_STALLED = "Stalled"
TYPE_DELETION_POLICY = "DeletionPolicyReady"

READY = "Ready"
PROGRESSING = "Progressing"
SUSPENDED = "Suspended"
SCALED_TO_ZERO = "ScaledToZero"
EXTERNAL = "External"
SECRET_NOT_FOUND = "SecretNotFound"  # noqa: S105 - a reason, no secret
SECRET_KEY_NOT_FOUND = "SecretKeyNotFound"  # noqa: S105 - a reason, no secret
CONFIG_MAP_NOT_FOUND = "ConfigMapNotFound"
CONFIG_MAP_KEY_NOT_FOUND = "ConfigMapKeyNotFound"
CRASHED = "Crashed"
VOLUME_PENDING = "VolumePending"
VOLUME_GROWING = "VolumeGrowing"
JOB_FAILED = "JobFailed"
OBJECT_NOT_FOUND = "ObjectNotFound"
OBJECT_UNUSABLE = "ObjectUnusable"
API_NOT_INSTALLED = "ApiNotInstalled"
TERMINATING = "Terminating"
INVALID_SPEC = "InvalidSpec"
INVALID_OBJECT = "InvalidObject"
IMMUTABLE_FIELD = "ImmutableField"
RESIZE_REFUSED = "ResizeRefused"
OWNERS_REFUSED = "OwnersRefused"
NAME_CONFLICT = "NameConflict"
ADMISSION_DENIED = "AdmissionDenied"
CONFLICT = "Conflict"
WATCH_REFUSED = "WatchRefused"
API_ERROR = "ApiError"
INTERNAL_ERROR = "InternalError"

REASONS = (
    READY,
    PROGRESSING,
    SUSPENDED,
    SCALED_TO_ZERO,
    EXTERNAL,
    SECRET_NOT_FOUND,
    SECRET_KEY_NOT_FOUND,
    CONFIG_MAP_NOT_FOUND,
    CONFIG_MAP_KEY_NOT_FOUND,
    CRASHED,
    VOLUME_PENDING,
    VOLUME_GROWING,
    JOB_FAILED,
    OBJECT_NOT_FOUND,
    OBJECT_UNUSABLE,
    API_NOT_INSTALLED,
    TERMINATING,
    INVALID_SPEC,
    INVALID_OBJECT,
    IMMUTABLE_FIELD,
    RESIZE_REFUSED,
    OWNERS_REFUSED,
    NAME_CONFLICT,
    ADMISSION_DENIED,
    CONFLICT,
    WATCH_REFUSED,
    API_ERROR,
    INTERNAL_ERROR,
)
"""Reasons that the operator gives itself. The reason of a failing pod is Kubernetes' own, such as ImagePullBackOff."""

RESTING = (SUSPENDED, SCALED_TO_ZERO)
"""Reasons of what runs no pods because the spec asks for none."""

VOLUMES_KEPT = "VolumesKept"
"""Reason of the event that tells which volumes a component leaves when it is turned off."""

_MESSAGE_LIMIT = 2000
"""Characters of a message that are kept: room for what happened, and no log dump in a status."""


def urgency(reason: str) -> int:
    """Rank the reason of what does not serve: a problem is 0, what is under way 1, and what rests on purpose 2."""
    if reason in RESTING:
        return 2
    return 1 if reason == PROGRESSING else 0


def condition(kind: str, status: bool | None, reason: str, message: str) -> Condition:
    """Build a condition without its time and generation, which `stamp` adds; a status of None is Unknown."""
    return {
        "type": kind,
        "status": "Unknown" if status is None else str(status),
        "reason": reason,
        "message": message[:_MESSAGE_LIMIT],
    }


def stamp(found: Iterable[Condition], previous: Iterable[Condition], generation: int, now: str) -> list[Condition]:
    """Add generation and transition time: the previous time where the status is unchanged, else `now` (RFC 3339)."""
    before: Mapping[str, Condition] = {entry["type"]: entry for entry in previous}
    stamped = []
    for entry in found:
        known = before.get(entry["type"], {})
        unchanged = known.get("status") == entry["status"] and known.get("lastTransitionTime")
        time = known["lastTransitionTime"] if unchanged else now
        stamped.append({**entry, "lastTransitionTime": time, "observedGeneration": generation})
    return stamped
