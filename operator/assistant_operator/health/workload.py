"""Whether a component serves, read from its workload and its pods: pure functions of what the watches have seen."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from assistant_operator import conditions
from assistant_operator.health.trouble import Scene, Trouble, first


@dataclass(frozen=True)
class Health:
    """One component's state: whether it serves, a condition reason, and one sentence."""

    ready: bool
    reason: str
    message: str
    replicas: int = 0
    ready_replicas: int = 0
    quotes: bool = False
    """Whether the message quotes what a program wrote."""
    unsettled: bool = False
    """Whether no watch tells all of it, so that it must be looked at again soon."""
    growth: str = ""
    """Which volume is growing; empty: none. It serves meanwhile."""


def elsewhere() -> Health:
    """Return the health of a server that runs elsewhere, where only its users can tell how it is."""
    return Health(True, conditions.EXTERNAL, "It runs elsewhere; /ready of the runtime tells whether it answers.")


def resting(health: Health) -> bool:
    """Tell whether no pods run on purpose."""
    return health.reason in conditions.RESTING


def assess(scene: Scene | None, *, suspended: bool) -> Health:
    """Judge a Deployment or StatefulSet.

    It serves when the controller has seen the newest template, every wanted pod runs it, and all of them are ready.
    """
    if scene is None:
        return Health(False, conditions.PROGRESSING, "It is not there yet.")
    workload = scene.workload
    spec, status = workload["spec"], workload.get("status") or {}
    wanted, exist = spec.get("replicas", 1), status.get("replicas", 0)
    ready, updated = status.get("readyReplicas", 0), status.get("updatedReplicas", 0)
    if wanted == 0 and not exist:
        reason = conditions.SUSPENDED if suspended else conditions.SCALED_TO_ZERO
        message = "spec.suspend is true: no pods run." if suspended else "spec.replicas is 0: no pods run."
        return Health(False, reason, message)
    if wanted == 0:
        return Health(False, conditions.PROGRESSING, f"{exist} pods are stopping.", exist, ready)
    current = status.get("observedGeneration", 0) >= workload["metadata"].get("generation", 0)
    if current and updated >= wanted and ready >= wanted and exist <= wanted:
        return Health(True, conditions.READY, f"{ready}/{wanted} pods are ready.", exist, ready)
    counts, wrong = f"{ready}/{wanted} pods are ready", first(scene)
    if wrong is None:
        change = "; a change of them is under way" if ready >= wanted else ""
        return Health(False, conditions.PROGRESSING, f"{counts}{change}.", exist, ready)
    return Health(False, wrong.reason, wrong.of(counts).message, exist, ready, wrong.quotes)


def together(parts: Mapping[str, Health]) -> Health:
    """Judge a component by its workloads, named by part: it serves when all do.

    Otherwise the first that fails gives reason and message; one with a problem before one that is under way.
    """
    exist, ready = (sum(getattr(part, count) for part in parts.values()) for count in ("replicas", "ready_replicas"))
    failing = [(name, part) for name, part in parts.items() if not part.ready]
    if not failing:
        growth = next((part.growth for part in parts.values() if part.growth), "")
        message = f"{ready}/{exist} pods are ready. {growth}".rstrip()
        return Health(True, conditions.READY, message, exist, ready, growth=growth)
    name, worst = min(failing, key=lambda named: conditions.urgency(named[1].reason))
    message = worst.message if len(parts) == 1 else f"{name}: {worst.message}"
    unsettled = any(part.unsettled for part in parts.values())
    return Health(False, worst.reason, message, exist, ready, worst.quotes, unsettled)


def failing_job(health: Health, failing: Iterable[Trouble]) -> Health:
    """Judge a component by its failing Jobs too, unless its workloads are in trouble themselves."""
    wrong = next(iter(failing), None)
    if wrong is None or not (health.ready or health.reason == conditions.PROGRESSING):
        return health
    # A Job that the API server gives no pod is seen by no watch.
    unsettled = health.unsettled or wrong.reason != conditions.JOB_FAILED
    return replace(
        health, ready=False, reason=wrong.reason, message=wrong.message, quotes=wrong.quotes, unsettled=unsettled
    )
