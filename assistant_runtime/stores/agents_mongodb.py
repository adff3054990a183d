"""Tenants' agents in MongoDB: one document an agent, replaced by single atomic updates."""

from collections.abc import Mapping, Sequence
from typing import Any

from pymongo import ASCENDING, ReturnDocument
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import DuplicateKeyError

from assistant_runtime.settings.agents import Agent
from assistant_runtime.stores.agents import KeptAgent
from assistant_runtime.stores.mongodb import MongoConnection

COLLECTION = "agents"


class MongoAgents:
    """Agents that every replica sees.

    Parameters
    ----------
    connection
        The server; asked for the index when it first answers.
    """

    def __init__(self, connection: MongoConnection) -> None:
        self._connection = connection
        connection.before_use(self._prepare)

    @property
    def _agents(self) -> AsyncCollection[dict[str, Any]]:
        return self._connection.collection(COLLECTION)

    async def _prepare(self) -> None:
        await self._agents.create_index([("tenant", ASCENDING), ("agent.name", ASCENDING)])

    async def get(self, tenant: str, name: str) -> KeptAgent | None:
        """Give an agent."""
        found = await self._connection.call(lambda: self._agents.find_one({"_id": _id(tenant, name)}))
        return _kept(found) if found else None

    async def names(self, tenant: str) -> Sequence[str]:
        """Give the names of the tenant's agents, in order."""
        found = self._agents.find({"tenant": tenant}, {"agent.name": 1, "_id": 0}).sort("agent.name", ASCENDING)
        return [each["agent"]["name"] for each in await self._connection.call(found.to_list)]

    async def list(self, tenant: str, limit: int, after: str = "") -> Sequence[KeptAgent]:
        """Give at most so many of the tenant's agents, by name, behind the name `after`."""
        behind = {"tenant": tenant, "agent.name": {"$gt": after}}
        found = self._agents.find(behind).sort("agent.name", ASCENDING).limit(limit)
        return [_kept(each) for each in await self._connection.call(found.to_list)]

    async def put(self, tenant: str, agent: Agent, expected: int | None = None) -> int | None:
        """Keep an agent in the place of the version `expected`, and give its version now."""
        key = {"_id": _id(tenant, agent.name)}
        wanted = {**key, "version": expected} if expected else key
        content = {"tenant": tenant, "agent": agent.model_dump(mode="json")}

        async def write() -> int | None:
            if expected:
                return await self._replace(wanted, content)
            if expected is None and (version := await self._replace(wanted, content)):
                return version
            if await self._insert({**key, **content, "version": 1}):
                return 1
            # Another replica made it at the same moment: now there is a document to update, if any may be.
            return None if expected == 0 else await self._replace(wanted, content)

        return await self._connection.call(write)

    async def _replace(self, wanted: Mapping[str, Any], content: Mapping[str, Any]) -> int | None:
        found = await self._agents.find_one_and_update(
            wanted, {"$set": content, "$inc": {"version": 1}}, return_document=ReturnDocument.AFTER
        )
        return found["version"] if found else None

    async def _insert(self, document: dict[str, Any]) -> bool:
        try:
            await self._agents.insert_one(document)
        except DuplicateKeyError:
            return False
        return True

    async def delete(self, tenant: str, name: str, expected: int | None = None) -> bool:
        """Forget an agent, of the version `expected` or of any; whether there was such a one."""
        wanted: dict[str, Any] = {"_id": _id(tenant, name)} | ({} if expected is None else {"version": expected})
        done = await self._connection.call(lambda: self._agents.delete_one(wanted))
        return done.deleted_count == 1


def _id(tenant: str, name: str) -> str:
    return f"{tenant}/{name}"


def _kept(document: Mapping[str, Any]) -> KeptAgent:
    return KeptAgent(Agent.model_validate(document["agent"]), document["version"])
