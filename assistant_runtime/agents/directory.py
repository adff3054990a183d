"""The agents there are: those of the settings, for everyone, and each tenant's own."""

from collections.abc import Mapping

from assistant_runtime.errors import StoreUnavailableError
from assistant_runtime.security.principal import Principal
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

    async def find(self, principal: Principal, name: str) -> Agent | None:
        """Give the agent of that name; without the scope `agents`, or the store, only one that everyone shares."""
        if "agents" not in principal.scopes:
            return self.shared.get(name)
        try:
            own = await self.store.get(principal.tenant, name)
        except StoreUnavailableError:
            own = None
        return own.agent if own else self.shared.get(name)

    def is_shared(self, agent: Agent) -> bool:
        """Whether an agent that was found is everyone's, and not a tenant's own of the same name."""
        return self.shared.get(agent.name) is agent

    async def page(self, tenant: str, limit: int, after: str) -> list[tuple[Agent, int]]:
        """Give agents that the tenant can ask, by name, behind the name `after`; raises StoreUnavailableError.

        Agents that everyone shares have the version 0.
        """
        shared = {name: (agent, 0) for name, agent in self.shared.items() if name > after}
        own = {kept.agent.name: (kept.agent, kept.version) for kept in await self.store.list(tenant, limit, after)}
        return [found for _, found in sorted({**shared, **own}.items())][:limit]

    async def names(self, principal: Principal) -> list[str]:
        """Give the names of every agent that a key may ask, as `find` does."""
        if "agents" not in principal.scopes:
            return sorted(self.shared)
        try:
            return sorted({*self.shared, *await self.store.names(principal.tenant)})
        except StoreUnavailableError:
            return sorted(self.shared)
