"""What every component is: a room of pure functions, given the same inputs and trusted with the same promises."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from assistant_operator.health.workload import Health
from assistant_operator.rooms.binding import Binding, Bindings, external
from assistant_operator.rooms.connection import Connection
from assistant_operator.rooms.credentials import Credential
from assistant_operator.rooms.facts import Facts
from assistant_operator.rooms.manifests import Object
from assistant_operator.rooms.reference import Reference
from assistant_operator.rooms.setup import Setup
from assistant_operator.spec.assistant import AIAssistant, AIAssistantSpec
from assistant_operator.spec.base import Backend, External, Mode, OperatorRef


def _no_problem(_: Mapping[str, Any], __: Any) -> str | None:
    return None


def _as_the_object_says(bound: Binding, _: Any) -> Binding:
    return bound


@dataclass(frozen=True)
class ReferencedKind:
    """A kind of another operator whose objects can stand for a component. Pure functions read such an object."""

    group: str
    """API group, such as postgresql.cnpg.io."""
    kind: str
    plural: str
    operator: str
    """The operator that serves the kind, as its users call it."""
    binding: Callable[[Mapping[str, Any]], Binding]
    """How clients reach what the object stands for."""
    health: Callable[[Mapping[str, Any]], Health]
    """What the object's status says."""
    problem: Callable[[Mapping[str, Any], Any], str | None] = _no_problem
    """What keeps the runtime from using the object, and what to do; given the `operatorRef` too."""
    completed: Callable[[Binding, Any], Binding] = _as_the_object_says
    """The binding with what the `operatorRef` adds to it, where the object does not say everything."""

    @property
    def crd(self) -> str:
        """Name of the CustomResourceDefinition."""
        return f"{self.plural}.{self.group}"


@dataclass(frozen=True)
class ReferencedObject:
    """An object of another operator that the spec names."""

    field: str
    """Where the spec names it, such as spec.postgresql.operatorRef."""
    kind: ReferencedKind
    ref: OperatorRef

    @property
    def name(self) -> str:
        """Name of the object."""
        return self.ref.name

    def binding(self, body: Mapping[str, Any]) -> Binding:
        """Return how clients reach what the object stands for."""
        return self.kind.completed(self.kind.binding(body), self.ref)

    def problem(self, body: Mapping[str, Any]) -> str | None:
        """Return what keeps the runtime from using the object, and what to do; None where nothing does."""
        return self.kind.problem(body, self.ref)


def _no_credentials(_: AIAssistant) -> Sequence[Credential]:
    return ()


def _no_references(_: AIAssistant) -> Sequence[Reference]:
    return ()


def _no_setups(_: AIAssistant, __: Facts) -> Sequence[Setup]:
    return ()


def _no_connections(_: AIAssistant, __: Bindings) -> Sequence[Connection]:
    return ()


def _always_managed(_: AIAssistantSpec) -> Backend | None:
    return None


@dataclass(frozen=True)
class Workload:
    """A Deployment or StatefulSet of a component."""

    kind: str
    name: str
    part: str
    """Label value of its pods: the component's name, or one that begins with it where a component has several."""
    immutable: Mapping[str, str] = field(default_factory=dict)
    """Field of the spec behind each part of it that Kubernetes never changes, by that part's path."""


@dataclass(frozen=True)
class Component:
    """A part of the stack: a workload of this operator's, or what stands for one."""

    name: str
    """Label value and suffix of object names."""
    condition: str
    """Type of the condition that reports its health, such as RedisReady."""
    workloads: Callable[[AIAssistant], Sequence[Workload]]
    """The workloads whose health together is the component's, where it is managed."""
    objects: Callable[[AIAssistant, Facts, Bindings], list[Object]]
    """Every object of the managed component, sparse."""
    enabled: Callable[[AIAssistantSpec], bool] = lambda _: True
    block: str = "spec"
    """Path of the block of the spec that describes it, such as spec.redis."""
    backend: Callable[[AIAssistantSpec], Backend | None] = _always_managed
    """That block, where it chooses between managed, operatorRef and external."""
    binding: Callable[[AIAssistant], Binding] | None = None
    """How other components reach it where it is managed."""
    external: Callable[[Any], Binding] = external
    """How other components reach it where it runs elsewhere; given the `external` block."""
    referenced: Sequence[ReferencedKind] = ()
    """Kinds that its `operatorRef` may name."""
    credentials: Callable[[AIAssistant], Sequence[Credential]] = _no_credentials
    """Secrets to generate for it where it is managed."""
    setups: Callable[[AIAssistant, Facts], Sequence[Setup]] = _no_setups
    """What is done once its servers run, where it is managed."""
    connections: Callable[[AIAssistant, Bindings], Sequence[Connection]] = _no_connections
    """Every connection that its pods and its Jobs open, where it is managed."""
    references: Callable[[AIAssistant], Sequence[Reference]] = _no_references
    """The user's Secrets and ConfigMaps that it reads, besides those of its binding."""

    def mode(self, spec: AIAssistantSpec) -> Mode:
        """Return who runs it."""
        backend = self.backend(spec)
        return backend.mode if backend else "Managed"

    def external_block(self, spec: AIAssistantSpec) -> External | None:
        """Return the `external` block of its backend."""
        return getattr(self.backend(spec), "external", None)
