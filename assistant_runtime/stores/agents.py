"""Tenants' agents: what every store of them promises.

Each change of an agent is its next version, and who says which version is to be replaced replaces no other: of two
replicas that change one agent at once, one learns that it was late.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from assistant_runtime.settings.agents import Agent


@dataclass(frozen=True, slots=True)
class KeptAgent:
    """An agent of a tenant's own."""

    agent: Agent
    version: int
    """1 for a new one, and one more with each change."""


class AgentStore(Protocol):
    """Keeps each tenant's agents; every method raises StoreUnavailableError."""

    async def get(self, tenant: str, name: str) -> KeptAgent | None:
        """Give an agent."""

    async def names(self, tenant: str) -> Sequence[str]:
        """Give the names of the tenant's agents, in order: without their prompts, which may be long."""

    async def list(self, tenant: str, limit: int, after: str = "") -> Sequence[KeptAgent]:
        """Give at most so many of the tenant's agents, by name, behind the name `after`."""

    async def put(self, tenant: str, agent: Agent, expected: int | None = None) -> int | None:
        """Keep an agent in the place of the version `expected`, and give its version now.

        With 0 there must be none of its name; with None it takes the place of whatever is there. Gives None, and keeps
        nothing, where another version is there.
        """

    async def delete(self, tenant: str, name: str, expected: int | None = None) -> bool:
        """Forget an agent, of the version `expected` or of any; whether there was such a one."""
