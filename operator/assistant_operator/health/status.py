"""From a pass's findings to the status that users read: conditions, phase, URL and counts. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from assistant_operator import conditions, labels
from assistant_operator.conditions import Condition
from assistant_operator.errors import BlindError, ReconcileError, StalledError, TransientError
from assistant_operator.health.workload import Health
from assistant_operator.spec.assistant import AIAssistant
from assistant_operator.spec.base import Mode

Status = dict[str, Any]

GRACE_SECONDS = 60
"""Passes may fail for so long before an assistant whose pods all serve is no longer Ready."""


@dataclass(frozen=True)
class Assessed:
    """A component as it was found."""

    name: str
    condition: str
    """Type of the condition that reports it."""
    mode: Mode
    health: Health


@dataclass(frozen=True)
class Findings:
    """What a pass found: each component's health, conditions of policies, and the error that ended it, if any."""

    components: Sequence[Assessed] = ()
    policies: Sequence[Condition] = ()
    notices: Sequence[Condition] = ()
    """Conditions that say what is wrong beside the serving, and take nothing from Ready."""
    error: ReconcileError | None = None
    image: str | None = None

    @property
    def unsettled(self) -> bool:
        """Whether a component must be looked at again soon, since no watch tells all of it."""
        return any(found.health.unsettled for found in self.components)


def build(assistant: AIAssistant, findings: Findings, previous: Mapping[str, Any], now: str) -> Status:
    """Return the whole status of an assistant; `now` is RFC 3339."""
    ready = _kept(findings, previous, generation := assistant.metadata.generation, now) or _ready(findings)
    told = [ready, *_progress(ready, findings), *_components(findings), *findings.policies, *findings.notices]
    runtime = next((found.health for found in findings.components if found.name == "runtime"), None)
    selector = labels.selector(assistant.name, "runtime")
    return {
        "observedGeneration": generation,
        "phase": _phase(ready, findings.error),
        "url": assistant.url,
        "replicas": runtime.replicas if runtime else 0,
        "readyReplicas": runtime.ready_replicas if runtime else 0,
        "selector": ",".join(f"{key}={value}" for key, value in selector.items()),
        **({"version": findings.image} if findings.image else {}),
        "conditions": conditions.stamp(told, previous.get("conditions") or [], generation, now),
        "components": [
            {
                "name": found.name,
                "mode": found.mode,
                "ready": found.health.ready,
                "message": found.health.message,
            }
            for found in findings.components
        ],
    }


def interrupted(error: ReconcileError, previous: Mapping[str, Any], generation: int, now: str) -> Status:
    """Return the status of a resource that can't be looked at: the old one, with what is wrong in front."""
    kept = [
        entry
        for entry in previous.get("conditions") or []
        if entry["type"] not in (conditions.TYPE_READY, conditions.TYPE_RECONCILING, conditions.TYPE_STALLED)
    ]
    findings = Findings(error=error)
    ready = _ready(findings)
    found = conditions.stamp([ready, *_progress(ready, findings)], previous.get("conditions") or [], generation, now)
    phase = _phase(ready, error)
    return {**previous, "observedGeneration": generation, "phase": phase, "conditions": [*found, *kept]}


def _ready(findings: Findings) -> Condition:
    if findings.error:
        serves = None if isinstance(findings.error, BlindError) else False
        return conditions.condition(conditions.TYPE_READY, serves, findings.error.reason, findings.error.message)
    failing = _first_failing(findings)
    if failing:
        # What rests as the spec asks is as it should be: to wait for it would never end.
        settled = failing["reason"] in conditions.RESTING
        message = f"{failing['type']}: {failing['message']}"
        return conditions.condition(conditions.TYPE_READY, settled, failing["reason"], message)
    return conditions.condition(conditions.TYPE_READY, True, conditions.READY, "Every component is ready.")


def _kept(findings: Findings, previous: Mapping[str, Any], generation: int, now: str) -> Condition | None:
    """Return Ready as it was where passes began to fail only now, and everything serves all the same; else None.

    One answer of a busy API server says nothing of the pods. Of a spec that changed since, Ready says nothing either.
    """
    before = {entry["type"]: entry for entry in previous.get("conditions") or []}
    ready, failing = before.get(conditions.TYPE_READY, {}), before.get(conditions.TYPE_RECONCILING, {})
    if not isinstance(findings.error, TransientError) or ready.get("status") != "True":
        return None
    serves = _ready(replace(findings, error=None))
    current = serves["status"] == "True" and ready.get("observedGeneration") == generation
    failed = failing and failing["reason"] != conditions.VOLUME_GROWING
    lasted = _seconds(failing["lastTransitionTime"], now) if failed else 0
    return serves if current and lasted < GRACE_SECONDS else None


def _seconds(since: str, until: str) -> float:
    return (datetime.fromisoformat(until) - datetime.fromisoformat(since)).total_seconds()


def _first_failing(findings: Findings) -> Condition | None:
    """Return the condition to name: one with a problem before one that is under way, and that before one at rest."""
    failing = [entry for entry in (*_components(findings), *findings.policies) if entry["status"] != "True"]
    return min(failing, key=lambda entry: conditions.urgency(entry["reason"]), default=None)


def _progress(ready: Condition, findings: Findings) -> list[Condition]:
    error = findings.error
    if isinstance(error, StalledError):
        return [conditions.condition(conditions.TYPE_STALLED, True, error.reason, error.message)]
    if error:
        return [conditions.condition(conditions.TYPE_RECONCILING, True, error.reason, error.message)]
    if ready["status"] == "True":
        growing = (found.health.growth for found in findings.components if found.health.growth)
        told = [conditions.condition(conditions.TYPE_RECONCILING, True, conditions.VOLUME_GROWING, t) for t in growing]
        return told[:1]
    return [conditions.condition(conditions.TYPE_RECONCILING, True, ready["reason"], ready["message"])]


def _components(findings: Findings) -> Iterable[Condition]:
    return [
        conditions.condition(found.condition, found.health.ready, found.health.reason, found.health.message)
        for found in findings.components
    ]


def _phase(ready: Condition, error: ReconcileError | None) -> str:
    if isinstance(error, StalledError):
        return "Stalled"
    if error and ready["status"] != "True":
        return "Pending"
    return _PHASES.get(ready["reason"], "Progressing")


_PHASES = {
    conditions.READY: "Ready",
    conditions.SUSPENDED: "Suspended",
    conditions.SCALED_TO_ZERO: "ScaledToZero",
}
