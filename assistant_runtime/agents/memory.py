"""Tenants' agents in this process: the default without a database. They are gone when it ends."""

from collections.abc import Sequence

from assistant_runtime.settings.agents import Agent

MAX_TENANTS = 10_000
"""Tenants that are remembered at once; the one that was changed longest ago goes first."""


class MemoryAgents:
    """Agents by tenant and name."""

    def __init__(self) -> None:
        self._agents: dict[str, dict[str, Agent]] = {}

    async def get(self, tenant: str, name: str) -> Agent | None:
        """Give an agent."""
        return self._agents.get(tenant, {}).get(name)

    async def list(self, tenant: str) -> Sequence[Agent]:
        """Give the tenant's agents, by name."""
        return [agent for _, agent in sorted(self._agents.get(tenant, {}).items())]

    async def put(self, tenant: str, agent: Agent) -> bool:
        """Keep an agent in the place of any of its name; whether it is new."""
        own = self._agents.pop(tenant, {})
        new = agent.name not in own
        own[agent.name] = agent
        self._agents[tenant] = own
        if len(self._agents) > MAX_TENANTS:
            self._agents.pop(next(iter(self._agents)))
        return new

    async def delete(self, tenant: str, name: str) -> bool:
        """Forget an agent; whether there was one."""
        return self._agents.get(tenant, {}).pop(name, None) is not None
