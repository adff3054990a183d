"""What every component is: a room of pure functions, given the same inputs and trusted with the same promises."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from assistant_operator.assistant import AIAssistant, AIAssistantSpec, SecretKeyRef
from assistant_operator.binding import Binding, Bindings
from assistant_operator.credentials import Credential
from assistant_operator.facts import Facts
from assistant_operator.manifests import Object


@dataclass(frozen=True)
class Reference:
    """A Secret key of the user's that must exist before anything is applied; `field` is where the spec names it."""

    field: str
    secret: SecretKeyRef


def _no_credentials(_: AIAssistant) -> Sequence[Credential]:
    return ()


def _no_references(_: AIAssistant) -> Sequence[Reference]:
    return ()


@dataclass(frozen=True)
class Component:
    """A part of the stack that owns a workload."""

    name: str
    """Label value and suffix of object names."""
    condition: str
    """Type of the condition that reports its health, such as RedisReady."""
    workload: Callable[[AIAssistant], tuple[str, str]]
    """Kind and name of the workload whose health is the component's."""
    objects: Callable[[AIAssistant, Facts, Bindings], list[Object]]
    """Every object of the component, sparse."""
    enabled: Callable[[AIAssistantSpec], bool] = lambda _: True
    binding: Callable[[AIAssistant], Binding] | None = None
    """How other components reach it."""
    credentials: Callable[[AIAssistant], Sequence[Credential]] = _no_credentials
    """Secrets to generate for it."""
    references: Callable[[AIAssistant], Sequence[Reference]] = _no_references
    """The user's Secrets that it reads."""
    immutable: dict[str, str] = field(default_factory=dict)
    """Field of the spec behind each part of the workload that Kubernetes never changes, by that part's path."""
