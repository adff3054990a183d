"""Writing what was found: the status of the AIAssistant, and an event where its readiness changed."""

from typing import Any

from assistant_operator import conditions, labels
from assistant_operator.cluster.client import Client
from assistant_operator.kinds import ASSISTANT, EVENT
from assistant_operator.rooms.manifests import Object

_NOTE_LIMIT = 1000
"""Bytes of an event's note that are kept; the API allows 1024."""
_ALTERNATING = {"ErrImagePull": "ImagePullBackOff", conditions.CRASHED: "CrashLoopBackOff"}
"""Reasons that take turns as long as one thing is wrong, while the kubelet tries again and waits: told once."""


def same(wanted: Object, live: Object) -> bool:
    """Tell whether a status already says all that is wanted."""
    return {key: value for key, value in live.items() if value not in ([], None)} == {
        key: value for key, value in wanted.items() if value not in ([], None)
    }


async def write(api: Client, resource: Object, status: Object) -> Object:
    """Apply the status to the very version of the resource that it was found for; return the resource as it is then.

    Raises
    ------
    ApiError
        With status 409 the resource has changed since, or is its successor by now.
    """
    metadata = {key: resource["metadata"][key] for key in ("name", "namespace", "resourceVersion")}
    body = {"apiVersion": labels.API_VERSION, "kind": labels.KIND, "metadata": metadata, "status": status}
    return await api.apply(ASSISTANT, body, subresource="status")


def readiness_change(status: Object, previous: Object) -> dict[str, Any] | None:
    """Return the Ready condition where its status or reason differs from before, else None."""
    ready, before = _ready(status), _ready(previous)
    return ready if _told(ready) != _told(before) else None


def _told(ready: Object) -> tuple[Any, Any]:
    reason = ready.get("reason")
    return ready.get("status"), _ALTERNATING.get(reason or "", reason)


async def record_event(api: Client, regarding: Object, ready: dict[str, Any], now: str) -> None:
    """Record an event about the resource; `now` is RFC 3339 with microseconds."""
    metadata = regarding["metadata"]
    quiet = ready["status"] == "True" or ready["reason"] == conditions.PROGRESSING
    event = {
        "apiVersion": EVENT.api_version,
        "kind": EVENT.kind,
        "metadata": {"generateName": f"{metadata['name']}-", "namespace": metadata["namespace"]},
        "type": "Normal" if quiet else "Warning",
        "reason": ready["reason"],
        "note": ready["message"].encode()[:_NOTE_LIMIT].decode(errors="ignore"),
        "action": "Reconcile",
        "eventTime": now,
        "reportingController": f"{labels.GROUP}/{labels.MANAGER}",
        "reportingInstance": labels.MANAGER,
        "regarding": {
            "apiVersion": labels.API_VERSION,
            "kind": labels.KIND,
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "uid": metadata["uid"],
        },
    }
    await api.create(EVENT, event)


def _ready(status: Object) -> dict[str, Any]:
    return next((entry for entry in status.get("conditions") or [] if entry["type"] == conditions.TYPE_READY), {})
