"""The endpoint, a Starlette one beside the chat's."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import orjson
from starlette.types import Receive, Scope, Send

from assistant_runtime.api.chat import STREAM_HEADERS
from assistant_runtime.api.client_watch import ClientWatch
from assistant_runtime.api.context import RequestContext, context_of, encoded
from assistant_runtime.api.request_body import parse, read_body
from assistant_runtime.api.responses.answer import envelope, from_chat
from assistant_runtime.api.responses.events import EventStream
from assistant_runtime.api.responses.memory import ResponseMemory, unstored_id
from assistant_runtime.api.responses.request import ResponsesRequest, chat_payload
from assistant_runtime.errors import ProviderError
from assistant_runtime.tool_loop.loop import AssistedStream, ToolLoop
from assistant_runtime.tool_loop.options import FIELD
from assistant_runtime.turn import AnswerStream, Question, Turns


class Responses:
    """POST /v1/responses, as an ASGI application.

    Parameters
    ----------
    turns, loop
        Answer questions, as for the chat.
    memory
        Keeps what responses follow.
    """

    def __init__(self, turns: Turns, loop: ToolLoop, memory: ResponseMemory) -> None:
        self._turns = turns
        self._loop = loop
        self._memory = memory

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, for as long as its client is there."""
        context = context_of(scope)
        body = await read_body(receive)
        if body is None:
            context.facts["client_gone"] = True
            return
        asked = parse(body, ResponsesRequest)
        payload = chat_payload(asked)
        async with ClientWatch(receive) as client:
            session_id, response_id = await self._place(asked, context.tenant)
            if session_id:
                payload[FIELD] = {**payload.get(FIELD, {}), "session": session_id}
            question = Question(
                payload, context.tenant, context.request_id, idempotency_key=response_id if session_id else ""
            )
            response = envelope(asked, response_id, stored=bool(session_id))
            if asked.get("stream"):
                await self._stream(question, response, context, client, send)
            else:
                await self._answer(question, response, context, send)
        if client.gone:
            context.facts["client_gone"] = True

    async def _place(self, asked: Mapping[str, Any], tenant: str) -> tuple[str, str]:
        """Give the session that the response belongs to, empty for none, and the response's id."""
        if previous := asked.get("previous_response_id"):
            return await self._memory.follow(tenant, previous)
        if asked.get("store") is False or (asked.get(FIELD) or {}).get("session"):
            return "", unstored_id()
        return await self._memory.begin(tenant) or ("", unstored_id())

    def _answering(self, question: Question) -> Turns | ToolLoop:
        return self._loop if self._loop.wants(question.payload) else self._turns

    async def _answer(self, question: Question, response: dict[str, Any], context: RequestContext, send: Send) -> None:
        answer = await self._answering(question).answer(question)
        context.facts |= {"provider": answer.provider, "cache": answer.cache}
        body = orjson.dumps(from_chat(response, orjson.loads(answer.body)))
        headers = {
            "content-type": "application/json",
            "content-length": str(len(body)),
            "x-provider": answer.provider,
            "x-cache": answer.cache,
        }
        await send({"type": "http.response.start", "status": 200, "headers": encoded(headers)})
        await send({"type": "http.response.body", "body": body})

    async def _stream(
        self, question: Question, response: dict[str, Any], context: RequestContext, client: ClientWatch, send: Send
    ) -> None:
        stream = await self._answering(question).stream(question)
        context.facts["provider"] = stream.provider
        headers = STREAM_HEADERS | {"x-provider": stream.provider}
        try:
            await send({"type": "http.response.start", "status": 200, "headers": encoded(headers)})
            async for events in _translated(stream, EventStream(response), context, client):
                await send({"type": "http.response.body", "body": events, "more_body": True})
        finally:
            await stream.aclose()
        await send({"type": "http.response.body", "body": b""})


async def _translated(
    stream: AnswerStream | AssistedStream, events: EventStream, context: RequestContext, client: ClientWatch
) -> AsyncGenerator[bytes, None]:
    """Translate the stream; one that breaks ends with response.failed."""
    try:
        yield events.begin()
        async for found in stream.events:
            if translated := events.feed(found):
                yield translated
        yield events.end()
    except ProviderError as error:
        context.facts |= {"truncated": True, "error": error.code}
        yield events.fail(error.message, error.code)
    except asyncio.CancelledError:
        if not client.gone and not stream.complete:
            context.facts |= {"truncated": True, "error": "server_shutting_down"}
            yield events.fail("the server is shutting down", "server_shutting_down")
        raise
