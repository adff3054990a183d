"""How agents are named and found.

An agent answers in the place of a bare model. It may hand the conversation over to another: the model sees a function
`handoff_to_NAME` for each agent that it may hand over to.
"""

from typing import Protocol

from assistant_runtime.security.principal import Principal
from assistant_runtime.settings.agents import Agent

HANDOFF_PREFIX = "handoff_to_"

MODEL_PREFIX = "agent/"
"""A chat that names the model `agent/NAME` asks that agent."""


class AgentDirectory(Protocol):
    """Finds agents."""

    async def find(self, principal: Principal, name: str) -> Agent | None:
        """Give the agent of that name that a key may ask, else None."""

    def is_shared(self, agent: Agent) -> bool:
        """Whether an agent that was found is everyone's, and not a tenant's own of the same name."""
