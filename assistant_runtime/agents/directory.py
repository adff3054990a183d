"""The agents there are: those of the settings, for everyone, and each tenant's own."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from assistant_runtime.errors import StoreUnavailableError
from assistant_runtime.settings.agents import Agent


class AgentStore(Protocol):
    """Keeps each tenant's agents; every method raises StoreUnavailableError."""

    async def get(self, tenant: str, name: str) -> Agent | None:
        """Give an agent."""

    async def list(self, tenant: str) -> Sequence[Agent]:
        """Give the tenant's agents, by name."""

    async def put(self, tenant: str, agent: Agent) -> bool:
        """Keep an agent in the place of any of its name; whether it is new."""

    async def delete(self, tenant: str, name: str) -> bool:
        """Forget an agent; whether there was one."""


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
        return own or self.shared.get(name)

    async def all(self, tenant: str) -> list[Agent]:
        """Give every agent that the tenant can ask, by name; raises StoreUnavailableError."""
        own = {agent.name: agent for agent in await self.store.list(tenant)}
        return [agent for _, agent in sorted({**self.shared, **own}.items())]
