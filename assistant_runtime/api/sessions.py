"""/v1/sessions: conversations that the runtime remembers, each tenant's own."""

import re
from typing import Annotated

from fastapi import APIRouter, Header, Path, Query, Request

from assistant_runtime.api.context import context_of
from assistant_runtime.api.session_schemas import (
    AppendedMessages,
    Deleted,
    IdempotencyKey,
    NewMessages,
    NewSession,
    SessionAnswer,
    SessionChange,
    SessionList,
    SessionMessage,
    SessionMessages,
)
from assistant_runtime.errors import ApiError
from assistant_runtime.stores.conversations import Conversations, Session, StoredMessage, placed
from assistant_runtime.stores.history import History

ROOT = "/v1/sessions"
PATH = "/v1/sessions/{session_id}"
MESSAGES = "/v1/sessions/{session_id}/messages"
PAGE = 100
"""Entries of a page, at most."""

SessionId = Annotated[str, Path(max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]
Before = Annotated[str | None, Query(max_length=128, description="`next` of the previous page.")]
AfterSession = Annotated[
    str | None,
    Query(max_length=64, pattern=r"^[A-Za-z0-9_-]+$", description="Last id of the previous page."),
]
After = Annotated[int, Query(ge=0, le=2**31 - 1, description="Sequence number after which the page starts.")]
AppendKey = Annotated[IdempotencyKey | None, Header(description="A repeated append with the same key adds nothing.")]


class SessionRoutes:
    """The routes of sessions.

    Parameters
    ----------
    conversations
        The sessions.
    history
        Forgets what is kept of a session beside its messages.
    """

    def __init__(self, conversations: Conversations, history: History) -> None:
        self._conversations, self._history = conversations, history

    async def create(self, request: Request, body: NewSession) -> SessionAnswer:
        """Create a session."""
        return _answer(await self._conversations.create(_tenant(request), body.title, body.metadata))

    async def list(
        self,
        request: Request,
        limit: Annotated[int, Query(ge=1, le=PAGE)] = 20,
        before: Before = None,
        after: AfterSession = None,
    ) -> SessionList:
        """List the tenant's sessions."""
        cursor = _cursor(before)
        if cursor is None and after is not None:
            last = await self._conversations.get(_tenant(request), after)
            cursor = (last.created, last.id)
        found = await self._conversations.listed(_tenant(request), limit + 1, cursor)
        page, more = found[:limit], len(found) > limit
        return SessionList(
            data=[_answer(each) for each in page],
            has_more=more,
            next=f"{page[-1].created!r}/{page[-1].id}" if more else None,
        )

    async def get(self, request: Request, session_id: SessionId) -> SessionAnswer:
        """Give a session."""
        return _answer(await self._conversations.get(_tenant(request), session_id))

    async def change(self, request: Request, session_id: SessionId, body: SessionChange) -> SessionAnswer:
        """Update the fields that the request has."""
        return _answer(await self._conversations.update(_tenant(request), session_id, body.title, body.metadata))

    async def delete(self, request: Request, session_id: SessionId) -> Deleted:
        """Delete a session, its messages and its hot state."""
        await self._history.delete(_tenant(request), session_id)
        return Deleted(id=session_id)

    async def messages(
        self,
        request: Request,
        session_id: SessionId,
        limit: Annotated[int, Query(ge=1, le=PAGE)] = 50,
        after: After = 0,
    ) -> SessionMessages:
        """Give a page of messages."""
        found = await self._conversations.messages(_tenant(request), session_id, after, limit + 1)
        page = found[:limit]
        more = len(found) > limit
        return SessionMessages(data=[_message(each) for each in page], next=page[-1].sequence if more else None)

    async def append(
        self, request: Request, session_id: SessionId, body: NewMessages, idempotency_key: AppendKey = None
    ) -> AppendedMessages:
        """Append messages as one unit."""
        done = await self._conversations.append(
            _tenant(request),
            session_id,
            [message.model_dump(exclude_unset=True) for message in body.messages],
            idempotency_key or context_of(request.scope).request_id,
            expected_version=body.expected_version,
        )
        return AppendedMessages(
            version=done.unit.version, replayed=done.replayed, data=[_message(each) for each in placed(done.unit)]
        )


def sessions_router(conversations: Conversations, history: History) -> APIRouter:
    """Give the routes of sessions."""
    routes = SessionRoutes(conversations, history)
    router = APIRouter(tags=["sessions"])
    add = router.add_api_route
    add(ROOT, routes.create, methods=["POST"], status_code=201, summary="Create a session")
    add(ROOT, routes.list, methods=["GET"], summary="List sessions, newest first")
    add(PATH, routes.get, methods=["GET"], summary="Get a session")
    add(PATH, routes.change, methods=["PATCH"], summary="Change a session's title or metadata")
    add(PATH, routes.delete, methods=["DELETE"], summary="Delete a session and its messages")
    add(MESSAGES, routes.messages, methods=["GET"], summary="List a session's messages, in order")
    add(MESSAGES, routes.append, methods=["POST"], status_code=201, summary="Append messages, all or none")
    return router


def _tenant(request: Request) -> str:
    return context_of(request.scope).tenant


def _cursor(before: str | None) -> tuple[float, str] | None:
    if before is None:
        return None
    match = re.match(r"^(\d{1,12}(?:\.\d{1,9})?)/([A-Za-z0-9_-]{1,64})$", before)
    if match is None:
        raise ApiError(400, "before: give `next` of the previous page", code="invalid_value", param="before")
    return float(match[1]), match[2]


def _answer(session: Session) -> SessionAnswer:
    return SessionAnswer(
        id=session.id,
        title=session.title,
        metadata=session.metadata,
        version=session.version,
        message_count=session.message_count,
        created=int(session.created),
        updated=int(session.updated),
    )


def _message(stored: StoredMessage) -> SessionMessage:
    return SessionMessage(
        sequence=stored.sequence,
        version=stored.version,
        key=stored.key,
        created=int(stored.created),
        incomplete=stored.incomplete,
        message=stored.message,
    )
