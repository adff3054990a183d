"""What is wrong with pods, volume claims and Jobs, in Kubernetes' words: pure functions of what was seen.

The watches bring the state of pods and claims, and with a crash the last lines of its output
(docs/decisions/20261124-crash-output.md). What only events tell (a failing probe, a volume that can't be made, a pod
that a StatefulSet may not make) is asked for, and only while something is wrong: `questions` says what to ask.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from assistant_operator import conditions
from assistant_operator.spec.values import quantity

_HARMLESS = {"ContainerCreating", "PodInitializing"}
"""Waiting reasons of a container that is on its way."""
_KILLED = {137, 143}
"""Exit codes of a container that was killed, mostly by its liveness probe: the events tell why."""
_OUTPUT_LIMIT = 600
"""Characters of a crashed container's output that are quoted, from its end."""
_GROWTH_CONDITIONS = ("ControllerResizeError", "NodeResizeError", "FileSystemResizePending")
"""Conditions of a claim that say why its volume has not grown yet."""
_AWAITED_POD = ("WaitForFirstConsumer", "WaitForPodScheduled")
"""Reasons of events of a claim whose volume is made when its pod has a node."""
_TRIES = 2
"""Failures of one probe that are taken for trouble; one is usual while a server starts."""
_STARTING = "Startup probe failed"
"""Beginning of what the kubelet says of a server that may yet be starting."""

Event = Mapping[str, Any]
"""An event of events.k8s.io/v1."""
Events = Mapping[str, Sequence[Event]]
"""The warnings about objects, by the object's UID."""


class Trouble(NamedTuple):
    """A condition reason and a sentence, and whether that quotes what a program wrote."""

    reason: str
    message: str
    quotes: bool = False

    def of(self, what: str) -> "Trouble":
        """Return the same trouble, with what has it in front."""
        return self._replace(message=f"{what}: {self.message}")


@dataclass(frozen=True)
class Scene:
    """A workload and what belongs to it, as last seen."""

    workload: Mapping[str, Any]
    pods: Sequence[Mapping[str, Any]] = ()
    claims: Sequence[Mapping[str, Any]] = ()
    events: Events = field(default_factory=dict)


def first(scene: Scene) -> Trouble | None:
    """Return what is wrong first, None while everything is on its way."""
    pods = [pod for pod in _newest_first(scene.pods) if not ready(pod)]
    scheduled = [pod for pod in pods if not _unscheduled(pod)]
    return (
        next(filter(None, (pod_trouble(pod, scene.events) for pod in scheduled)), None)
        or _refused_pod(scene)
        # A pod without a node may wait for its volume, and the claim says best why there is none.
        or next(filter(None, (_pending_claim(claim, scene.events) for claim in scene.claims)), None)
        or next(filter(None, (pod_trouble(pod, scene.events) for pod in pods)), None)
    )


def questions(scene: Scene) -> list[str]:
    """Return the UIDs of the objects whose events may tell what is wrong, few of them."""
    pending = [claim for claim in scene.claims if _phase(claim) == "Pending"]
    silent = [pod for pod in _newest_first(scene.pods) if not ready(pod) and _needs_events(pod)]
    wanted = scene.workload.get("spec", {}).get("replicas", 1)
    refused = [scene.workload] if len(scene.pods) < wanted else []
    return [found["metadata"]["uid"] for found in (*pending[:1], *silent[:1], *refused)]


def pod_trouble(pod: Mapping[str, Any], events: Events) -> Trouble | None:
    """Return what is wrong with a pod, None for one that is on its way."""
    told = events.get(pod["metadata"].get("uid", ""), ())
    found = _unscheduled(pod) or (_was_killed(pod) and _warning(told, pod)) or _container_trouble(pod)
    found = found or _warning(told, pod)
    return found.of(f"pod {pod['metadata']['name']}") if found else None


def lacks_pod(job: Mapping[str, Any], pods: Sequence[Mapping[str, Any]]) -> bool:
    """Tell whether a Job at work has no pod, which may be on its way, or refused: its events say which."""
    return not pods and not _condition(job, "Complete") and not _condition(job, "Failed")


def job_trouble(job: Mapping[str, Any], pods: Sequence[Mapping[str, Any]], events: Events) -> Trouble | None:
    """Return what is wrong with a Job, None for one that is done or has not failed yet.

    Its own status does not count the failures of a pod whose containers are started again: those its pod tells.
    """
    if _condition(job, "Complete"):
        return None
    if lacks_pod(job, pods) and (refused := _refused_pod(Scene(job, pods, events=events))):
        return refused.of(f"job {job['metadata']['name']}")
    found = next(filter(None, (pod_trouble(pod, {}) for pod in _newest_first(pods))), None)
    ended = _condition(job, "Failed")
    if found is None and (ended or (job.get("status") or {}).get("failed")):
        found = Trouble(conditions.JOB_FAILED, (ended or {}).get("message") or "its pod failed, and is tried again")
    return found._replace(reason=conditions.JOB_FAILED).of(f"job {job['metadata']['name']}") if found else None


def growth(claims: Iterable[Mapping[str, Any]]) -> str:
    """Say which volume is not yet as large as its claim asks for, and what Kubernetes tells of it; empty for none."""
    for claim in claims:
        asks, has = _storage(claim, "spec", "resources", "requests"), _storage(claim, "status", "capacity")
        if _phase(claim) == "Bound" and has and quantity(asks) > quantity(has):
            told = next(filter(None, (_condition(claim, kind) for kind in _GROWTH_CONDITIONS)), {}).get("message")
            grows = f"Volume claim {claim['metadata']['name']} grows from {has} to {asks}"
            return f"{grows}: {told}" if told else f"{grows}."
    return ""


def _newest_first(pods: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    staying = [pod for pod in pods if not pod["metadata"].get("deletionTimestamp")]
    return sorted(staying, key=lambda pod: str(pod["metadata"].get("creationTimestamp", "")), reverse=True)


def _storage(claim: Mapping[str, Any], *path: str) -> str:
    found: Any = claim
    for key in path:
        found = found.get(key) or {}
    return str(found.get("storage") or "")


def _phase(found: Mapping[str, Any]) -> str:
    return str((found.get("status") or {}).get("phase", ""))


def _condition(found: Mapping[str, Any], kind: str, status: str = "True") -> Mapping[str, Any] | None:
    entries = (found.get("status") or {}).get("conditions") or []
    return next((entry for entry in entries if (entry["type"], entry["status"]) == (kind, status)), None)


def ready(pod: Mapping[str, Any]) -> bool:
    """Tell whether a pod is ready."""
    return _condition(pod, "Ready") is not None


def _needs_events(pod: Mapping[str, Any]) -> bool:
    """Tell whether a pod's own status does not say what is wrong with it."""
    if _unscheduled(pod):
        return False
    return _container_trouble(pod) is None or _was_killed(pod)


def _was_killed(pod: Mapping[str, Any]) -> bool:
    """Tell whether a container of a pod was killed for another reason than its memory."""
    exits = map(_last_exit, _containers(pod))
    return any(ended.get("exitCode") in _KILLED and ended.get("reason") != "OOMKilled" for ended in exits)


def _unscheduled(pod: Mapping[str, Any]) -> Trouble | None:
    found = _condition(pod, "PodScheduled", "False")
    if found is None:
        return None
    return Trouble(found.get("reason") or "Unschedulable", found.get("message") or "can't be scheduled")


def _containers(pod: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    status = pod.get("status") or {}
    yield from status.get("initContainerStatuses") or []
    yield from status.get("containerStatuses") or []


def _container_trouble(pod: Mapping[str, Any]) -> Trouble | None:
    for container in _containers(pod):
        waiting = (container.get("state") or {}).get("waiting") or {}
        reason, ended = waiting.get("reason") or "", _last_exit(container)
        trouble: Trouble | None = None
        if ended.get("exitCode") and str(ended.get("finishedAt") or "9") >= _unready_since(pod):
            trouble = _crash(ended, reason)
        elif reason and reason not in _HARMLESS:
            trouble = Trouble(reason, waiting.get("message") or "is waiting")
        if trouble and not container.get("ready"):
            return trouble.of(f"container {container['name']}")
    return None


def _last_exit(container: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return how a container ended last, empty for one that never did."""
    states = (container.get("state") or {}, container.get("lastState") or {})
    return next((found for state in states if (found := state.get("terminated"))), {})


def _crash(ended: Mapping[str, Any], waiting: str) -> Trouble:
    """Explain how a container ended; the kubelet passes on its last output."""
    why = ended.get("reason", "Error")
    reason = why if why == "OOMKilled" else waiting if waiting not in {"", *_HARMLESS} else conditions.CRASHED
    output = str(ended.get("message") or "").strip()
    if len(output) > _OUTPUT_LIMIT:
        output = f"…{output[-_OUTPUT_LIMIT:]}"
    message = f"exited with code {ended['exitCode']} ({why})"
    return Trouble(reason, f"{message}: {output}" if output else message, bool(output))


def _unready_since(pod: Mapping[str, Any]) -> str:
    """Return from when on what happened to a pod may be why it is not ready, RFC 3339 to the second.

    A minute before it ceased to be ready: a probe fails a few times before that counts.
    """
    unready = (_condition(pod, "Ready", "False") or {}).get("lastTransitionTime")
    return (datetime.fromisoformat(unready) - timedelta(minutes=1)).isoformat()[:19] if unready else ""


def _warning(events: Iterable[Event], pod: Mapping[str, Any]) -> Trouble | None:
    """Return the newest warning about a pod that is not ready, of the time since it is not."""
    since = _unready_since(pod)
    recent = [event for event in events if event.get("type") == "Warning" and _last_seen(event) >= since]
    failures = sum(_count(event) for event in recent if event.get("reason") == "Unhealthy")
    for event in sorted(recent, key=_last_seen, reverse=True):
        message = str(event.get("note") or "").strip()
        if event.get("reason") != "Unhealthy":
            return Trouble(event.get("reason") or conditions.PROGRESSING, message)
        if failures >= _TRIES:
            return Trouble(conditions.PROGRESSING if message.startswith(_STARTING) else "Unhealthy", message, True)
    return None


def _pending_claim(claim: Mapping[str, Any], events: Events) -> Trouble | None:
    if _phase(claim) == "Lost":
        message = f"volume claim {claim['metadata']['name']} has lost its volume"
        return Trouble(conditions.VOLUME_PENDING, message)
    if _phase(claim) != "Pending":
        return None
    # A claim that waits for its pod to be scheduled is on its way; some that can't be bound are told as `Normal`.
    told = [e for e in events.get(claim["metadata"]["uid"], ()) if e.get("reason") not in _AWAITED_POD]
    if not told:
        return None
    newest = max(told, key=_last_seen)
    message = f"volume claim {claim['metadata']['name']} is pending: {newest.get('note') or newest.get('reason')}"
    return Trouble(conditions.VOLUME_PENDING, message)


def _refused_pod(scene: Scene) -> Trouble | None:
    """Return why the API server takes no pod of a workload: Pod Security, a quota, a limit range."""
    failure = _condition(scene.workload, "ReplicaFailure")
    if failure:
        return Trouble(failure.get("reason") or "FailedCreate", failure.get("message") or "pods are refused")
    # A StatefulSet tells it by events alone. Those of the time before its newest pod are over.
    newest = max((str(pod["metadata"].get("creationTimestamp", ""))[:19] for pod in scene.pods), default="")
    told = scene.events.get(scene.workload["metadata"].get("uid", ""), ())
    refusals = [e for e in told if e.get("reason") == "FailedCreate" and _last_seen(e) >= newest]
    return Trouble("FailedCreate", str(max(refusals, key=_last_seen).get("note") or "")) if refusals else None


def _count(event: Event) -> int:
    series = (event.get("series") or {}).get("count")
    return int(series or event.get("deprecatedCount") or 1)


def _last_seen(event: Event) -> str:
    """Return when an event was last seen, RFC 3339 to the second, which sorts as text."""
    series = (event.get("series") or {}).get("lastObservedTime")
    times = (series, event.get("deprecatedLastTimestamp"), event.get("eventTime"))
    return str(next(filter(None, times), ""))[:19]
