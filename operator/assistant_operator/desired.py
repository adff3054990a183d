"""From an assistant and the facts to everything that should exist: one explicit list of rooms, and no cluster.

A component makes objects of its own and may offer a binding; a policy adds objects that dress the components.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from assistant_operator.components import (
    firecrawl,
    milvus,
    mongodb,
    postgresql,
    redis,
    reranker,
    runtime,
    searxng,
    ui,
)
from assistant_operator.kinds import APPLIED
from assistant_operator.operations import setup
from assistant_operator.policies import disruption, ingress
from assistant_operator.rooms import manifests
from assistant_operator.rooms.binding import Binding, Bindings
from assistant_operator.rooms.component import Component, ReferencedObject
from assistant_operator.rooms.connection import Connection
from assistant_operator.rooms.credentials import Credential
from assistant_operator.rooms.facts import Facts
from assistant_operator.rooms.manifests import Object
from assistant_operator.rooms.operation import Operation
from assistant_operator.rooms.policy import Policy
from assistant_operator.rooms.reference import Reference
from assistant_operator.spec.assistant import AIAssistant
from assistant_operator.spec.base import KeyRef, OperatorRef

COMPONENTS: tuple[Component, ...] = (
    redis.COMPONENT,
    mongodb.COMPONENT,
    postgresql.COMPONENT,
    milvus.COMPONENT,
    searxng.COMPONENT,
    firecrawl.COMPONENT,
    reranker.COMPONENT,
    runtime.COMPONENT,
    ui.COMPONENT,
)
OPERATIONS: tuple[Operation, ...] = (setup.OPERATION,)
POLICIES: tuple[Policy, ...] = (ingress.POLICY, disruption.POLICY)

_ORDER = {kind: number for number, kind in enumerate(APPLIED)}


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
    named = referenced_object(component, assistant)
    return named.binding(facts.referenced.get(component.name) or _unseen(named, assistant)) if named else None


def all_bindings(assistant: AIAssistant, facts: Facts) -> Bindings:
    """Return how the components that are enabled reach each other."""
    found = {component.name: binding(component, assistant, facts) for component in enabled(assistant)}
    return {name: bound for name, bound in found.items() if bound is not None}


def connections(assistant: AIAssistant, facts: Facts) -> list[Connection]:
    """Return every connection that the assistant's pods open."""
    bindings = all_bindings(assistant, facts)
    return [found for component in managed(assistant) for found in component.connections(assistant, bindings)]


def referenced_object(component: Component, assistant: AIAssistant) -> ReferencedObject | None:
    """Return the object of another operator that stands for a component, None where none does."""
    ref: OperatorRef | None = getattr(component.backend(assistant.spec), "operator_ref", None)
    if ref is None:
        return None
    # The spec's rules promise that the kind is one of these.
    kind = next(kind for kind in component.referenced if (kind.group, kind.kind) == (ref.group, ref.kind))
    return ReferencedObject(f"{component.block}.operatorRef", kind, ref)


def referenced_objects(assistant: AIAssistant) -> dict[str, ReferencedObject]:
    """Return the objects of other operators that stand for components, by component."""
    found = {component.name: referenced_object(component, assistant) for component in enabled(assistant)}
    return {name: named for name, named in found.items() if named}


def _unseen(named: ReferencedObject, assistant: AIAssistant) -> Object:
    """Return as much of an object as its reference tells, for rendering without a cluster."""
    return {"metadata": {"name": named.name, "namespace": assistant.namespace}, "spec": {}, "status": {}}


def credentials(assistant: AIAssistant) -> list[Credential]:
    """Return the Secrets to generate."""
    return [credential for component in managed(assistant) for credential in component.credentials(assistant)]


def references(assistant: AIAssistant, facts: Facts) -> list[Reference]:
    """Return the user's Secrets and ConfigMaps that must exist, those of other operators' objects included."""
    found = [reference for component in enabled(assistant) for reference in component.references(assistant)]
    for component in enabled(assistant):
        if server := component.external_block(assistant.spec):
            found += [Reference(f"{component.block}.external.{name}", key) for name, key in server.references()]
        elif (named := referenced_object(component, assistant)) and (bound := binding(component, assistant, facts)):
            given = {key: f"{named.field}.{name}" for name, key in named.ref.references()}
            found += [
                Reference(given[key], key) if key in given else Reference(named.field, key, named.kind.operator)
                for key in bound.references()
            ]
    return found


def awaited(assistant: AIAssistant) -> list[KeyRef]:
    """Return the Secrets and ConfigMaps that others read for a policy, whose changes have it assessed anew."""
    policies = (policy for policy in POLICIES if policy.enabled(assistant.spec))
    return [key for policy in policies for key in policy.references(assistant)]


def desired(assistant: AIAssistant, facts: Facts) -> Desired:
    """Render everything that should exist, owned by the assistant, generated Secrets excepted."""
    bindings = all_bindings(assistant, facts)
    components = managed(assistant)
    rendered = [found for component in components for found in component.objects(assistant, facts, bindings)]
    for operation in OPERATIONS:
        rendered += [found for component in components for found in operation.objects(component, assistant, facts)]
    rendered += [found for policy in POLICIES for found in policy.rendered(assistant, facts, bindings, rendered)]
    for found in rendered:
        found["metadata"]["ownerReferences"] = [manifests.owner_reference(assistant)]
    rendered.sort(key=lambda found: (_ORDER[found["kind"]], found["metadata"]["name"]))
    workloads = [workload for component in components for workload in component.workloads(assistant)]
    return Desired(rendered, {(workload.kind, workload.name): workload.immutable for workload in workloads})
