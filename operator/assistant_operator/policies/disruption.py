"""PodDisruptionBudgets: a node drain takes the pods of one workload one by one."""

from collections.abc import Sequence

from assistant_operator import labels
from assistant_operator.rooms.binding import Bindings
from assistant_operator.rooms.facts import Facts
from assistant_operator.rooms.manifests import Object, new_object
from assistant_operator.rooms.policy import Policy
from assistant_operator.spec.assistant import AIAssistant

_RUNTIME = "runtime"


def _objects(assistant: AIAssistant, _: Facts, __: Bindings, rendered: Sequence[Object]) -> list[Object]:
    """Build a budget for each workload with several pods; for a single pod it could only block a drain for ever."""
    return [_budget(assistant, workload) for workload in rendered if workload.get("spec", {}).get("replicas", 0) > 1]


def _budget(assistant: AIAssistant, workload: Object) -> Object:
    metadata, selector = workload["metadata"], workload["spec"]["selector"]
    component = metadata["labels"][labels.COMPONENT]
    spec = {"selector": selector, **(_runtime(assistant) if component == _RUNTIME else {"maxUnavailable": 1})}
    return new_object("policy/v1", "PodDisruptionBudget", metadata["name"], assistant, component, spec=spec)


def _runtime(assistant: AIAssistant) -> Object:
    budget = assistant.spec.pod_disruption_budget
    unavailable = 1 if budget.min_available is None and budget.max_unavailable is None else budget.max_unavailable
    return {"minAvailable": budget.min_available, "maxUnavailable": unavailable}


POLICY = Policy(name="disruption", objects=_objects)
