"""The status: what was seen."""

from typing import Annotated, Literal

from pydantic import Field

from assistant_operator.spec.base import Mode, Model, map_list


class Condition(Model):
    """One observation, as metav1.Condition."""

    type: Annotated[str, Field(max_length=316)]
    """Ready, Reconciling, Stalled, or <Component>Ready."""
    status: Literal["True", "False", "Unknown"]
    """Whether it holds."""
    reason: Annotated[str, Field(max_length=1024)]
    """Machine-readable reason; docs/conditions.md lists them."""
    message: Annotated[str, Field(max_length=32768)]
    """What was seen and, where something is wrong, what to do."""
    last_transition_time: Annotated[str, Field(json_schema_extra={"format": "date-time"})]
    """When `status` last changed."""
    observed_generation: Annotated[int, Field(ge=0, json_schema_extra={"format": "int64"})]
    """Generation of the spec that was looked at."""


class ComponentStatus(Model):
    """One part of the stack."""

    name: str
    """Component, such as runtime or redis."""
    mode: Mode
    """Who runs it: this operator (Managed), another one (OperatorRef), or somebody elsewhere (External)."""
    ready: bool
    """Whether it serves."""
    message: str
    """What was seen."""


class AIAssistantStatus(Model):
    """What was seen."""

    observed_generation: Annotated[int, Field(json_schema_extra={"format": "int64"})] | None = None
    """Generation of the spec that this status describes."""
    phase: str | None = None
    """Summary for people: Pending, Progressing, Ready, Suspended, ScaledToZero or Stalled."""
    url: str | None = None
    """Where the assistant answers."""
    replicas: Annotated[int, Field(json_schema_extra={"format": "int32"})] | None = None
    """Runtime pods that exist."""
    ready_replicas: Annotated[int, Field(json_schema_extra={"format": "int32"})] | None = None
    """Runtime pods that are ready."""
    selector: str | None = None
    """Label selector of the runtime pods, for the scale subresource."""
    version: str | None = None
    """Runtime image that the newest spec asks for."""
    conditions: Annotated[
        list[Condition],
        Field(json_schema_extra=map_list("type")),
    ] = []
    """Ready always; Reconciling and Stalled only while True; one <Component>Ready for each component."""
    components: Annotated[
        list[ComponentStatus],
        Field(json_schema_extra=map_list("name")),
    ] = []
    """The parts of the stack."""
