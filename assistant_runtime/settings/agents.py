"""Named agents that the environment brings along, as a JSON list or a file with one."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_settings import NoDecode

from assistant_runtime.settings.values import Group, problem_lines

AGENT_NAME = r"^[a-z0-9]([a-z0-9_-]{0,46}[a-z0-9])?$"
"""Stands after `agent/` in models' names and after `handoff_to_` in functions' names, which have 64 characters."""

DEFAULT_MAX_STEPS = 10
"""Enough for a few handoffs with some tool calls each; a model that needs more goes in circles."""

AgentName = Annotated[str, Field(pattern=AGENT_NAME)]
ToolName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


class Agent(BaseModel):
    """A named agent: a prompt, a model, and a choice of tools and of agents to hand over to."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "name": "researcher",
                    "description": "Answers questions that need the web.",
                    "prompt": "Search before you answer, and name your sources.",
                    "tools": ["web_search"],
                    "handoffs": [],
                    "max_steps": 6,
                }
            ]
        },
    )

    name: AgentName
    description: str = Field("", max_length=1024, description="Says when other agents hand over to this one.")
    prompt: str = Field(min_length=1, max_length=64 * 1024, description="System prompt.")
    model: str | None = Field(None, min_length=1, max_length=256, description="Model; empty: the default one.")
    tools: tuple[ToolName, ...] | None = Field(
        None, max_length=64, description="The runtime's tools that the agent may use; absent: all; empty: none."
    )
    handoffs: tuple[AgentName, ...] = Field((), max_length=32, description="Agents that this one may hand over to.")
    max_steps: int = Field(
        DEFAULT_MAX_STEPS,
        ge=1,
        le=100,
        description="How many times a turn calls a model; the last call has no tools.",
    )


_AGENTS: TypeAdapter[tuple[Agent, ...]] = TypeAdapter(tuple[Agent, ...])


def parse_agents(value: Any) -> Any:
    """Read a JSON list of agents; leave anything else to validation.

    Raises
    ------
    ValueError
        It is no such list; the message names each field.
    """
    if not isinstance(value, str | bytes):
        return value
    try:
        return _AGENTS.validate_json(value) if value.strip() else ()
    except ValidationError as error:
        raise ValueError(f"write a JSON list of agents; {'; '.join(problem_lines(error))}") from None


AgentList = Annotated[tuple[Agent, ...], NoDecode, BeforeValidator(parse_agents)]


class AgentsGroup(Group):
    """Named agents."""

    agents: AgentList = Field(
        (),
        description=(
            'Agents that every tenant can use, a JSON list of {"name", "description", "prompt", "model", '
            '"tools", "handoffs", "max_steps"}.'
        ),
    )
    agents_file: str | None = Field(None, description="File with such a list; if both name an agent, AGENTS wins.")

    def configured_agents(self) -> dict[str, Agent]:
        """Give the agents of both, by name.

        Raises
        ------
        ValueError
            The file can't be used.
        """
        listed: tuple[Agent, ...] = ()
        if self.agents_file:
            try:
                listed = parse_agents(Path(self.agents_file).read_bytes())
            except OSError:
                raise ValueError("the file can't be read") from None
        return {agent.name: agent for agent in (*listed, *self.agents)}

    def problems(self) -> Iterable[str]:
        """Say what does not fit together."""
        try:
            found = self.configured_agents()
        except ValueError as error:
            yield f"AGENTS_FILE: {error}"
            return
        names = [agent.name for agent in self.agents]
        if len(names) != len(set(names)):
            yield f"AGENTS: give each agent a name of its own; these are in use: {', '.join(sorted(names))}"
        for agent in found.values():
            for name in agent.handoffs:
                if name not in found:
                    yield f"AGENTS: agent {agent.name} hands over to {name}, and there is no such agent"
