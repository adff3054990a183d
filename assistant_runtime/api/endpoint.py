"""What the hot endpoints have in common: read and validate a request, and answer it while its client is there.

They are Starlette endpoints, because a FastAPI route costs more than the rest of their path together; `openapi.py` puts
them into the OpenAPI document.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from pydantic import BaseModel
from starlette.types import Receive, Scope, Send

from assistant_runtime.api.client_watch import ClientWatch
from assistant_runtime.api.context import RequestContext, context_of, encoded, header
from assistant_runtime.api.event_sender import EventSender
from assistant_runtime.api.once import Answer as KeptAnswer
from assistant_runtime.api.once import Claim, Once, fingerprint_of, name_of
from assistant_runtime.api.request_body import parse, read_body
from assistant_runtime.errors import ApiError, ProviderError
from assistant_runtime.providers.dialect.asking import LeftOut
from assistant_runtime.tool_loop.loop import AssistedStream
from assistant_runtime.turn import Answer, AnswerStream

STREAM_HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-cache",
    "x-accel-buffering": "no",
    "x-cache": "bypass",
}
"""Proxies that would collect a stream are asked not to."""


SHUTTING_DOWN = ApiError(503, "the server is shutting down", error_type="server_error", code="server_shutting_down")

Stream = AnswerStream | AssistedStream
Events = Callable[[Stream], AsyncIterator[bytes]]
Failed = Callable[[ApiError], bytes]


@dataclass(slots=True)
class Call:
    """One validated request, and the way back to its client."""

    payload: dict[str, Any]
    """The client's own JSON."""
    scope: Scope
    context: RequestContext
    client: ClientWatch
    send: Send

    async def send_answer(self, answer: Answer, body: bytes | None = None) -> None:
        """Send an answer that was not streamed, as it is or written anew as `body`."""
        self.context.facts |= {"provider": answer.provider, "cache": answer.cache}
        headers = {"x-provider": answer.provider, "x-cache": answer.cache, **self._ignored(answer.left_out)}
        await self.send_json(body or answer.body, headers)

    async def send_json(self, body: bytes, headers: Mapping[str, str]) -> None:
        """Send a whole answer."""
        every = {"content-type": "application/json", "content-length": str(len(body)), **headers}
        await self.send({"type": "http.response.start", "status": 200, "headers": encoded(every)})
        await self.send({"type": "http.response.body", "body": body})

    async def send_stream(self, beginning: Awaitable[Stream], events: Events, failed: Failed) -> None:
        """Wait for a stream, send the events that are made of it, and close it however that ends.

        Parameters
        ----------
        beginning
            Gives the stream.
        events
            Makes the events that the client gets.
        failed
            Makes the event for a client that was sent comments while it waited for a stream that never began.
        """
        async with EventSender(self.send, STREAM_HEADERS) as sender:
            stream = await self._begun(beginning, sender, failed)
            if stream is None:
                return
            self.context.facts["provider"] = stream.provider
            try:
                await sender.begin({"x-provider": stream.provider, **self._ignored(stream.left_out)})
                async for found in events(stream):
                    await sender.send(found)
            finally:
                await stream.aclose()
            await sender.end()

    async def _begun(self, beginning: Awaitable[Stream], sender: EventSender, failed: Failed) -> Stream | None:
        """Wait for a stream; None: it failed, and the client was told so in an event, because its head was sent."""
        try:
            return await beginning
        except asyncio.CancelledError:
            if sender.begun and not self.client.gone:
                await sender.send(failed(SHUTTING_DOWN))
            raise
        except (ApiError, ProviderError) as error:
            if not sender.begun:
                raise
            told = error.to_api_error() if isinstance(error, ProviderError) else error
            self.context.facts["error"] = told.error["code"]
            await sender.send(failed(told))
            await sender.end()
            return None

    def _ignored(self, left_out: Sequence[LeftOut]) -> dict[str, str]:
        """Tell the client which of its fields the model does not take."""
        if not left_out:
            return {}
        fields = ", ".join(dict.fromkeys(each.field for each in left_out if each.field))
        self.context.facts["left_out"] = fields or "tools"
        return {"x-ignored-params": fields} if fields else {}


class JsonEndpoint(ABC):
    """A POST of JSON, as an ASGI application."""

    model: ClassVar[type[BaseModel]]
    """What a request must be."""
    once: Once | None = None
    """Answers requests that have an Idempotency-Key; None: the header means nothing."""

    @abstractmethod
    async def serve(self, call: Call) -> None:
        """Answer one request."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, for as long as its client is there."""
        context = context_of(scope)
        body = await read_body(receive)
        if body is None:
            context.facts["client_gone"] = True
            return
        payload = parse(body, self.model)
        key = header(scope, b"idempotency-key") if self.once is not None else None
        if key:
            await self._serve_once((key, body), payload, scope, send)
            return
        with ClientWatch(scope) as client:
            await self.serve(Call(payload, scope, context, client, send))
        if client.gone:
            context.facts["client_gone"] = True

    async def _serve_once(self, sent: tuple[bytes, bytes], payload: dict[str, Any], scope: Scope, send: Send) -> None:
        """Answer a request that has an Idempotency-Key, `sent` with its body: ask for the first of its key alone."""
        assert self.once is not None  # noqa: S101 - for mypy
        context, client = context_of(scope), ClientWatch(scope)
        key, body = sent
        name = name_of(context.principal, scope["path"], key)
        fingerprint = fingerprint_of(body, header(scope, b"x-session-id") or b"")
        async with AsyncExitStack() as stack:
            with client:
                found = await stack.enter_async_context(self.once.answering(name, fingerprint))
            if client.gone:
                context.facts["client_gone"] = True
            elif isinstance(found, KeptAnswer):
                context.facts["replayed"] = True
                await found.send(send)
            else:
                await self._serve_first(found, Call(payload, scope, context, client, found.recording(send)))

    async def _serve_first(self, claim: Claim, call: Call) -> None:
        if not call.payload.get("stream"):
            # To its end, also if the client leaves: it may ask again under its key, and has paid.
            await self.serve(call)
            return
        with ClientWatch(call.scope) as client:
            await self.serve(replace(call, client=client))
        if client.gone:
            call.context.facts["client_gone"] = True
        claim.answer.whole = claim.answer.whole and not call.context.facts.keys() & {"truncated", "error"}
