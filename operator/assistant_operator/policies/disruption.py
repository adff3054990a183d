"""The PodDisruptionBudget of the runtime: a node drain takes its pods one by one."""

from assistant_operator import labels, names
from assistant_operator.assistant import AIAssistant
from assistant_operator.manifests import Object, new_object

_COMPONENT = "runtime"


def objects(assistant: AIAssistant) -> list[Object]:
    """Build the budget; none for fewer than two replicas, where it could only block a drain for ever."""
    if assistant.spec.replicas <= 1:
        return []
    budget = assistant.spec.pod_disruption_budget
    unavailable = 1 if budget.min_available is None and budget.max_unavailable is None else budget.max_unavailable
    spec = {
        "selector": {"matchLabels": labels.selector(assistant.name, _COMPONENT)},
        "minAvailable": budget.min_available,
        "maxUnavailable": unavailable,
    }
    name = names.child(assistant.name, _COMPONENT)
    return [new_object("policy/v1", "PodDisruptionBudget", name, assistant, _COMPONENT, spec=spec)]
