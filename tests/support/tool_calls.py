"""Providers' answers that ask for tools, for the scripts of the test provider."""

import json
from typing import Any

from aiohttp import web

from tests.support.upstream import MODEL, Behaviour, Upstream, chunk, completion, sse

Call = tuple[str, str, Any]
"""Id, name, arguments: a dictionary, or text as it is."""


def call_object(call: Call) -> dict[str, Any]:
    call_id, name, arguments = call
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": text}}


def calls(*asked: Call, text: str | None = None) -> Behaviour:
    """Ask for these tools, streamed or not as the request wants it."""

    async def behave(_: Upstream, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        if not body.get("stream"):
            answer = completion(MODEL, text or "")
            choice = answer["choices"][0]
            choice["message"] |= {"content": text, "tool_calls": [call_object(call) for call in asked]}
            choice["finish_reason"] = "tool_calls"
            return web.json_response(answer)
        response = await sse(request)
        await response.write(_delta({"role": "assistant", "content": text}))
        for index, call in enumerate(asked):
            whole = call_object(call)
            arguments = whole["function"]["arguments"]
            half = len(arguments) // 2
            function = {"name": whole["function"]["name"], "arguments": arguments[:half]}
            first = {"index": index, "id": whole["id"], "type": "function", "function": function}
            await response.write(_delta({"tool_calls": [first]}))
            second = {"index": index, "function": {"arguments": arguments[half:]}}
            await response.write(_delta({"tool_calls": [second]}))
        await response.write(chunk(MODEL, None, "tool_calls"))
        await _usage(response, body)
        await response.write(b"data: [DONE]\n\n")
        return response

    return behave


def says(text: str) -> Behaviour:
    """Answer with this text."""

    async def behave(_: Upstream, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        if not body.get("stream"):
            return web.json_response(completion(MODEL, text))
        response = await sse(request)
        await response.write(_delta({"role": "assistant", "content": text}))
        await response.write(chunk(MODEL, None, "stop"))
        await _usage(response, body)
        await response.write(b"data: [DONE]\n\n")
        return response

    return behave


def _delta(delta: dict[str, Any]) -> bytes:
    event = {
        "id": "chatcmpl-other",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": MODEL,
        "choices": [{"index": 0, "delta": delta, "finish_reason": None}],
    }
    return b"data: " + json.dumps(event).encode() + b"\n\n"


async def _usage(response: web.StreamResponse, body: dict[str, Any]) -> None:
    if (body.get("stream_options") or {}).get("include_usage"):
        event = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": MODEL, "choices": []}
        usage = {"prompt_tokens": 14, "completion_tokens": 6, "total_tokens": 20}
        await response.write(b"data: " + json.dumps(event | {"usage": usage}).encode() + b"\n\n")
