"""What a chat with a session needs: the recent messages before the answer, and the turn's own messages kept after it.

What is kept of an answer that broke off: the question, and the text that reached the client, marked as incomplete. Tool
calls that are not whole are left out, since nothing could answer them; if nothing came at all, nothing is kept, and the
client may ask again under the same key.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from assistant_runtime.errors import StoreUnavailableError
from assistant_runtime.stores.conversations import Conversations, Message, Session, Unit, headed


@dataclass(frozen=True, slots=True)
class Window:
    """The end of a session, as the model is to see it."""

    tenant: str
    session_id: str
    version: int
    messages: tuple[Message, ...]
    """In order; never begins with a tool's result."""
    degraded: bool = False
    """Whether it comes from the cache alone, because the store does not answer."""


class WindowCache(Protocol):
    """Keeps the end of sessions at hand; a cache that does not answer behaves as an empty one."""

    async def get(self, session_id: str) -> tuple[str, list[Unit]] | None:
        """Give the session's tenant and its last units."""

    async def put(self, tenant: str, session_id: str, units: Sequence[Unit]) -> None:
        """Keep a session's last units, unless later ones are kept already."""

    async def forget(self, session_id: str) -> None:
        """Drop a session that was deleted."""


class History:
    """Sessions, from the chat's point of view.

    Parameters
    ----------
    conversations
        The sessions.
    cache
        Recent messages at hand; None: none.
    limit
        Most recent messages that a window has.
    """

    def __init__(self, conversations: Conversations, cache: WindowCache | None, limit: int) -> None:
        self._conversations = conversations
        self._cache = cache
        self._limit = limit

    async def load(self, tenant: str, session_id: str) -> Window:
        """Give the recent messages of a session, from the cache where its version is the store's.

        Raises
        ------
        SessionNotFoundError
            The tenant has no such session.
        StoreUnavailableError
            Neither the store nor the cache answers.
        """
        cached = await self._cache.get(session_id) if self._cache else None
        try:
            session = await self._conversations.get(tenant, session_id)
        except StoreUnavailableError:
            if cached is None or cached[0] != tenant:
                raise
            return self._window(tenant, session_id, cached[1], degraded=True)
        if cached is not None and cached[1] and cached[1][-1].version == session.version:
            return self._window(tenant, session_id, cached[1])
        return self._window(tenant, session_id, await self._keep_at_hand(tenant, session_id))

    async def record(
        self,
        window: Window,
        messages: Sequence[Message],
        key: str,
        *,
        incomplete: bool = False,
        about: Mapping[str, Any] | None = None,
    ) -> Session | None:
        """Keep a turn's messages: what the client added, and the answer.

        Parameters
        ----------
        window
            What `load` gave. Another writer's turns since then stay; this one follows them.
        messages
            The turn's new messages in order.
        key
            Names the turn: the client's Idempotency-Key, else the request's id.
        incomplete
            Whether the answer broke off.
        about
            What is kept with the turn for who asks by its key.

        Returns
        -------
            The session's new head; None: the store does not answer, and nothing was kept.
        """
        if not messages:
            return None
        try:
            done = await self._conversations.append(
                window.tenant, window.session_id, messages, key, incomplete=incomplete, about=about
            )
        except StoreUnavailableError:
            return None
        with suppress(StoreUnavailableError):
            await self._keep_at_hand(window.tenant, window.session_id)
        return headed(Session(window.session_id, window.tenant), done.unit)

    async def delete(self, tenant: str, session_id: str) -> None:
        """Delete a session for good; raises SessionNotFoundError."""
        await self._conversations.delete(tenant, session_id)
        if self._cache:
            await self._cache.forget(session_id)

    async def _keep_at_hand(self, tenant: str, session_id: str) -> list[Unit]:
        units = await self._conversations.log.latest(session_id, self._limit)
        if self._cache:
            await self._cache.put(tenant, session_id, units)
        return units

    def _window(self, tenant: str, session_id: str, units: Sequence[Unit], *, degraded: bool = False) -> Window:
        messages = [message for unit in units for message in unit.messages][-self._limit :]
        while messages and messages[0].get("role") == "tool":
            del messages[0]
        version = units[-1].version if units else 0
        return Window(tenant, session_id, version, tuple(messages), degraded=degraded)
