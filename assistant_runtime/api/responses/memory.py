"""What a response follows: stored responses are turns of a session.

A response's id holds its session's, and is the key under which the turn was kept. A response that follows the session's
last turn goes on with that session; one that follows an earlier turn begins a session of its own with what came before,
so that a conversation can branch.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from assistant_runtime.api.responses.ids import response_id, session_of
from assistant_runtime.errors import ApiError, StoreUnavailableError
from assistant_runtime.stores.conversations import RESPONSES_METADATA, Conversations, Message, Unit


@dataclass(frozen=True, slots=True)
class Place:
    """Where a response belongs."""

    response_id: str
    session_id: str = ""
    """The session that keeps it; empty: it is not kept."""
    is_new: bool = False
    """Whether the session was begun for it."""
    before: Sequence[Message] = ()
    """The messages that it follows, where no session has them."""


class ResponseMemory:
    """Finds and begins the sessions of responses.

    Parameters
    ----------
    conversations
        Where they are kept.
    limit
        Most recent messages that a model is sent of them.
    """

    def __init__(self, conversations: Conversations, limit: int) -> None:
        self._conversations = conversations
        self._limit = limit

    async def begin(self, tenant: str) -> Place | None:
        """Begin a session; None: nothing can be kept now."""
        try:
            session = await self._conversations.create(tenant, "", dict(RESPONSES_METADATA))
        except (ApiError, StoreUnavailableError):
            return None
        return Place(response_id(session.id), session.id, is_new=True)

    async def follow(self, tenant: str, previous: str) -> Place:
        """Find what a response follows.

        Raises
        ------
        ApiError
            404: there is no such stored response.
        StoreUnavailableError
            The store does not answer.
        """
        session_id, unit = await self._find(tenant, previous)
        latest = await self._conversations.log.latest(session_id, 1)
        if latest and latest[-1].version == unit.version:
            return Place(response_id(session_id), session_id)
        return await self._branch(tenant, session_id, unit.last)

    async def before(self, tenant: str, previous: str) -> list[Message]:
        """Give the messages that a response follows which is not kept itself; raises as `follow` does."""
        session_id, unit = await self._find(tenant, previous)
        stored = await self._conversations.messages(
            tenant, session_id, max(0, unit.last - self._limit), min(unit.last, self._limit)
        )
        messages = [each.message for each in stored]
        while messages and messages[0].get("role") == "tool":
            del messages[0]
        return messages

    async def forget(self, tenant: str, session_id: str) -> None:
        """Drop a session that was begun for a response which did not come."""
        with suppress(ApiError, StoreUnavailableError):
            await self._conversations.delete(tenant, session_id)

    async def _find(self, tenant: str, previous: str) -> tuple[str, Unit]:
        session_id = session_of(previous)
        session = await self._conversations.log.session(tenant, session_id) if session_id else None
        unit = await self._conversations.log.by_key(session_id, previous) if session else None
        if session is None or unit is None:
            raise ApiError(
                404,
                f"There is no stored response {previous!r}.",
                code="previous_response_not_found",
                param="previous_response_id",
            )
        return session_id, unit

    async def _branch(self, tenant: str, session_id: str, last: int) -> Place:
        before = await self._conversations.messages(tenant, session_id, 0, last)
        branch = await self._conversations.create(tenant, "", dict(RESPONSES_METADATA))
        await self._conversations.append(tenant, branch.id, [each.message for each in before], "branch")
        return Place(response_id(branch.id), branch.id, is_new=True)
