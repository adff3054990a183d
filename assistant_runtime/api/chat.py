"""POST /v1/chat/completions."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from starlette.types import Scope

from assistant_runtime.api.caching import caching
from assistant_runtime.api.client_watch import ClientWatch
from assistant_runtime.api.context import RequestContext, header
from assistant_runtime.api.endpoint import Call, JsonEndpoint
from assistant_runtime.api.once import Once
from assistant_runtime.api.schemas import ChatRequest
from assistant_runtime.api.session_header import with_session
from assistant_runtime.errors import ApiError, ProviderError, error_body
from assistant_runtime.tool_loop.loop import AssistedStream, ToolLoop
from assistant_runtime.turn import AnswerStream, Question, Turns

TOKEN_LIMITS = ("max_tokens", "max_completion_tokens")
NO_LIMIT = (0, -1)
"""What clients of local servers send for it; OpenAI and others refuse these."""

MAX_KEY_CHARACTERS = 128
"""Of an Idempotency-Key; longer ones are cut."""


class ChatCompletions(JsonEndpoint):
    """The endpoint.

    Parameters
    ----------
    turns
        Answers questions that pass as they are.
    loop
        Answers those in which the runtime has a part.
    once
        Answers those that have an Idempotency-Key.
    """

    model = ChatRequest

    def __init__(self, turns: Turns, loop: ToolLoop, once: Once | None) -> None:
        self._turns = turns
        self._loop = loop
        self.once = once

    async def serve(self, call: Call) -> None:
        """Answer a chat."""
        question = _question(call.payload, call.context, call.scope)
        answering = self._loop if self._loop.wants(question.payload) else self._turns
        if not question.payload.get("stream"):
            await call.send_answer(await answering.answer(question))
            return
        await call.send_stream(
            answering.stream(question),
            lambda stream: honest(stream, call.context, call.client),
            lambda error: b"data: " + error.body + b"\n\n",
        )


async def honest(
    stream: AnswerStream | AssistedStream, context: RequestContext, client: ClientWatch
) -> AsyncGenerator[bytes, None]:
    """Pass the stream on; one that breaks ends with an event that says so, never with [DONE]."""
    try:
        async for events in stream.events:
            yield events
    except ProviderError as error:
        context.facts |= {"truncated": True, "error": error.code}
        yield truncated(error.message, error.code)
    except ApiError as error:
        context.facts |= {"truncated": True, "error": error.error["code"]}
        yield truncated(str(error), error.error["code"])
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
    for name in TOKEN_LIMITS:
        if payload.get(name) in NO_LIMIT:
            del payload[name]
    read_cache, write_cache = caching(scope, payload)
    return Question(
        with_session(payload, scope),
        principal=context.principal,
        request_id=context.request_id,
        account=context.account,
        read_cache=read_cache,
        write_cache=write_cache,
        idempotency_key=(header(scope, b"idempotency-key") or b"").decode("latin-1")[:MAX_KEY_CHARACTERS],
    )
