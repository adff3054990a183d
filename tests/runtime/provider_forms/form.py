"""A row of the table: what a provider sends, and what the runtime makes of it."""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.support.runtime import QUESTION, Reply, Runtime, eventually, run_runtime
from tests.support.upstream import MODEL, Behaviour, Upstream, normal, writes

FUNCTION = {"type": "function", "function": {"name": "clock", "parameters": {"type": "object", "properties": {}}}}
OWN = "fetch_page"
"""The tool that the runtime offers where a row wants one."""


@dataclass
class World:
    """A runtime without tools and one with a tool, before the same two providers."""

    first: Upstream
    second: Upstream
    plain: Runtime
    tooled: Runtime

    def begin(self, *script: Behaviour) -> None:
        """Let the first provider do this, one a request, and then answer normally."""
        for provider in (self.first, self.second):
            provider.script, provider.requests, provider.models = [], [], (MODEL,)
        self.first.script = list(script)


@dataclass(frozen=True)
class Form(ABC):
    """One form of one provider."""

    name: str
    source: str
    """Whose it is, and where it was found."""

    @abstractmethod
    async def check(self, world: World) -> None:
        """Let the provider do it, and see what comes of it."""

    async def ask(self, runtime: Runtime, path: str = "/v1/chat/completions", **fields: Any) -> Reply:
        """Ask for a model that is this row's alone, so that rows learn nothing of each other."""
        body = {**fields, "model": f"first/{self.name}"}
        return await runtime.post(json.dumps(body), {"content-type": "application/json"}, path)


def sends(status: int, body: Any, headers: Mapping[str, str] | None = None) -> Behaviour:
    """Answer with this status and this body: JSON, or a text or bytes as they are."""
    raw = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else json.dumps(body).encode()

    async def behave(_: Upstream, __: web.Request, ___: dict[str, Any]) -> web.StreamResponse:
        kind = "application/json" if raw[:1] in b"{[" else "text/html"
        return web.Response(body=raw, status=status, content_type=kind, headers=headers)

    return behave


@dataclass(frozen=True)
class Refused(Form):
    """A request that the provider refuses, and takes in another form."""

    status: int
    body: Any
    asked: Mapping[str, Any]
    takes: Callable[[dict[str, Any]], bool]
    """Whether the provider takes a request."""
    ignored: str = ""
    """What the client is told it does not get."""
    tooled: bool = False
    lasting: bool = True
    """Whether what helped is remembered."""

    async def check(self, world: World) -> None:
        async def strict(upstream: Upstream, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
            answer = normal if self.takes(body) else sends(self.status, self.body)
            return await answer(upstream, request, body)

        runtime = world.tooled if self.tooled else world.plain
        for again in (False, True):
            world.begin(*[strict] * 8)
            reply = await self.ask(runtime, **{**QUESTION, **self.asked})
            assert reply.status == 200, reply.body
            assert reply.headers.get("x-ignored-params", "") == self.ignored
            if again and self.lasting:
                assert len(world.first.requests) == 1, "what was learned is known"
            else:
                assert not self.takes(world.first.requests[0]), "it would be refused as it was asked"


@dataclass(frozen=True)
class Failed(Form):
    """A failure that no other form of the request helps."""

    status: int
    body: Any
    told: int
    """The status that the client gets, without another provider."""
    says: str = ""
    """Part of what the client is told."""
    next: bool = True
    """Whether another provider is asked."""
    code: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    asked: Mapping[str, Any] = field(default_factory=dict)

    async def check(self, world: World) -> None:
        world.begin(sends(self.status, self.body, self.headers))
        reply = await self.ask(world.plain, **{**QUESTION, **self.asked})
        assert reply.status == self.told, reply.body
        assert self.says in reply.error["message"]
        assert len(world.first.requests) == 1, "nothing that could help was tried"
        assert self.code in {"", reply.error["code"]}
        world.begin(sends(self.status, self.body, self.headers))
        either = await world.plain.chat(**self.asked)
        assert (either.status == 200) == self.next
        assert len(world.second.requests) == self.next


@dataclass(frozen=True)
class Broken(Form):
    """Something that comes with 200 and is no answer: the next provider's turn."""

    whole: Any = None
    stream: bytes = b""

    async def check(self, world: World) -> None:
        world.begin(sends(200, self.whole) if self.whole is not None else writes(self.stream))
        reply = await world.plain.chat(stream=bool(self.stream))
        assert (reply.status, reply.headers["x-provider"]) == (200, "second"), reply.body


@dataclass(frozen=True)
class Answered(Form):
    """An answer, whole or as a stream, in a form of its own."""

    whole: Any = None
    stream: bytes = b""
    text: str = ""
    thoughts: str = ""
    calls: tuple[tuple[str, Any], ...] = ()
    """Name and arguments of each."""
    status: str = "completed"
    tokens: int | None = None
    """Of the prompt."""
    passed: bytes | None = None
    """What the client gets byte for byte, where that differs from what the provider sent."""

    async def check(self, world: World) -> None:
        behaviour = sends(200, self.whole) if self.whole is not None else writes(self.stream)
        world.begin(behaviour)
        reply = await self.ask(world.plain, stream=bool(self.stream), messages=QUESTION["messages"])
        raw = self.stream or (self.whole if isinstance(self.whole, bytes) else json.dumps(self.whole).encode())
        assert (reply.status, reply.body) == (200, raw if self.passed is None else self.passed)
        for runtime in (world.plain, world.tooled):
            world.begin(behaviour)
            given = await self.ask(runtime, "/v1/responses", **self._asked())
            self._see(response_of(given))

    def _asked(self) -> dict[str, Any]:
        tools = [{"type": "function", **FUNCTION["function"]}]  # type: ignore[dict-item]
        return {"input": "What time is it?", "stream": bool(self.stream), "store": False, "tools": tools}

    def _see(self, response: dict[str, Any]) -> None:
        output = response["output"]
        calls = [(item["name"], json.loads(item["arguments"])) for item in output if item["type"] == "function_call"]
        assert response["status"] == self.status
        assert parts(output, "message") == self.text
        assert parts(output, "reasoning") == self.thoughts
        assert calls == list(self.calls)
        ids = [item["call_id"] for item in output if item["type"] == "function_call"]
        assert all(ids), "a result has something to refer to"
        assert len(set(ids)) == len(ids)
        if self.tokens is not None:
            assert response["usage"]["input_tokens"] == self.tokens


def parts(output: list[dict[str, Any]], kind: str) -> str:
    """Give the text of all items of a kind."""
    return "".join(part["text"] for item in output if item["type"] == kind for part in item["content"])


def response_of(reply: Reply) -> dict[str, Any]:
    """Give the response, as it is at the end of a stream."""
    assert reply.status == 200, reply.body
    if not reply.headers["content-type"].startswith("text/event-stream"):
        whole: dict[str, Any] = reply.json
        return whole
    events = [json.loads(event.partition(b"data: ")[2]) for event in reply.body.split(b"\n\n") if event]
    last: dict[str, Any] = events[-1]["response"]
    return last


@dataclass(frozen=True)
class Listed(Form):
    """A list of models."""

    status: int
    body: Any
    models: tuple[str, ...]
    """What the runtime lists beside `default`."""
    degraded: bool = False

    async def check(self, world: World) -> None:
        world.begin()
        world.first.list_answer = sends(self.status, self.body)
        try:
            async with run_runtime(world.first) as runtime:
                ready = await ready_state(runtime)
                assert ready["status"] == ("degraded" if self.degraded else "ready"), ready
                listed = [model["id"] for model in (await runtime.get("/v1/models")).json["data"]]
                assert listed == ["default", *self.models]
                assert (await runtime.chat()).status == 200
        finally:
            world.first.list_answer = None


async def ready_state(runtime: Runtime) -> dict[str, Any]:
    """Give what /ready says once the provider was asked."""
    await eventually(lambda: provider_asked(runtime))
    return await runtime.ready()


async def provider_asked(runtime: Runtime) -> bool:
    provider = (await runtime.ready())["checks"]["provider"]
    return provider["status"] != "starting"


def chunks(*choices: dict[str, Any], end: bytes = b"data: [DONE]\n\n") -> bytes:
    """Write a stream of chunks, each with this one choice, or with these fields where it has `choices`."""
    events = [
        {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": MODEL}
        | (choice if "choices" in choice else {"choices": [{"index": 0, **choice}]})
        for choice in choices
    ]
    return b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events) + end


def said(**delta: Any) -> dict[str, Any]:
    """Give a choice that adds this."""
    return {"delta": delta, "finish_reason": None}


def ended(reason: str | None = "stop", **delta: Any) -> dict[str, Any]:
    """Give a choice that ends."""
    return {"delta": delta, "finish_reason": reason}


def answer(message: Mapping[str, Any], finish: Any = "stop", **more: Any) -> dict[str, Any]:
    """Give a whole answer with this message."""
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}
    return {"id": "c", "object": "chat.completion", "created": 1, "model": MODEL, "choices": [choice], **more}
