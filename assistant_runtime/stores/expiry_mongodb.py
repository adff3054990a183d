"""What expires in MongoDB: sessions and stored responses, by the indexes on when they changed.

A session is marked as deleted only while it is still old, so that one which is appended to meanwhile stays. Whatever a
crash leaves half deleted is marked, and ends with the next preparation.
"""

from typing import Any

from assistant_runtime.stores.conversation_record import as_json
from assistant_runtime.stores.conversations import RESPONSES_METADATA
from assistant_runtime.stores.mongodb import MongoConnection

OF_RESPONSES = {"metadata": as_json(RESPONSES_METADATA)}


class MongoExpiry:
    """Deletes old documents; every method raises StoreUnavailableError.

    Parameters
    ----------
    connection
        The server; asked for the indexes when it first answers.
    """

    def __init__(self, connection: MongoConnection) -> None:
        self._connection = connection
        connection.before_use(self._prepare)

    async def sessions(self, age: float, limit: int) -> int:
        """Delete sessions whose last change is `age` seconds ago, but for those that keep stored responses."""
        other = {"metadata": {"$ne": OF_RESPONSES["metadata"]}}
        return await self._connection.aside(lambda: self._sessions(age, limit, other))

    async def responses(self, age: float, limit: int) -> int:
        """Delete the sessions of stored responses whose last one is `age` seconds old."""
        return await self._connection.aside(lambda: self._sessions(age, limit, OF_RESPONSES))

    async def _sessions(self, age: float, limit: int, kind: dict[str, Any]) -> int:
        sessions, units = self._connection.collection("sessions"), self._connection.collection("session_units")
        old = {"updated": {"$lt": await self._connection.now() - age}, **kind}
        due = [each["_id"] async for each in sessions.find(old, {"_id": 1}, sort=[("updated", 1)], limit=limit)]
        if not due:
            return 0
        await sessions.update_many({"_id": {"$in": due}, **old}, {"$set": {"deleted": True}})
        marked = {"_id": {"$in": due}, "deleted": True}
        gone = [each["_id"] async for each in sessions.find(marked, {"_id": 1})]
        await units.delete_many({"session": {"$in": gone}})
        return int((await sessions.delete_many(marked)).deleted_count)

    async def _prepare(self) -> None:
        sessions = self._connection.collection("sessions")
        await sessions.create_index([("updated", 1)])
        await sessions.create_index(
            [("metadata", 1), ("updated", 1)], partialFilterExpression=OF_RESPONSES, name="responses_by_change"
        )
