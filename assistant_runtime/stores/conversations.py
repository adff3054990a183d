"""Conversations: sessions, and the messages in them.

A session is a log of *units*. A unit is what one append adds: a turn's question and answer, say, with the tool calls
and their results between them. Units are numbered, and a log takes a unit only under the number that follows the last,
so that writing one is a single atomic step which either happened or did not: two replicas that write one session lose
and double nothing, and the order is total. A unit carries the key that its writer chose, and the log takes each key
once: appending again after a lost answer gives what the first time gave.

The logs are in `conversation_memory`, `conversation_sql` and `conversation_mongodb`; what holds for all is here.
"""

import re
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, Protocol

import orjson

from assistant_runtime.errors import ApiError
from assistant_runtime.stores.tool_pairing import paired

Message = dict[str, Any]
"""One message as OpenAI's API has it."""

SESSION_ID = re.compile(r"sess_[0-9a-f]{32}")
"""What `create` makes: an id of any other form is no session of ours."""

RESPONSES_METADATA = {"api": "responses"}
"""Metadata of a session that was begun for stored responses, which expire by a retention of their own. One that a
client has given other metadata is a session as any other."""

RELEASED = "released/"
"""How the key begins of a unit whose own was taken away; its number follows."""

MAX_UNIT_BYTES = 8 * 1024 * 1024
"""Half of what a MongoDB document may hold, and twice the longest request by default."""

MAX_ATTEMPTS = 100
"""Each attempt that fails means that another writer got ahead; so many in a row don't happen to a living store."""


@dataclass(frozen=True, slots=True)
class Session:
    """A conversation's head."""

    id: str
    tenant: str
    title: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    version: int = 0
    """How many units it has."""
    message_count: int = 0
    created: float = 0.0
    """Seconds since 1970, as `updated`."""
    updated: float = 0.0


@dataclass(frozen=True, slots=True)
class Unit:
    """What one append added."""

    session_id: str
    version: int
    """1 for the session's first."""
    key: str
    first: int
    """Sequence number of its first message; 1 for the session's first."""
    messages: tuple[Message, ...]
    open_calls: tuple[str, ...] = ()
    """Ids of tool calls that no message has answered yet, after this unit."""
    incomplete: bool = False
    """Whether its answer broke off."""
    created: float = 0.0
    about: Mapping[str, Any] | None = None
    """What its writer keeps with it, beside the messages; logs give it with `by_key` and `after`."""

    @property
    def last(self) -> int:
        """Sequence number of its last message."""
        return self.first + len(self.messages) - 1


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """A message in its place."""

    session_id: str
    sequence: int
    version: int
    key: str
    message: Message
    incomplete: bool
    created: float


@dataclass(frozen=True, slots=True)
class Appended:
    """What an append did."""

    unit: Unit
    replayed: bool
    """Whether the key had been appended before, so that nothing was added now."""


@dataclass(frozen=True, slots=True)
class Addition:
    """What one append is to add."""

    messages: Sequence[Message]
    key: str
    incomplete: bool = False
    about: Mapping[str, Any] | None = None


class Commit(Enum):
    """What a log says to a unit."""

    DONE = "done"
    TAKEN = "taken"
    """Another unit has its number or its key."""
    GONE = "gone"
    """The session was deleted."""


class SessionNotFoundError(ApiError):
    """There is no such session, for this tenant."""

    def __init__(self, session_id: str) -> None:
        super().__init__(404, f"There is no session {session_id!r}.", code="session_not_found", param="session_id")


class VersionConflictError(ApiError):
    """Another writer was first."""

    def __init__(self, expected: int, current: int) -> None:
        super().__init__(
            409,
            f"The session is at version {current}, not {expected}: read what was added, and append again.",
            code="version_conflict",
            param="expected_version",
            headers={"x-session-version": str(current)},
        )
        self.current = current


class ConversationLog(Protocol):
    """Where sessions are kept. Every method raises StoreUnavailableError."""

    async def create(self, session: Session) -> None:
        """Keep a new session."""

    async def session(self, tenant: str, session_id: str) -> Session | None:
        """Give a tenant's session."""

    async def sessions(self, tenant: str, limit: int, before: tuple[float, str] | None) -> list[Session]:
        """List a tenant's sessions, the newest first; `before` is (created, id) of the last one already seen."""

    async def count(self, tenant: str) -> int:
        """Count a tenant's sessions."""

    async def update(self, tenant: str, session_id: str, title: str | None, metadata: dict[str, str] | None) -> bool:
        """Set what is given; says whether there is such a session."""

    async def delete(self, tenant: str, session_id: str) -> bool:
        """Delete a session and all of its units; says whether there was such a session."""

    async def commit(self, tenant: str, unit: Unit) -> Commit:
        """Take a unit, if neither its number nor its key is taken, in one atomic step."""

    async def latest(self, session_id: str, messages: int) -> list[Unit]:
        """Give the last units, in order, until they hold so many messages; at least one, if there is one."""

    async def by_key(self, session_id: str, key: str) -> Unit | None:
        """Give the unit that was appended under the key."""

    async def release(self, session_id: str, key: str) -> int | None:
        """Take a unit's key, and what is kept about it, away: its messages stay for the units that follow.

        Gives how many of the session's units still have their key; None: no unit has this one.
        """

    async def after(self, session_id: str, sequence: int, messages: int) -> list[Unit]:
        """Give the units with messages beyond `sequence`, in order, until they hold so many messages."""


class Conversations:
    """The sessions of every tenant.

    Parameters
    ----------
    log
        Where they are kept.
    max_messages
        Messages that one session may hold.
    max_sessions
        Sessions that one tenant may have.
    clock
        Seconds since 1970.
    """

    def __init__(
        self,
        log: ConversationLog,
        *,
        max_messages: int,
        max_sessions: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.log = log
        self._max_messages = max_messages
        self._max_sessions = max_sessions
        self._clock = clock

    async def create(self, tenant: str, title: str = "", metadata: dict[str, str] | None = None) -> Session:
        """Begin a session.

        Raises
        ------
        ApiError
            409: the tenant has too many.
        """
        if await self.log.count(tenant) >= self._max_sessions:
            raise ApiError(
                409,
                f"There are {self._max_sessions} sessions already: delete some, or raise SESSIONS_PER_TENANT.",
                code="too_many_sessions",
            )
        now = self._clock()
        session = Session(f"sess_{secrets.token_hex(16)}", tenant, title, metadata or {}, created=now, updated=now)
        await self.log.create(session)
        return session

    async def get(self, tenant: str, session_id: str) -> Session:
        """Give a session; raises SessionNotFoundError."""
        session = await self.log.session(tenant, session_id)
        if session is None:
            raise SessionNotFoundError(session_id)
        return session

    async def listed(self, tenant: str, limit: int, before: tuple[float, str] | None = None) -> list[Session]:
        """List sessions, the newest first."""
        return await self.log.sessions(tenant, limit, before)

    async def update(
        self, tenant: str, session_id: str, title: str | None = None, metadata: dict[str, str] | None = None
    ) -> Session:
        """Set what is given, and leave the rest; raises SessionNotFoundError."""
        if not await self.log.update(tenant, session_id, title, metadata):
            raise SessionNotFoundError(session_id)
        return await self.get(tenant, session_id)

    async def delete(self, tenant: str, session_id: str) -> None:
        """Delete a session for good; raises SessionNotFoundError."""
        if not await self.log.delete(tenant, session_id):
            raise SessionNotFoundError(session_id)

    async def messages(self, tenant: str, session_id: str, after: int, limit: int) -> list[StoredMessage]:
        """Give up to `limit` messages beyond the sequence number `after`, in order; raises SessionNotFoundError."""
        await self.get(tenant, session_id)
        units = await self.log.after(session_id, after, limit)
        return [stored for unit in units for stored in placed(unit) if stored.sequence > after][:limit]

    async def append(
        self,
        tenant: str,
        session_id: str,
        messages: Sequence[Message],
        key: str,
        *,
        expected_version: int | None = None,
        incomplete: bool = False,
        about: Mapping[str, Any] | None = None,
    ) -> Appended:
        """Add messages, all or none.

        Parameters
        ----------
        messages
            In OpenAI's form. Results of tools must answer calls that are open; calls that a later message leaves
            behind unanswered are answered here with a note, so that a model accepts the conversation.
        key
            Names this append; a second one of the same key adds nothing, and gives what the first added.
        expected_version
            The version that the messages answer to; None: whatever it is.
        incomplete
            Whether the answer among the messages broke off.
        about
            What is kept with them for who asks by the key.

        Raises
        ------
        VersionConflictError
            The session is at another version.
        SessionNotFoundError
            There is no such session.
        ApiError
            400: a tool's result answers no open call. 409: the session is full. 413: the messages are too long.
        """
        _check_size(messages, about)
        added = Addition(messages, key, incomplete=incomplete, about=about)
        for _ in range(MAX_ATTEMPTS):
            done = await self._attempt(tenant, session_id, added, expected_version)
            if done is not None:
                return done
        raise ApiError(409, "Too many writers append to this session at once. Try again.", code="version_conflict")

    async def _attempt(
        self,
        tenant: str,
        session_id: str,
        added: "Addition",
        expected_version: int | None,
    ) -> Appended | None:
        """Append behind what is there now; None: another writer was faster."""
        session = await self.get(tenant, session_id)
        if known := await self.log.by_key(session_id, added.key):
            return Appended(known, replayed=True)
        last = next(iter((await self.log.latest(session_id, 1))[-1:]), None)
        current = last.version if last else 0
        if expected_version is not None and expected_version != current:
            raise VersionConflictError(expected_version, current)
        unit = self._next(session, last, added)
        commit = await self.log.commit(tenant, unit)
        if commit is Commit.GONE:
            raise SessionNotFoundError(session_id)
        return Appended(unit, replayed=False) if commit is Commit.DONE else None

    def _next(self, session: Session, last: Unit | None, added: "Addition") -> Unit:
        whole, open_calls = paired(last.open_calls if last else (), added.messages)
        unit = Unit(
            session.id,
            last.version + 1 if last else 1,
            added.key,
            last.last + 1 if last else 1,
            tuple(whole),
            tuple(open_calls),
            incomplete=added.incomplete,
            created=self._clock(),
            about=added.about,
        )
        if unit.last > self._max_messages:
            raise ApiError(
                409,
                f"The session is full: it holds at most {self._max_messages} messages. Start a new session.",
                code="session_full",
            )
        return unit


def _check_size(messages: Sequence[Message], about: Mapping[str, Any] | None) -> None:
    try:
        size = len(orjson.dumps([list(messages), about]))
    except orjson.JSONEncodeError as error:
        raise ApiError(400, f"messages: {error}", code="invalid_value", param="messages") from None
    if size > MAX_UNIT_BYTES:
        raise ApiError(413, f"An append holds at most {MAX_UNIT_BYTES} bytes.", code="request_too_large")


def placed(unit: Unit) -> list[StoredMessage]:
    """Give a unit's messages, each with its sequence number."""
    return [
        StoredMessage(
            unit.session_id,
            unit.first + index,
            unit.version,
            unit.key,
            message,
            unit.incomplete and index == len(unit.messages) - 1,
            unit.created,
        )
        for index, message in enumerate(unit.messages)
    ]


def headed(session: Session, last: Unit | None) -> Session:
    """Give a session's head as its last unit has it."""
    if last is None or last.version <= session.version:
        return session
    return replace(session, version=last.version, message_count=last.last, updated=last.created)


def up_to(units: Sequence[Unit], sequence: int, messages: int) -> list[Unit]:
    """Give the first units that hold so many messages beyond `sequence`."""
    found: list[Unit] = []
    for unit in units:
        if messages <= 0:
            break
        found.append(unit)
        messages -= unit.last - max(sequence, unit.first - 1)
    return found
