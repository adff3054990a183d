"""A provider to test against: a real HTTP server that speaks OpenAI's API, and misbehaves on request.

It keeps a script of behaviours, one a request, and a record of what it was asked, so that a test says beforehand what
the provider does and afterwards what it saw.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

MODEL = "fake-1"
WORDS = ("Paris ", "is ", "the ", "capital ", "of ", "France.")

Behaviour = Callable[["Upstream", web.Request, dict[str, Any]], Awaitable[web.StreamResponse]]


@dataclass
class Upstream:
    """The provider, as a test sees it."""

    name: str = "first"
    url: str = ""
    port: int = 0
    script: list[Behaviour] = field(default_factory=list)
    """Behaviours of the next chat requests; when it is used up, `normal`."""
    default: Behaviour | None = None
    list_answer: Behaviour | None = None
    """Answers GET /models, where that is not the usual list."""
    models_status: int = 200
    models: tuple[str, ...] = (MODEL,)
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)
    release: asyncio.Event = field(default_factory=asyncio.Event)
    """Set by a test to let a paced behaviour go on."""
    started: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a behaviour that waits has begun."""
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the runtime closed a connection that was being answered."""

    async def chat(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        body = json.loads(raw)
        self.raw.append(raw)
        self.requests.append(body)
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        behaviour = self.script.pop(0) if self.script else self.default or normal
        try:
            return await behaviour(self, request, body)
        except asyncio.CancelledError:
            self.closed.set()
            raise

    async def complete_text(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.requests.append(body)
        if self.script:
            return await self.script.pop(0)(self, request, body)
        if not body.get("stream"):
            return web.json_response(text_completion(body["model"], "".join(WORDS)))
        response = await sse(request)
        for word in WORDS:
            event = text_completion(body["model"], word, None)
            del event["usage"]
            await response.write(b"data: " + json.dumps(event).encode() + b"\n\n")
        await response.write(b"data: " + json.dumps(text_completion(body["model"], "")).encode() + b"\n\n")
        await response.write(b"data: [DONE]\n\n")
        return response

    async def embed(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.requests.append(body)
        if self.script:
            return await self.script.pop(0)(self, request, body)
        texts = body["input"] if isinstance(body["input"], list) else [body["input"]]
        return web.json_response(embeddings(body["model"], texts))

    async def list_models(self, request: web.Request) -> web.StreamResponse:
        if self.list_answer is not None:
            return await self.list_answer(self, request, {})
        if self.models_status != 200:
            return web.json_response({"error": {"message": "models are out"}}, status=self.models_status)
        data = [{"id": model, "object": "model", "created": 1, "owned_by": "fake"} for model in self.models]
        return web.json_response({"object": "list", "data": data})


def completion(model: str, text: str = "".join(WORDS)) -> dict[str, Any]:
    return {
        "id": "chatcmpl-fake",
        "object": "chat.completion",
        "created": 1,
        "model": model,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 14, "completion_tokens": 6, "total_tokens": 20},
    }


def text_completion(model: str, text: str, finish: str | None = "stop") -> dict[str, Any]:
    choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": finish}
    return completion(model) | {"object": "text_completion", "choices": [choice]}


def embeddings(model: str, texts: list[str]) -> dict[str, Any]:
    """Give each text a vector that tells its length, last text first: the order is the provider's own."""
    data = [
        {"object": "embedding", "index": index, "embedding": [float(len(text)), 1.0]}
        for index, text in enumerate(texts)
    ]
    usage = {"prompt_tokens": len(texts), "total_tokens": len(texts)}
    return {"object": "list", "data": data[::-1], "model": model, "usage": usage}


def chunk(model: str, text: str | None, finish: str | None = None) -> bytes:
    delta = {} if text is None else {"content": text}
    event = {
        "id": "chatcmpl-fake",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": model,
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    }
    return b"data: " + json.dumps(event).encode() + b"\n\n"


def whole_stream(model: str, words: tuple[str, ...] = WORDS) -> list[bytes]:
    return [*(chunk(model, word) for word in words), chunk(model, None, "stop"), b"data: [DONE]\n\n"]


def usage_chunk(model: str) -> bytes:
    """Give the event that tells the tokens, as OpenAI sends it before the last."""
    event = completion(model) | {"object": "chat.completion.chunk", "choices": []}
    return b"data: " + json.dumps(event).encode() + b"\n\n"


async def sse(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"content-type": "text/event-stream"})
    await response.prepare(request)
    return response


async def normal(_: Upstream, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    """Answer at once, as a stream where that is asked for."""
    if not body.get("stream"):
        return web.json_response(completion(body["model"]))
    response = await sse(request)
    *events, done = whole_stream(body["model"])
    if (body.get("stream_options") or {}).get("include_usage"):
        events.append(usage_chunk(body["model"]))
    for event in (*events, done):
        await response.write(event)
    return response


def writes(*parts: bytes) -> Behaviour:
    """Stream exactly these bytes, each in a write of its own, and end cleanly."""

    async def behave(_: Upstream, request: web.Request, __: dict[str, Any]) -> web.StreamResponse:
        response = await sse(request)
        for part in parts:
            await response.write(part)
            await asyncio.sleep(0)
        return response

    return behave


async def paced(upstream: Upstream, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    """Stream one word, wait for `release`, stream the rest."""
    response = await sse(request)
    first, *rest = whole_stream(body["model"])
    await response.write(first)
    upstream.started.set()
    await upstream.release.wait()
    for event in rest:
        await response.write(event)
    return response


async def hang(upstream: Upstream, _: web.Request, __: dict[str, Any]) -> web.StreamResponse:
    """Accept the request and say nothing, until the runtime goes away."""
    upstream.started.set()
    await asyncio.Event().wait()
    raise AssertionError("unreachable")


async def die_mid_stream(_: Upstream, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    """Stream two words and half an event, then cut the connection."""
    response = await sse(request)
    events = whole_stream(body["model"])
    await response.write(b"".join(events[:2]) + events[2][:20])
    assert request.transport is not None
    request.transport.close()
    return response


async def cut(_: Upstream, request: web.Request, __: dict[str, Any]) -> web.StreamResponse:
    """Cut the connection before any answer."""
    assert request.transport is not None
    request.transport.close()
    return web.Response()


def refuses(status: int, message: str = "no", headers: dict[str, str] | None = None, **error: str) -> Behaviour:
    """Answer with an error in OpenAI's shape."""

    async def behave(_: Upstream, __: web.Request, ___: dict[str, Any]) -> web.StreamResponse:
        return web.json_response({"error": {"message": message, **error}}, status=status, headers=headers)

    return behave


def answers(text: str, content_type: str = "application/json") -> Behaviour:
    """Answer 200 with exactly this text."""

    async def behave(_: Upstream, __: web.Request, ___: dict[str, Any]) -> web.StreamResponse:
        return web.Response(text=text, content_type=content_type)

    return behave


@asynccontextmanager
async def run_upstream(name: str = "first", port: int = 0) -> AsyncIterator[Upstream]:
    """Serve a provider on a free loopback port."""
    upstream = Upstream(name=name)
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_post("/v1/chat/completions", upstream.chat)
    app.router.add_post("/v1/completions", upstream.complete_text)
    app.router.add_post("/v1/embeddings", upstream.embed)
    app.router.add_get("/v1/models", upstream.list_models)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", port)
        await site.start()
        upstream.port = runner.addresses[0][1]
        upstream.url = f"http://127.0.0.1:{upstream.port}/v1"
        yield upstream
    finally:
        await runner.cleanup()
