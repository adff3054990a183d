"""What every policy is: a room that dresses the components' output, and says how that is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from assistant_operator import conditions
from assistant_operator.conditions import Condition, condition
from assistant_operator.rooms.binding import Bindings
from assistant_operator.rooms.facts import Facts
from assistant_operator.rooms.manifests import Object
from assistant_operator.spec.assistant import AIAssistant, AIAssistantSpec
from assistant_operator.spec.base import KeyRef

Lookup = Callable[[str, str], Object | None]
"""Gives the object of a kind and name in the assistant's namespace as the watches saw it."""


def _no_references(_: AIAssistant) -> Sequence[KeyRef]:
    return ()


def _nothing_to_say(_: AIAssistant, __: Lookup) -> Condition | None:
    return None


@dataclass(frozen=True)
class Policy:
    """A part of the stack that runs nothing itself."""

    name: str
    objects: Callable[[AIAssistant, Facts, Bindings, Sequence[Object]], list[Object]]
    """Every object of the policy, sparse; given all that the components and operations render."""
    enabled: Callable[[AIAssistantSpec], bool] = lambda _: True
    condition: str | None = None
    """Type of the condition that reports it, such as IngressReady."""
    kinds: Sequence[str] = field(default=())
    """Kinds of its objects that a cluster may not serve; without one of them it renders nothing, and says so."""
    references: Callable[[AIAssistant], Sequence[KeyRef]] = _no_references
    """Keys of Secrets and ConfigMaps that others read for it. A pass does not wait for them; their change wakes it."""
    assess: Callable[[AIAssistant, Lookup], Condition | None] = _nothing_to_say
    """How its objects are, by what the watches saw; None where nothing can be wrong with them."""

    def rendered(
        self, assistant: AIAssistant, facts: Facts, bindings: Bindings, others: Sequence[Object]
    ) -> list[Object]:
        """Return its objects, none where it is off or can't be."""
        if not self.enabled(assistant.spec) or self._unserved(facts):
            return []
        return self.objects(assistant, facts, bindings, others)

    def assessed(self, assistant: AIAssistant, facts: Facts, seen: Lookup) -> Condition | None:
        """Return its condition, None where it has none."""
        if not self.enabled(assistant.spec):
            return None
        if self.condition and (unserved := self._unserved(facts)):
            message = (
                f"This cluster serves no {', '.join(unserved)}. Install the CustomResourceDefinition of that kind, or "
                f"turn {self.name} off. This is noticed within seconds."
            )
            return condition(self.condition, False, conditions.API_NOT_INSTALLED, message)
        return self.assess(assistant, seen)

    def _unserved(self, facts: Facts) -> list[Any]:
        return [kind for kind in self.kinds if not facts.serves(kind)]
