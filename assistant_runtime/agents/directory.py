"""The agents there are: those of the settings, for everyone, and each tenant's own."""

from collections.abc import Mapping

from assistant_runtime.errors import StoreUnavailableError
from assistant_runtime.settings.agents import Agent
from assistant_runtime.stores.agents import AgentStore


class Directory:
    """Finds agents: the tenant's own first.

    Parameters
    ----------
    shared
        Agents of every tenant, by name.
    store
        The tenants' own.
    """

    def __init__(self, shared: Mapping[str, Agent], store: AgentStore) -> None:
        self.shared = shared
        self.store = store

    async def find(self, tenant: str, name: str) -> Agent | None:
        """Give the agent of that name; while the store is down, only those that everyone shares."""
        try:
            own = await self.store.get(tenant, name)
        except StoreUnavailableError:
            own = None
        return own.agent if own else self.shared.get(name)

    async def all(self, tenant: str) -> list[tuple[Agent, int]]:
        """Give every agent that the tenant can ask, by name, each with its version; raises StoreUnavailableError.

        Agents that everyone shares have the version 0.
        """
        shared = {name: (agent, 0) for name, agent in self.shared.items()}
        own = {kept.agent.name: (kept.agent, kept.version) for kept in await self.store.list(tenant)}
        return [found for _, found in sorted({**shared, **own}.items())]

    async def names(self, tenant: str) -> list[str]:
        """Give the names of every agent that the tenant can ask; while the store is down, only the shared ones."""
        try:
            return [agent.name for agent, _ in await self.all(tenant)]
        except StoreUnavailableError:
            return sorted(self.shared)
