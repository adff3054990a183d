"""Conversations in MongoDB: a document a session, a document a unit, and no transaction.

A unit's document has its session's id and its number as `_id`, so that inserting it is the one step that decides. What
comes after a crash between two writes:

- unit written, session not: the session's document lags. Whoever reads it looks at the last unit too.
- session marked as deleted, units not deleted: nobody sees it any more; the next runtime that starts ends the work.
- unit written while its session was deleted: the writer finds that out by the session's document, and takes the unit
  back.
"""

import asyncio
import re
from collections.abc import Mapping
from typing import Any

from pymongo.errors import DuplicateKeyError

from assistant_runtime.stores.conversation_record import as_json, session_fields, session_of, unit_fields, unit_of
from assistant_runtime.stores.conversations import RELEASED, Commit, Session, Unit, headed, up_to
from assistant_runtime.stores.mongodb import MongoConnection

ALIVE = {"deleted": {"$ne": True}}

WITHOUT_ABOUT = {"about": 0}
"""What a chat does not read of each unit before it answers."""


class MongoConversationLog:
    """Sessions and units as documents.

    Parameters
    ----------
    connection
        The MongoDB.
    """

    def __init__(self, connection: MongoConnection) -> None:
        self._connection = connection
        connection.before_use(self._prepare)
        connection.after_preparation(self._end_deletions)

    async def create(self, session: Session) -> None:
        """Keep a new session."""
        document = {"_id": session.id, **session_fields(session)}
        await self._connection.call(lambda: self._sessions.insert_one(document))

    async def session(self, tenant: str, session_id: str) -> Session | None:
        """Give a tenant's session, as its last unit has it."""
        found, last = await self._connection.call(
            lambda: asyncio.gather(
                self._sessions.find_one({"_id": session_id, "tenant": tenant, **ALIVE}),
                self._units.find_one({"session": session_id}, WITHOUT_ABOUT, sort=[("version", -1)]),
            )
        )
        return headed(_session(found), _unit(last) if last else None) if found else None

    async def sessions(self, tenant: str, limit: int, before: tuple[float, str] | None) -> list[Session]:
        """List a tenant's sessions, the newest first."""
        query: dict[str, Any] = {"tenant": tenant, **ALIVE}
        if before is not None:
            created, last = before
            query["$or"] = [{"created": {"$lt": created}}, {"created": created, "_id": {"$lt": last}}]
        found = self._sessions.find(query, sort=[("created", -1), ("_id", -1)], limit=limit)
        return [_session(each) for each in await self._connection.call(found.to_list)]

    async def count(self, tenant: str) -> int:
        """Count a tenant's sessions."""
        return await self._connection.call(lambda: self._sessions.count_documents({"tenant": tenant, **ALIVE}))

    async def update(self, tenant: str, session_id: str, title: str | None, metadata: dict[str, str] | None) -> bool:
        """Set what is given."""
        given = {"title": title, "metadata": None if metadata is None else as_json(metadata)}
        values = {name: value for name, value in given.items() if value is not None} or {"tenant": tenant}
        return await self._set(tenant, session_id, {"$set": values})

    async def delete(self, tenant: str, session_id: str) -> bool:
        """Delete a session: mark it, delete its units, and then itself."""
        if not await self._set(tenant, session_id, {"$set": {"deleted": True}}):
            return False
        await self._connection.call(lambda: self._remove(session_id))
        return True

    async def commit(self, tenant: str, unit: Unit) -> Commit:
        """Take a unit, if neither its number nor its key is taken."""
        if not await self._connection.call(lambda: self._insert(unit)):
            return Commit.TAKEN
        newer = {"version": unit.version, "message_count": unit.last, "updated": unit.created}
        if await self._set(tenant, unit.session_id, {"$max": newer}):
            return Commit.DONE
        await self._connection.call(lambda: self._units.delete_one({"_id": _document(unit)["_id"]}))
        return Commit.GONE

    async def latest(self, session_id: str, messages: int) -> list[Unit]:
        """Give the last units, in order, until they hold so many messages."""

        async def read() -> list[Unit]:
            found: list[Unit] = []
            wanted = messages
            query, newest = {"session": session_id}, [("version", -1)]
            async with self._units.find(query, WITHOUT_ABOUT, sort=newest, limit=messages) as cursor:
                async for document in cursor:
                    found.insert(0, _unit(document))
                    wanted -= len(found[0].messages)
                    if wanted <= 0:
                        break
            return found

        return await self._connection.call(read)

    async def by_key(self, session_id: str, key: str) -> Unit | None:
        """Give the unit that was appended under the key."""
        found = await self._connection.call(lambda: self._units.find_one({"session": session_id, "key": key}))
        return _unit(found) if found else None

    async def release(self, session_id: str, key: str) -> int | None:
        """Take a unit's key away; gives how many of the session's units have theirs."""
        return await self._connection.call(lambda: self._release(session_id, key))

    async def after(self, session_id: str, sequence: int, messages: int) -> list[Unit]:
        """Give the units with messages beyond `sequence`."""
        query = {"session": session_id, "last": {"$gt": sequence}}
        cursor = self._units.find(query, sort=[("version", 1)], limit=messages)
        return up_to([_unit(each) for each in await self._connection.call(cursor.to_list)], sequence, messages)

    @property
    def _sessions(self) -> Any:
        return self._connection.collection("sessions")

    @property
    def _units(self) -> Any:
        return self._connection.collection("session_units")

    async def _prepare(self) -> None:
        await self._sessions.create_index([("tenant", 1), ("created", -1), ("_id", -1)])
        await self._units.create_index([("session", 1), ("version", 1)], unique=True)
        await self._units.create_index([("session", 1), ("key", 1)], unique=True)
        await self._units.create_index([("session", 1), ("last", 1)])
        # Of the few that are half deleted alone, so that they are found without a look at the others.
        await self._sessions.create_index([("deleted", 1)], sparse=True)

    async def _end_deletions(self) -> None:
        async for left in self._sessions.find({"deleted": True}, {"_id": 1}):
            await self._remove(left["_id"])

    async def _insert(self, unit: Unit) -> bool:
        try:
            await self._units.insert_one(_document(unit))
        except DuplicateKeyError:
            return False
        return True

    async def _release(self, session_id: str, key: str) -> int | None:
        found = await self._units.find_one({"session": session_id, "key": key}, {"version": 1})
        if found is None:
            return None
        change = {"$set": {"key": f"{RELEASED}{found['version']}", "about": None}}
        await self._units.update_one({"_id": found["_id"]}, change)
        held = {"session": session_id, "key": {"$not": re.compile(f"^{RELEASED}")}}
        return int(await self._units.count_documents(held))

    async def _remove(self, session_id: str) -> None:
        await self._units.delete_many({"session": session_id})
        await self._sessions.delete_one({"_id": session_id})

    async def _set(self, tenant: str, session_id: str, change: Mapping[str, Any]) -> bool:
        done = await self._connection.call(
            lambda: self._sessions.update_one({"_id": session_id, "tenant": tenant, **ALIVE}, change)
        )
        return bool(done.matched_count)


def _session(found: Mapping[str, Any]) -> Session:
    return session_of(found["_id"], found)


def _document(unit: Unit) -> dict[str, Any]:
    return {"_id": f"{unit.session_id}/{unit.version}", "session": unit.session_id, **unit_fields(unit)}


def _unit(found: Mapping[str, Any]) -> Unit:
    return unit_of(found["session"], found)
