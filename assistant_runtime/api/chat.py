"""POST /v1/chat/completions.

A Starlette endpoint, because a FastAPI route costs more than the rest of this path together; `openapi.py` puts it into
the OpenAPI document.
"""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from starlette.types import Receive, Scope, Send

from assistant_runtime.api.client_watch import ClientWatch
from assistant_runtime.api.context import RequestContext, context_of, encoded, header
from assistant_runtime.api.request_body import parse, read_body
from assistant_runtime.api.schemas import ChatRequest
from assistant_runtime.errors import ProviderError, error_body
from assistant_runtime.tool_loop.loop import AssistedStream, ToolLoop
from assistant_runtime.turn import AnswerStream, Question, Turns

STREAM_HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache",
    "x-accel-buffering": "no",
    "x-cache": "bypass",
}
"""Proxies that would collect a stream are asked not to."""


MAX_KEY_CHARACTERS = 128
"""Of an Idempotency-Key; longer ones are cut."""


class ChatCompletions:
    """The endpoint, as an ASGI application.

    Parameters
    ----------
    turns
        Answers questions that pass as they are.
    loop
        Answers those in which the runtime has a part.
    """

    def __init__(self, turns: Turns, loop: ToolLoop) -> None:
        self._turns = turns
        self._loop = loop

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, for as long as its client is there."""
        context = context_of(scope)
        body = await read_body(receive)
        if body is None:
            context.facts["client_gone"] = True
            return
        payload = parse(body, ChatRequest)
        question = _question(payload, context, scope)
        async with ClientWatch(receive) as client:
            if payload.get("stream"):
                await self._stream(question, context, client, send)
            else:
                await self._answer(question, context, send)
        if client.gone:
            context.facts["client_gone"] = True

    def _answering(self, question: Question) -> Turns | ToolLoop:
        return self._loop if self._loop.wants(question.payload) else self._turns

    async def _answer(self, question: Question, context: RequestContext, send: Send) -> None:
        answer = await self._answering(question).answer(question)
        context.facts |= {"provider": answer.provider, "cache": answer.cache}
        headers = {
            "content-type": "application/json",
            "content-length": str(len(answer.body)),
            "x-provider": answer.provider,
            "x-cache": answer.cache,
        }
        await send({"type": "http.response.start", "status": 200, "headers": encoded(headers)})
        await send({"type": "http.response.body", "body": answer.body})

    async def _stream(self, question: Question, context: RequestContext, client: ClientWatch, send: Send) -> None:
        stream = await self._answering(question).stream(question)
        context.facts["provider"] = stream.provider
        headers = STREAM_HEADERS | {"x-provider": stream.provider}
        try:
            await send({"type": "http.response.start", "status": 200, "headers": encoded(headers)})
            async for events in _honest(stream, context, client):
                await send({"type": "http.response.body", "body": events, "more_body": True})
        finally:
            await stream.aclose()
        await send({"type": "http.response.body", "body": b""})


async def _honest(
    stream: AnswerStream | AssistedStream, context: RequestContext, client: ClientWatch
) -> AsyncGenerator[bytes, None]:
    """Pass the stream on; one that breaks ends with an event that says so, never with [DONE]."""
    try:
        async for events in stream.events:
            yield events
    except ProviderError as error:
        context.facts |= {"truncated": True, "error": error.code}
        yield truncated(error.message, error.code)
    except asyncio.CancelledError:
        if not client.gone and not stream.complete:
            context.facts |= {"truncated": True, "error": "server_shutting_down"}
            yield truncated("the server is shutting down", "server_shutting_down")
        raise


def truncated(reason: str, code: str) -> bytes:
    """Give the last event of a stream that broke."""
    error = {
        "message": f"The answer is truncated: {reason}.",
        "type": "upstream_error",
        "param": None,
        "code": code,
        "truncated": True,
    }
    return b"data: " + error_body(error) + b"\n\n"


def _question(payload: dict[str, Any], context: RequestContext, scope: Scope) -> Question:
    cache_control = header(scope, b"cache-control") or b""
    directives = {directive.strip() for directive in cache_control.lower().split(b",")}
    no_store = b"no-store" in directives
    return Question(
        payload,
        tenant=context.tenant,
        request_id=context.request_id,
        read_cache=not no_store and b"no-cache" not in directives,
        write_cache=not no_store,
        idempotency_key=(header(scope, b"idempotency-key") or b"").decode("latin-1")[:MAX_KEY_CHARACTERS],
    )
