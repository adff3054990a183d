"""Tenants' agents in this process: the default without a server. They are gone when it ends."""

from collections.abc import Sequence

from assistant_runtime.settings.agents import Agent
from assistant_runtime.stores.agents import KeptAgent

MAX_TENANTS = 10_000
"""Tenants that are remembered at once; the one that was changed longest ago goes first."""


class MemoryAgents:
    """Agents by tenant and name."""

    def __init__(self) -> None:
        self._agents: dict[str, dict[str, KeptAgent]] = {}

    async def get(self, tenant: str, name: str) -> KeptAgent | None:
        """Give an agent."""
        return self._agents.get(tenant, {}).get(name)

    async def names(self, tenant: str) -> Sequence[str]:
        """Give the names of the tenant's agents, in order."""
        return sorted(self._agents.get(tenant, {}))

    async def list(self, tenant: str, limit: int, after: str = "") -> Sequence[KeptAgent]:
        """Give at most so many of the tenant's agents, by name, behind the name `after`."""
        own = self._agents.get(tenant, {})
        return [own[name] for name in sorted(own) if name > after][:limit]

    async def put(self, tenant: str, agent: Agent, expected: int | None = None) -> int | None:
        """Keep an agent in the place of the version `expected`, and give its version now."""
        known = self._agents.get(tenant, {}).get(agent.name)
        version = known.version if known else 0
        if expected not in {None, version}:
            return None
        own = self._agents.pop(tenant, {})
        own[agent.name] = KeptAgent(agent, version + 1)
        self._agents[tenant] = own
        if len(self._agents) > MAX_TENANTS:
            self._agents.pop(next(iter(self._agents)))
        return version + 1

    async def delete(self, tenant: str, name: str, expected: int | None = None) -> bool:
        """Forget an agent, of the version `expected` or of any; whether there was such a one."""
        known = self._agents.get(tenant, {}).get(name)
        if known is None or expected not in {None, known.version}:
            return False
        del self._agents[tenant][name]
        return True
