"""Names of tenants under the ids of a SECRET_KEY that came after the one which gave them."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from assistant_runtime.stores.mongodb import MongoConnection

COLLECTION = "tenants"


class TenantNames(Protocol):
    """Keeps names. Every method raises StoreUnavailableError."""

    async def find(self, ids: Sequence[str]) -> Mapping[str, str]:
        """Give the names that are kept under these ids."""

    async def add(self, tenant_id: str, name: str) -> None:
        """Keep a name; one that is there already stays."""


class MemoryTenantNames:
    """Names in this process, where nothing else outlives it either."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}

    async def find(self, ids: Sequence[str]) -> Mapping[str, str]:
        """Give the names that are kept under these ids."""
        return {each: self._names[each] for each in ids if each in self._names}

    async def add(self, tenant_id: str, name: str) -> None:
        """Keep a name; one that is there already stays."""
        self._names.setdefault(tenant_id, name)


class MongoTenantNames:
    """Names as documents.

    Parameters
    ----------
    connection
        The server.
    """

    def __init__(self, connection: "MongoConnection") -> None:
        self._connection = connection

    async def find(self, ids: Sequence[str]) -> Mapping[str, str]:
        """Give the names that are kept under these ids."""
        found = self._connection.collection(COLLECTION).find({"_id": {"$in": list(ids)}})
        return {each["_id"]: each["name"] for each in await self._connection.call(found.to_list)}

    async def add(self, tenant_id: str, name: str) -> None:
        """Keep a name; one that is there already stays."""
        names = self._connection.collection(COLLECTION)
        kept = {"$setOnInsert": {"name": name}}
        await self._connection.call(lambda: names.update_one({"_id": tenant_id}, kept, upsert=True))
