"""POST /v1/chat/completions, not streamed: what passes, what is refused, and how errors look."""

import io
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support.runtime import QUESTION, run_runtime
from tests.support.upstream import MODEL, Upstream, answers, completion, refuses


async def test_the_answer_is_the_providers_byte_for_byte(upstream: Upstream) -> None:
    body = '{"id": "x",  "object":"chat.completion", "choices": [{"message": {"content": "x"}}], "u": 1.50}'
    upstream.script = [answers(body)]
    async with run_runtime(upstream) as runtime:
        reply = await runtime.chat()
    assert reply.status == 200
    assert reply.body.decode() == body
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["x-provider"] == "first"


async def test_fields_of_the_client_reach_the_provider_unchanged(upstream: Upstream) -> None:
    fields: dict[str, Any] = {
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
        "tool_choice": "auto",
        "response_format": {"type": "json_object"},
        "temperature": 0.25,
        "seed": 7,
        "a_field_of_tomorrow": {"deep": [1, None, "ü"]},
    }
    messages = [
        {"role": "user", "content": [{"type": "text", "text": "hi"}], "name": "n"},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "type": "function", "function": {}}]},
        {"role": "tool", "tool_call_id": "1", "content": "42"},
    ]
    async with run_runtime(upstream) as runtime:
        await runtime.chat(messages=messages, **fields)
    assert upstream.requests == [{"messages": messages, **fields, "model": MODEL}]


async def test_tool_calls_of_the_model_reach_the_client(upstream: Upstream) -> None:
    answer = completion(MODEL)
    answer["choices"][0]["message"]["tool_calls"] = [{"id": "1", "type": "function", "function": {"name": "f"}}]
    upstream.script = [answers(json.dumps(answer))]
    async with run_runtime(upstream) as runtime:
        assert (await runtime.chat()).json == answer


@pytest.mark.parametrize(
    ("asked", "provider", "model"),
    [
        (None, "first", MODEL),
        ("default", "first", MODEL),
        ("first/default", "first", MODEL),
        ("big", "first", "big"),
        ("vendor/big", "first", "vendor/big"),
        ("second/big", "second", "big"),
        ("second/vendor/big", "second", "vendor/big"),
    ],
)
async def test_the_models_name_decides_who_is_asked_for_what(
    upstream: Upstream, second: Upstream, asked: str | None, provider: str, model: str
) -> None:
    upstream.models = (MODEL, "big", "vendor/big")
    async with run_runtime(upstream, second) as runtime:
        reply = await runtime.chat(model=asked)
    asked_provider = {"first": upstream, "second": second}[provider]
    assert reply.headers["x-provider"] == provider
    assert [request["model"] for request in asked_provider.requests] == [model]


async def test_the_preferred_provider_is_asked_first(upstream: Upstream, second: Upstream) -> None:
    async with run_runtime(upstream, second, preferred_provider="second") as runtime:
        assert (await runtime.chat()).headers["x-provider"] == "second"


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"messages": []}, "messages", "invalid_value"),
        ({"messages": "hi"}, "messages", "invalid_type"),
        ({"messages": [{"content": "hi"}]}, "messages[0].role", "missing_required_parameter"),
        ({"messages": [{"role": "king", "content": "hi"}]}, "messages[0].role", "invalid_value"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content", "invalid_type"),
        ({"stream": "yes"}, "stream", "invalid_type"),
        ({"temperature": 3}, "temperature", "invalid_value"),
        ({"temperature": "hot"}, "temperature", "invalid_type"),
        ({"top_p": -0.1}, "top_p", "invalid_value"),
        ({"n": 0}, "n", "invalid_value"),
        ({"max_tokens": -2}, "max_tokens", "invalid_value"),
        ({"presence_penalty": 2.5}, "presence_penalty", "invalid_value"),
        ({"model": 5}, "model", "invalid_type"),
        ({"tools": {}}, "tools", "invalid_type"),
    ],
)
async def test_a_bad_field_is_named_and_costs_nothing(
    upstream: Upstream, fields: dict[str, Any], param: str, code: str
) -> None:
    async with run_runtime(upstream) as runtime:
        reply = await runtime.chat(**fields)
    assert reply.status == 400
    assert reply.error["type"] == "invalid_request_error"
    assert reply.error["param"] == param
    assert reply.error["code"] == code
    assert param in reply.error["message"]
    assert reply.headers["x-request-id"].startswith("req_")
    assert upstream.requests == []


@pytest.mark.parametrize("body", ["", "{", "[1]", '"text"', '{"messages": NaN}', b"\xff\xfe"])
async def test_a_body_that_is_no_json_object_is_answered_with_400(upstream: Upstream, body: str | bytes) -> None:
    async with run_runtime(upstream) as runtime:
        reply = await runtime.post(body)
    assert reply.status == 400
    assert set(reply.error) == {"message", "type", "param", "code"}


@pytest.mark.parametrize("depth", [252, 253, 254, 255, 1000])
async def test_a_body_that_is_nested_too_deeply_is_answered_with_400(upstream: Upstream, depth: int) -> None:
    body = json.dumps(QUESTION | {"deep": "here"}).replace('"here"', "[" * depth + "]" * depth)
    async with run_runtime(upstream) as runtime:
        reply = await runtime.post(body)
    if reply.status != 200:
        assert (reply.status, reply.error["code"]) == (400, "invalid_json")
        assert "nested too deeply" in reply.error["message"]
    assert (reply.status == 200) is (depth < 253), "far deeper than any tool's schema"


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
@pytest.mark.parametrize("value", [0, -1])
async def test_no_limit_of_tokens_is_an_absent_field(upstream: Upstream, name: str, value: int) -> None:
    async with run_runtime(upstream) as runtime:
        reply = await runtime.post(json.dumps(QUESTION | {name: value}))
    assert reply.status == 200
    assert name not in upstream.requests[0]


@pytest.mark.parametrize("seed", [2**63 - 1, 2**64, -(2**70), 10**40])
async def test_an_integer_of_any_size_stays_one(upstream: Upstream, seed: int) -> None:
    async with run_runtime(upstream) as runtime:
        reply = await runtime.chat(seed=seed)
    assert reply.status == 200
    assert upstream.requests[0]["seed"] == seed
    assert isinstance(upstream.requests[0]["seed"], int)


async def test_a_missing_messages_field_is_named(upstream: Upstream) -> None:
    async with run_runtime(upstream) as runtime:
        reply = await runtime.post("{}")
    assert (reply.status, reply.error["param"]) == (400, "messages")


async def test_a_body_over_the_limit_is_answered_with_413(upstream: Upstream) -> None:
    body = json.dumps(QUESTION | {"padding": "x" * 10_000_000}).encode()

    async def in_pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 100_000):
            yield body[start : start + 100_000]

    async with run_runtime(upstream, max_request_bytes=1_000_000) as runtime:
        declared = await runtime.post(io.BytesIO(body))
        chunked = await runtime.post(in_pieces())
        after = await runtime.chat()
    for reply in (declared, chunked):
        assert (reply.status, reply.error["code"]) == (413, "request_too_large")
    assert after.status == 200
    assert len(upstream.requests) == 1


async def test_a_long_body_within_the_limit_passes(upstream: Upstream) -> None:
    body = json.dumps(QUESTION | {"padding": "x" * 3_000_000}).encode()
    async with run_runtime(upstream) as runtime:
        assert (await runtime.post(io.BytesIO(body))).status == 200
    assert len(upstream.requests[0]["padding"]) == 3_000_000


@pytest.mark.parametrize("chunked", [False, True])
async def test_an_offer_of_another_protocol_costs_no_body(upstream: Upstream, chunked: bool) -> None:
    """Java's own client offers HTTP/2 so, with each request over plain HTTP."""
    offer = {"connection": "Upgrade, HTTP2-Settings", "upgrade": "h2c", "http2-settings": "AAEAAEAAAAIAAAAB"}
    body = json.dumps(QUESTION | {"user": "\r\nUpgrade: all"}).encode()

    async def parts() -> AsyncIterator[bytes]:
        yield body

    async with run_runtime(upstream) as runtime:
        reply = await runtime.post(parts() if chunked else body, offer)
    assert (reply.status, upstream.requests[0]["user"]) == (200, "\r\nUpgrade: all")


async def test_a_model_that_the_provider_lacks_is_404(upstream: Upstream) -> None:
    upstream.script = [
        refuses(404, "no such model", code="model_not_found", type="invalid_request_error", param="model")
    ]
    async with run_runtime(upstream) as runtime:
        reply = await runtime.chat(model="first/nonsense")
    assert reply.status == 404
    assert reply.error["code"] == "model_not_found"
    assert reply.error["param"] == "model"
    assert "no such model" in reply.error["message"]


@pytest.mark.parametrize(
    ("path", "method", "status"), [("/v1/nothing", "GET", 404), ("/nothing", "GET", 404), ("/health", "PUT", 405)]
)
async def test_unknown_paths_and_methods_have_openais_error_shape(path: str, method: str, status: int) -> None:
    async with run_runtime() as runtime, runtime.client.request(method, runtime.url + path) as answer:
        assert answer.status == status
        assert set((await answer.json())["error"]) == {"message", "type", "param", "code"}
        assert "x-request-id" in answer.headers


@pytest.mark.parametrize(("given", "kept"), [("trace-42", True), ("a b", False), ("x" * 129, False), ('"}{', False)])
async def test_a_sane_request_id_is_kept_and_passed_on(upstream: Upstream, given: str, kept: bool) -> None:
    async with run_runtime(upstream) as runtime:
        reply = await runtime.chat(headers={"x-request-id": given})
    used = reply.headers["x-request-id"]
    assert (used == given) is kept
    assert upstream.headers[0]["x-request-id"] == used


async def test_without_a_provider_the_answer_says_what_to_set() -> None:
    async with run_runtime() as runtime:
        reply = await runtime.chat()
    assert (reply.status, reply.error["code"]) == (503, "no_provider")
    assert "OPENAI_COMPATIBLE_BASE_URL" in reply.error["message"]
