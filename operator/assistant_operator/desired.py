"""From an assistant and the facts to everything that should exist: one explicit list of rooms, and no cluster.

A component makes objects of its own and may offer a binding; a policy adds objects that dress the components.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from assistant_operator import manifests
from assistant_operator.assistant import AIAssistant
from assistant_operator.binding import Binding, Bindings
from assistant_operator.components import redis, runtime, ui
from assistant_operator.components.base import Component, Reference, ReferencedKind
from assistant_operator.credentials import Credential
from assistant_operator.facts import Facts
from assistant_operator.manifests import Object
from assistant_operator.policies import disruption, ingress
from assistant_operator.spec.base import OperatorRef

COMPONENTS: tuple[Component, ...] = (redis.COMPONENT, runtime.COMPONENT, ui.COMPONENT)
POLICIES: tuple[Callable[[AIAssistant], list[Object]], ...] = (ingress.objects, disruption.objects)

KIND_ORDER = (
    "ServiceAccount",
    "ConfigMap",
    "Service",
    "StatefulSet",
    "Deployment",
    "Job",
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


def managed(assistant: AIAssistant) -> tuple[Component, ...]:
    """Return the components that the spec turns on and that this operator runs."""
    return tuple(component for component in enabled(assistant) if component.mode(assistant.spec) == "Managed")


def binding(component: Component, assistant: AIAssistant, facts: Facts) -> Binding | None:
    """Return how other components reach this one, whoever runs it; None where nobody does."""
    backend = component.backend(assistant.spec)
    if backend is None or backend.mode == "Managed":
        return component.binding(assistant) if component.binding else None
    if backend.mode == "External":
        return component.external(component.external_block(assistant.spec))
    kind = referenced_kind(component, assistant)
    return kind.binding(facts.referenced.get(component.name) or _unseen(component, assistant))


def operator_ref(component: Component, assistant: AIAssistant) -> OperatorRef | None:
    """Return the object of another operator that stands for a component, None where none does."""
    backend = component.backend(assistant.spec)
    return getattr(backend, "operator_ref", None) if backend and backend.mode == "OperatorRef" else None


def referenced_kind(component: Component, assistant: AIAssistant) -> ReferencedKind:
    """Return what is known of the kind that a component's `operatorRef` names; the spec's rules promise that it is."""
    named = operator_ref(component, assistant)
    return next(kind for kind in component.referenced if named and (kind.group, kind.kind) == (named.group, named.kind))


def _unseen(component: Component, assistant: AIAssistant) -> Object:
    """Return as much of an object as its reference tells, for rendering without a cluster."""
    named = operator_ref(component, assistant)
    name = named.name if named else ""
    return {"metadata": {"name": name, "namespace": assistant.namespace}, "spec": {}, "status": {}}


def credentials(assistant: AIAssistant) -> list[Credential]:
    """Return the Secrets to generate."""
    return [credential for component in managed(assistant) for credential in component.credentials(assistant)]


def references(assistant: AIAssistant, facts: Facts) -> list[Reference]:
    """Return the user's Secrets that must exist, those of other operators' objects included."""
    found = [reference for component in enabled(assistant) for reference in component.references(assistant)]
    for component in enabled(assistant):
        if server := component.external_block(assistant.spec):
            found += [Reference(f"{component.block}.external.{name}", secret) for name, secret in server.secrets()]
        elif operator_ref(component, assistant) and (bound := binding(component, assistant, facts)):
            found += [Reference(f"{component.block}.operatorRef", secret) for secret in bound.secrets()]
    return found


def desired(assistant: AIAssistant, facts: Facts) -> Desired:
    """Render everything that should exist, owned by the assistant, generated Secrets excepted."""
    bindings: Bindings = {
        component.name: bound
        for component in enabled(assistant)
        if (bound := binding(component, assistant, facts)) is not None
    }
    components = managed(assistant)
    rendered = [found for component in components for found in component.objects(assistant, facts, bindings)]
    rendered += [found for policy in POLICIES for found in policy(assistant)]
    for found in rendered:
        found["metadata"]["ownerReferences"] = [manifests.owner_reference(assistant)]
    rendered.sort(key=lambda found: (KIND_ORDER.index(found["kind"]), found["metadata"]["name"]))
    return Desired(rendered, {component.workload(assistant): component.immutable for component in components})
