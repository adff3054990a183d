"""What every operation is: a room whose work has an end, done by Jobs that are rendered from facts."""

from collections.abc import Callable
from dataclasses import dataclass

from assistant_operator.rooms.component import Component
from assistant_operator.rooms.facts import Facts
from assistant_operator.rooms.manifests import Object
from assistant_operator.spec.assistant import AIAssistant


@dataclass(frozen=True)
class Operation:
    """Something that is done for components, again and again or once."""

    name: str
    """Suffix of the label value of its pods, after the component's: redis-cluster-setup."""
    objects: Callable[[Component, AIAssistant, Facts], list[Object]]
    """Its Jobs for one managed component. A Job that fails shows in that component's condition."""
