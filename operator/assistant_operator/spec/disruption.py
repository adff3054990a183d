"""The block `podDisruptionBudget`."""

from assistant_operator.spec.base import Model
from assistant_operator.spec.rules import Rule
from assistant_operator.spec.values import Amount


class PodDisruptionBudget(Model):
    """How many runtime pods a voluntary disruption, such as a node drain, may take at once."""

    rules = (
        Rule(
            cel="!(has(self.minAvailable) && has(self.maxUnavailable))",
            message="spec.podDisruptionBudget: give minAvailable or maxUnavailable, not both",
            holds=lambda budget: budget.min_available is None or budget.max_unavailable is None,
        ),
    )

    min_available: Amount | None = None
    """Pods that must stay available."""
    max_unavailable: Amount | None = None
    """Pods that may be unavailable. Default, with neither given: 1."""
