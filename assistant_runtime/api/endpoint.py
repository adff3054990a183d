"""What the hot endpoints have in common: read and validate a request, and answer it while its client is there.

They are Starlette endpoints, because a FastAPI route costs more than the rest of their path together; `openapi.py` puts
them into the OpenAPI document.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import BaseModel
from starlette.types import Receive, Scope, Send

from assistant_runtime.api.client_watch import ClientWatch
from assistant_runtime.api.context import RequestContext, context_of, encoded
from assistant_runtime.api.request_body import parse, read_body
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


@dataclass(frozen=True, slots=True)
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

    async def send_stream(self, stream: AnswerStream | AssistedStream, events: AsyncIterator[bytes]) -> None:
        """Send the events that were made of a stream, and close the stream however that ends."""
        self.context.facts["provider"] = stream.provider
        headers = STREAM_HEADERS | {"x-provider": stream.provider, **self._ignored(stream.left_out)}
        try:
            await self.send({"type": "http.response.start", "status": 200, "headers": encoded(headers)})
            async for found in events:
                await self.send({"type": "http.response.body", "body": found, "more_body": True})
        finally:
            await stream.aclose()
        await self.send({"type": "http.response.body", "body": b""})

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
        async with ClientWatch(receive) as client:
            await self.serve(Call(payload, scope, context, client, send))
        if client.gone:
            context.facts["client_gone"] = True
