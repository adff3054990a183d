"""What a response follows: stored responses are turns of a session.

A response's id holds its session's, and is the key under which the turn was kept. A response that follows the session's
last turn goes on with that session; one that follows an earlier turn begins a session of its own with what came before,
so that a conversation can branch.
"""

import re
import secrets

from assistant_runtime.errors import ApiError, StoreUnavailableError
from assistant_runtime.stores.conversations import Conversations

RESPONSE_ID = re.compile(r"^resp_([0-9a-f]{32})_[0-9a-f]{16}$")
SESSION_PREFIX = "sess_"


def unstored_id() -> str:
    """Give the id of a response that is not kept."""
    return f"resp_{secrets.token_hex(24)}"


class ResponseMemory:
    """Finds and begins the sessions of responses.

    Parameters
    ----------
    conversations
        Where they are kept.
    """

    def __init__(self, conversations: Conversations) -> None:
        self._conversations = conversations

    async def begin(self, tenant: str) -> tuple[str, str] | None:
        """Begin a session; gives its id and the response's. None: nothing can be kept now."""
        try:
            session = await self._conversations.create(tenant, "", {"api": "responses"})
        except (ApiError, StoreUnavailableError):
            return None
        return session.id, _response_id(session.id)

    async def follow(self, tenant: str, previous: str) -> tuple[str, str]:
        """Find what a response follows; gives the session and the new response's id.

        Raises
        ------
        ApiError
            404: there is no such stored response.
        StoreUnavailableError
            The store does not answer.
        """
        found = RESPONSE_ID.match(previous)
        session_id = SESSION_PREFIX + found[1] if found else ""
        session = await self._conversations.log.session(tenant, session_id) if found else None
        unit = await self._conversations.log.by_key(session_id, previous) if session else None
        if session is None or unit is None:
            raise ApiError(
                404,
                f"There is no stored response {previous!r}.",
                code="previous_response_not_found",
                param="previous_response_id",
            )
        latest = await self._conversations.log.latest(session_id, 1)
        if latest and latest[-1].version == unit.version:
            return session_id, _response_id(session_id)
        return await self._branch(tenant, session_id, unit.last)

    async def _branch(self, tenant: str, session_id: str, last: int) -> tuple[str, str]:
        before = await self._conversations.messages(tenant, session_id, 0, last)
        branch = await self._conversations.create(tenant, "", {"api": "responses"})
        await self._conversations.append(tenant, branch.id, [each.message for each in before], "branch")
        return branch.id, _response_id(branch.id)


def _response_id(session_id: str) -> str:
    return f"resp_{session_id.removeprefix(SESSION_PREFIX)}_{secrets.token_hex(8)}"
