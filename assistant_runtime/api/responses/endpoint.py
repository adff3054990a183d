"""The endpoint, a plain one beside the chat's."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from assistant_runtime import json_text
from assistant_runtime.api.caching import caching
from assistant_runtime.api.client_watch import ClientWatch
from assistant_runtime.api.context import RequestContext
from assistant_runtime.api.endpoint import Call, JsonEndpoint
from assistant_runtime.api.once import Once
from assistant_runtime.api.responses.answer import envelope, from_chat
from assistant_runtime.api.responses.events import EventStream
from assistant_runtime.api.responses.ids import unstored_id
from assistant_runtime.api.responses.memory import Place, ResponseMemory
from assistant_runtime.api.responses.request import ResponsesRequest, chat_payload
from assistant_runtime.api.responses.stored import StoredResponses
from assistant_runtime.api.responses.tools import client_tools
from assistant_runtime.api.session_header import with_session
from assistant_runtime.errors import ApiError, ProviderError
from assistant_runtime.tool_loop.conversation import following
from assistant_runtime.tool_loop.loop import AssistedStream, ToolLoop
from assistant_runtime.tool_loop.options import FIELD
from assistant_runtime.turn import AnswerStream, Question, Turns


class Responses(JsonEndpoint):
    """POST /v1/responses.

    Parameters
    ----------
    turns, loop
        Answer questions, as for the chat.
    memory
        Keeps what responses follow.
    stored
        What items can refer to.
    once
        Answers requests that have an Idempotency-Key.
    """

    model = ResponsesRequest

    def __init__(
        self, turns: Turns, loop: ToolLoop, memory: ResponseMemory, stored: StoredResponses, once: Once | None
    ) -> None:
        self._turns = turns
        self._loop = loop
        self._memory = memory
        self._stored = stored
        self.once = once

    async def serve(self, call: Call) -> None:
        """Give a response."""
        asked, context = with_session(call.payload, call.scope), call.context
        if isinstance(asked["input"], list):
            asked = asked | {"input": await self._stored.resolved(context.tenant, asked["input"])}
        tools = client_tools(asked.get("tools") or (), can_search=self._loop.has_tool("web_search"))
        payload = chat_payload(asked, tools)
        place = await self._place(asked, context.tenant)
        if place.session_id:
            payload[FIELD] = {**payload.get(FIELD, {}), "session": place.session_id}
        if place.before:
            payload["messages"] = following(place.before, payload["messages"])
        response = envelope(asked, tools, place.response_id, stored=bool(place.session_id))
        read_cache, write_cache = caching(call.scope, payload)
        question = Question(
            payload,
            context.principal,
            context.request_id,
            context.account,
            read_cache,
            write_cache,
            idempotency_key=place.response_id if place.session_id else "",
            stored_in=place.session_id,
            about={"response": response} if place.session_id else None,
        )
        answering = self._loop if self._loop.wants(payload) else self._turns
        if not asked.get("stream"):
            async with self._beginning(place, context.tenant):
                answer = await answering.answer(question)
            await call.send_answer(answer, json_text.dumps(from_chat(response, json_text.loads(answer.body), tools)))
            return
        events = EventStream(response, tools)

        async def begin() -> AnswerStream | AssistedStream:
            async with self._beginning(place, context.tenant):
                return await answering.stream(question)

        await call.send_stream(
            begin(),
            lambda stream: _translated(stream, events, context, call.client),
            lambda error: events.begin() + events.fail(str(error), str(error.error["code"])),
        )

    async def _place(self, asked: Mapping[str, Any], tenant: str) -> Place:
        previous, store = asked.get("previous_response_id"), asked.get("store") is not False
        if previous and not store:
            return Place(unstored_id(), before=await self._memory.before(tenant, previous))
        if previous:
            return await self._memory.follow(tenant, previous)
        if not store or (asked.get(FIELD) or {}).get("session"):
            return Place(unstored_id())
        return await self._memory.begin(tenant) or Place(unstored_id())

    @asynccontextmanager
    async def _beginning(self, place: Place, tenant: str) -> AsyncIterator[None]:
        """Wait for an answer's beginning; a session that was begun for one that does not come goes again."""
        try:
            yield
        except BaseException:
            if place.is_new:
                await self._memory.forget(tenant, place.session_id)
            raise


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
    except ApiError as error:
        context.facts |= {"truncated": True, "error": error.error["code"]}
        yield events.fail(str(error), error.error["code"])
    except asyncio.CancelledError:
        if not client.gone and not stream.complete:
            context.facts |= {"truncated": True, "error": "server_shutting_down"}
            yield events.fail("the server is shutting down", "server_shutting_down")
        raise
