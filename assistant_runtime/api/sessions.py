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

SessionId = Annotated[str, Path(max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]
PAGE = 100
"""Entries of a page, at most."""


def sessions_router(conversations: Conversations, history: History) -> APIRouter:
    """Give the routes of sessions."""
    router = APIRouter(prefix="/v1/sessions", tags=["sessions"])

    @router.post("", summary="Begin a session", status_code=201)
    async def create(request: Request, body: NewSession) -> SessionAnswer:
        return _answer(await conversations.create(_tenant(request), body.title, body.metadata))

    @router.get("", summary="List sessions, the newest first")
    async def listed(
        request: Request,
        limit: Annotated[int, Query(ge=1, le=PAGE)] = 20,
        before: Annotated[str | None, Query(max_length=128, description="`next` of the page before.")] = None,
    ) -> SessionList:
        found = await conversations.listed(_tenant(request), limit + 1, _cursor(before))
        page = found[:limit]
        return SessionList(
            data=[_answer(each) for each in page],
            next=f"{page[-1].created!r}/{page[-1].id}" if len(found) > limit else None,
        )

    @router.get("/{session_id}", summary="A session")
    async def get(request: Request, session_id: SessionId) -> SessionAnswer:
        return _answer(await conversations.get(_tenant(request), session_id))

    @router.patch("/{session_id}", summary="Change a session's title or metadata")
    async def change(request: Request, session_id: SessionId, body: SessionChange) -> SessionAnswer:
        return _answer(await conversations.update(_tenant(request), session_id, body.title, body.metadata))

    @router.delete("/{session_id}", summary="Delete a session and its messages")
    async def delete(request: Request, session_id: SessionId) -> Deleted:
        await history.delete(_tenant(request), session_id)
        return Deleted(id=session_id)

    @router.get("/{session_id}/messages", summary="A session's messages, in order")
    async def messages(
        request: Request,
        session_id: SessionId,
        limit: Annotated[int, Query(ge=1, le=PAGE)] = 50,
        after: Annotated[int, Query(ge=0, le=2**31 - 1, description="Sequence number to begin behind.")] = 0,
    ) -> SessionMessages:
        found = await conversations.messages(_tenant(request), session_id, after, limit + 1)
        page = found[:limit]
        more = len(found) > limit
        return SessionMessages(data=[_message(each) for each in page], next=page[-1].sequence if more else None)

    @router.post("/{session_id}/messages", summary="Append messages, all or none", status_code=201)
    async def append(
        request: Request,
        session_id: SessionId,
        body: NewMessages,
        idempotency_key: Annotated[
            IdempotencyKey | None, Header(description="Appending again under one key adds nothing.")
        ] = None,
    ) -> AppendedMessages:
        done = await conversations.append(
            _tenant(request),
            session_id,
            [message.model_dump(exclude_unset=True) for message in body.messages],
            idempotency_key or context_of(request.scope).request_id,
            expected_version=body.expected_version,
        )
        return AppendedMessages(
            version=done.unit.version, replayed=done.replayed, data=[_message(each) for each in placed(done.unit)]
        )

    return router


def _tenant(request: Request) -> str:
    return context_of(request.scope).tenant


def _cursor(before: str | None) -> tuple[float, str] | None:
    if before is None:
        return None
    match = re.match(r"^(\d{1,12}(?:\.\d{1,9})?)/([A-Za-z0-9_-]{1,64})$", before)
    if match is None:
        raise ApiError(400, "before: give `next` of the page before", code="invalid_value", param="before")
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
