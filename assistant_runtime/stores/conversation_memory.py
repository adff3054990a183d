"""Conversations in this process: for a laptop, and gone with it."""

import time
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from itertools import islice

from assistant_runtime.stores.conversations import RELEASED, RESPONSES_METADATA, Commit, Session, Unit, headed, up_to

MAX_SESSIONS = 1000
"""Of all tenants together, so that memory stays flat: the one that was longest unused goes first."""


@dataclass(slots=True)
class _Kept:
    session: Session
    units: list[Unit] = field(default_factory=list)


class MemoryConversationLog:
    """A bounded number of sessions."""

    def __init__(self, max_sessions: int = MAX_SESSIONS) -> None:
        self._max_sessions = max_sessions
        self._sessions: OrderedDict[str, _Kept] = OrderedDict()

    async def create(self, session: Session) -> None:
        """Keep a new session, making room."""
        self._sessions[session.id] = _Kept(session)
        if len(self._sessions) > self._max_sessions:
            self._sessions.popitem(last=False)

    async def session(self, tenant: str, session_id: str) -> Session | None:
        """Give a tenant's session."""
        kept = self._of(tenant, session_id)
        return kept.session if kept else None

    async def sessions(self, tenant: str, limit: int, before: tuple[float, str] | None) -> list[Session]:
        """List a tenant's sessions, the newest first."""
        own = (kept.session for kept in self._sessions.values() if kept.session.tenant == tenant)
        older = (each for each in own if before is None or (each.created, each.id) < before)
        return sorted(older, key=lambda session: (session.created, session.id), reverse=True)[:limit]

    async def count(self, tenant: str) -> int:
        """Count a tenant's sessions."""
        return sum(kept.session.tenant == tenant for kept in self._sessions.values())

    async def update(self, tenant: str, session_id: str, title: str | None, metadata: dict[str, str] | None) -> bool:
        """Set what is given."""
        kept = self._of(tenant, session_id)
        if kept is None:
            return False
        old = kept.session
        kept.session = replace(
            old,
            title=old.title if title is None else title,
            metadata=old.metadata if metadata is None else metadata,
        )
        return True

    async def delete(self, tenant: str, session_id: str) -> bool:
        """Delete a session."""
        if self._of(tenant, session_id) is None:
            return False
        del self._sessions[session_id]
        return True

    async def commit(self, tenant: str, unit: Unit) -> Commit:
        """Take a unit, if neither its number nor its key is taken."""
        kept = self._of(tenant, unit.session_id)
        if kept is None:
            return Commit.GONE
        if unit.version != len(kept.units) + 1 or any(each.key == unit.key for each in kept.units):
            return Commit.TAKEN
        kept.units.append(unit)
        kept.session = headed(kept.session, unit)
        return Commit.DONE

    async def latest(self, session_id: str, messages: int) -> list[Unit]:
        """Give the last units, in order, until they hold so many messages."""
        found: list[Unit] = []
        for unit in reversed(self._units(session_id)):
            found.insert(0, unit)
            messages -= len(unit.messages)
            if messages <= 0:
                break
        return found

    async def by_key(self, session_id: str, key: str) -> Unit | None:
        """Give the unit that was appended under the key."""
        return next((unit for unit in self._units(session_id) if unit.key == key), None)

    async def release(self, session_id: str, key: str) -> int | None:
        """Take a unit's key away; gives how many of the session's units have theirs."""
        units = self._units(session_id)
        place = next((place for place, unit in enumerate(units) if unit.key == key), None)
        if place is None:
            return None
        units[place] = replace(units[place], key=f"{RELEASED}{units[place].version}", about=None)
        return sum(not unit.key.startswith(RELEASED) for unit in units)

    async def after(self, session_id: str, sequence: int, messages: int) -> list[Unit]:
        """Give the units with messages beyond `sequence`."""
        return up_to([unit for unit in self._units(session_id) if unit.last > sequence], sequence, messages)

    async def expire(self, age: float, limit: int, *, responses: bool) -> int:
        """Delete sessions whose last change is `age` seconds ago: those of stored responses, or the others."""
        before = time.time() - age
        old = (
            key
            for key, kept in self._sessions.items()
            if kept.session.updated < before and (kept.session.metadata == RESPONSES_METADATA) == responses
        )
        due = list(islice(old, limit))
        for key in due:
            del self._sessions[key]
        return len(due)

    def _of(self, tenant: str, session_id: str) -> _Kept | None:
        kept = self._sessions.get(session_id)
        if kept is None or kept.session.tenant != tenant:
            return None
        self._sessions.move_to_end(session_id)
        return kept

    def _units(self, session_id: str) -> list[Unit]:
        kept = self._sessions.get(session_id)
        return kept.units if kept else []


class MemoryExpiry:
    """Deletes old sessions of this process.

    Parameters
    ----------
    log
        Keeps them.
    """

    def __init__(self, log: MemoryConversationLog) -> None:
        self._log = log

    async def sessions(self, age: float, limit: int) -> int:
        """Delete sessions whose last change is `age` seconds ago, but for those that keep stored responses."""
        return await self._log.expire(age, limit, responses=False)

    async def responses(self, age: float, limit: int) -> int:
        """Delete the sessions of stored responses whose last one is `age` seconds old."""
        return await self._log.expire(age, limit, responses=True)
