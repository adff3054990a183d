"""What a tool is: a name and a JSON Schema for the model, and something to run.

A tool returns text for the model and the sources that it comes from. What the model should know when it does not work
is a ToolError; the loop that runs tools adds timeouts, budgets, the fence around the text, and the record of what ran,
so that no tool has to.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self, TypeVar, runtime_checkable

from pydantic import BaseModel, ConfigDict, ValidationError

from assistant_runtime.checks import Check
from assistant_runtime.errors import ToolError
from assistant_runtime.providers.base import Payer
from assistant_runtime.security.principal import Scope
from assistant_runtime.settings.values import problem_lines


@dataclass(frozen=True, slots=True)
class Source:
    """Where a piece of a tool's text comes from, as the client is told."""

    title: str
    url: str = ""
    """Address of a page; empty for a document of the tenant's own."""
    document_id: str = ""
    """Id of a document under /v1/documents; empty for a page."""
    span: tuple[int, int] | None = None
    """First and one past the last character of the passage in the document."""
    snippet: str = ""
    """The passage, or its beginning."""


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool gives to the model.

    In `text`, `[[1]]` stands for the first of `sources`, `[[2]]` for the second: the loop puts in the numbers that the
    sources have in the whole answer.
    """

    text: str
    sources: tuple[Source, ...] = ()


@dataclass(frozen=True, slots=True)
class ToolCall:
    """For whom a tool runs, and within which bounds.

    The loop cancels a call at its deadline and cuts its text to `max_bytes`; a tool that can do better with less time
    or less room looks here.
    """

    tenant: str
    request_id: str
    account: Payer
    """Pays for models that the tool asks."""
    deadline: float
    """When the call ends, on the event loop's clock, in seconds."""
    max_bytes: int
    """How much text (UTF-8) the model will get of it."""


class Tool(Protocol):
    """Something that a model can call."""

    name: str
    """At most 64 letters, digits, `_` and `-`."""
    description: str
    """Tells the model when to call it."""
    scope: Scope | None
    """What a key needs beside `chat` for a model to be offered it; None: nothing."""

    @property
    def parameters(self) -> Mapping[str, Any]:
        """JSON Schema of the arguments: an object."""

    async def run(self, arguments: Mapping[str, Any], call: ToolCall) -> ToolResult:
        """Run with the model's arguments, which nothing has checked yet.

        Raises
        ------
        ToolError
            It did not work; the text is told to the model, and holds no secret.
        """


class Toolset(Protocol):
    """Tools that come together, such as those of one server; `async with` opens and closes what they need."""

    async def __aenter__(self) -> Self:
        """Open what calls need; does not wait for a server."""

    async def __aexit__(self, *_: object) -> None:
        """Close every connection."""

    def tools(self) -> Sequence[Tool]:
        """Give the tools that can be called now, from memory."""


@runtime_checkable
class Watched(Check, Protocol):
    """A toolset that knows, from memory, whether its server answers."""

    @property
    def check_name(self) -> str:
        """The name of its check in /ready, and of what `watch` does in the background."""

    async def watch(self) -> None:
        """Find out whether its server answers, until cancelled; it is open meanwhile."""


class Arguments(BaseModel):
    """Base of a tool's arguments: the fields' descriptions are for the model."""

    model_config = ConfigDict(extra="ignore", frozen=True)


A = TypeVar("A", bound=Arguments)


def parse_arguments(model: type[A], arguments: Mapping[str, Any]) -> A:
    """Check a model's arguments.

    Raises
    ------
    ToolError
        They do not fit; the text names each field.
    """
    try:
        return model.model_validate(arguments)
    except ValidationError as error:
        raise ToolError(f"the arguments do not fit: {'; '.join(problem_lines(error))}") from None


def parameters_of(model: type[Arguments]) -> dict[str, Any]:
    """Give the JSON Schema of a tool's arguments, without the titles that pydantic adds."""
    schema = model.model_json_schema()
    properties = {
        name: {key: value for key, value in found.items() if key != "title"}
        for name, found in schema["properties"].items()
    }
    return {"type": "object", "properties": properties, "required": schema.get("required", [])}
