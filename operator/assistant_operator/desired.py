"""From an assistant and the facts to everything that should exist: one explicit list of rooms, and no cluster.

A component makes objects of its own and may offer a binding; a policy adds objects that dress the components.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from assistant_operator import manifests
from assistant_operator.assistant import AIAssistant
from assistant_operator.binding import Bindings
from assistant_operator.components import redis, runtime
from assistant_operator.components.base import Component, Reference
from assistant_operator.credentials import Credential
from assistant_operator.facts import Facts
from assistant_operator.manifests import Object
from assistant_operator.policies import disruption, ingress

COMPONENTS: tuple[Component, ...] = (redis.COMPONENT, runtime.COMPONENT)
POLICIES: tuple[Callable[[AIAssistant], list[Object]], ...] = (ingress.objects, disruption.objects)

KIND_ORDER = (
    "ServiceAccount",
    "ConfigMap",
    "Service",
    "StatefulSet",
    "Deployment",
    "PodDisruptionBudget",
    "Ingress",
)
"""Every kind that is rendered, in the order of application: what a pod needs comes before it."""


@dataclass(frozen=True)
class Desired:
    """Everything that should exist for one assistant, in the order of application."""

    objects: list[Object]
    immutable: Mapping[tuple[str, str], Mapping[str, str]]
    """By kind and name of a workload: the field of the AIAssistant behind each part that can't be changed later."""


def enabled(assistant: AIAssistant) -> tuple[Component, ...]:
    """Return the components that the spec turns on."""
    return tuple(component for component in COMPONENTS if component.enabled(assistant.spec))


def credentials(assistant: AIAssistant) -> list[Credential]:
    """Return the Secrets to generate."""
    return [credential for component in enabled(assistant) for credential in component.credentials(assistant)]


def references(assistant: AIAssistant) -> list[Reference]:
    """Return the user's Secrets that must exist."""
    return [reference for component in enabled(assistant) for reference in component.references(assistant)]


def desired(assistant: AIAssistant, facts: Facts) -> Desired:
    """Render everything that should exist, owned by the assistant, generated Secrets excepted."""
    components = enabled(assistant)
    bindings: Bindings = {component.name: component.binding(assistant) for component in components if component.binding}
    rendered = [found for component in components for found in component.objects(assistant, facts, bindings)]
    rendered += [found for policy in POLICIES for found in policy(assistant)]
    for found in rendered:
        found["metadata"]["ownerReferences"] = [manifests.owner_reference(assistant)]
    rendered.sort(key=lambda found: (KIND_ORDER.index(found["kind"]), found["metadata"]["name"]))
    return Desired(rendered, {component.workload(assistant): component.immutable for component in components})
