"""What the runtime learns of a provider, for whom it counts, and what it sends without having learned anything."""

import json
from typing import Any

import pytest
from aiohttp import web

from assistant_runtime.providers.dialect import memory
from assistant_runtime.providers.dialect.adaptations import Adaptation
from assistant_runtime.providers.dialect.memory import FORGOTTEN_SECONDS, Lesson, Memory
from tests.support.runtime import QUESTION, run_runtime
from tests.support.upstream import Upstream, normal, refuses

USER = {"role": "user", "content": "Hi"}
KIND = {"role": "system", "content": "Be kind."}
SHORT = {"role": "developer", "content": "Be short."}
AGENT = {"name": "poet", "prompt": "You rhyme.", "model": "default"}
NEVER = Adaptation("nothing", lambda _, __: False, lambda _: None)


def asked(upstream: Upstream) -> list[Any]:
    return [(message["role"], message["content"]) for message in upstream.requests[-1]["messages"]]


@pytest.mark.parametrize(
    ("path", "fields", "sent"),
    [
        (
            "/v1/chat/completions",
            {"model": "agent/poet", "messages": [KIND, USER]},
            [("system", "You rhyme.\n\nBe kind."), ("user", "Hi")],
        ),
        (
            "/v1/responses",
            {"instructions": "Be kind.", "input": [SHORT, USER], "store": False},
            [("system", "Be kind.\n\nBe short."), ("user", "Hi")],
        ),
        (
            "/v1/responses",
            {"input": [SHORT, SHORT, USER], "store": False},
            [("system", "Be short.\n\nBe short."), ("user", "Hi")],
        ),
        (
            "/v1/chat/completions",
            {"messages": [SHORT, {**KIND, "content": [{"type": "text", "text": "Be kind."}]}, USER]},
            [
                ("developer", [{"type": "text", "text": "Be short."}, {"type": "text", "text": "Be kind."}]),
                ("user", "Hi"),
            ],
        ),
        (
            "/v1/chat/completions",
            {"messages": [KIND, {**KIND, "name": "example_user"}, USER]},
            [("system", "Be kind."), ("system", "Be kind."), ("user", "Hi")],
        ),
        (
            "/v1/chat/completions",
            {"messages": [KIND, USER, KIND]},
            [("system", "Be kind."), ("user", "Hi"), ("system", "Be kind.")],
        ),
    ],
)
async def test_what_the_system_says_first_is_one_message(
    upstream: Upstream, path: str, fields: dict[str, Any], sent: list[Any]
) -> None:
    async with run_runtime(upstream, agents=[AGENT]) as runtime:
        assert (await runtime.post(json.dumps(fields), path=path)).status == 200
    assert asked(upstream) == sent


async def no_tools_with_json(upstream: Upstream, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    if body.get("response_format") and body.get("tools"):
        return await refuses(400, "no tools in JSON mode")(upstream, request, body)
    return await normal(upstream, request, body)


async def test_what_is_learned_of_one_kind_of_request_counts_for_that_kind_alone(upstream: Upstream) -> None:
    upstream.default = no_tools_with_json
    in_json: dict[str, Any] = {"response_format": {"type": "json_object"}}
    async with run_runtime(upstream, fetch_tool_enabled=True, redis_cache_enabled=False) as runtime:
        for fields in (in_json, {}, in_json):
            assert (await runtime.chat(**fields)).status == 200
    assert ["tools" in request for request in upstream.requests] == [True, False, True, False]


async def test_what_is_learned_of_one_model_or_provider_counts_for_no_other(
    upstream: Upstream, second: Upstream
) -> None:
    async def plain(it: Upstream, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        refused = body["model"] == "small" and "seed" in body
        return await (refuses(400, "seed: unsupported", param="seed") if refused else normal)(it, request, body)

    upstream.default = second.default = plain
    async with run_runtime(upstream, second) as runtime:
        for model in ("first/small", "first/big", "second/small", "first/small"):
            assert (await runtime.chat(model=model, seed=1)).status == 200
    assert ["seed" in request for request in upstream.requests] == [True, False, True, False]
    assert ["seed" in request for request in second.requests] == [True, False]


async def test_what_did_not_help_is_not_learned(upstream: Upstream) -> None:
    upstream.script = [refuses(400, "seed: unsupported", param="seed"), refuses(400, "no user message")]
    async with run_runtime(upstream) as runtime:
        reply = await runtime.chat(seed=1)
        assert (reply.status, "no user message" in reply.error["message"]) == (400, True)
        assert (await runtime.chat(seed=2)).status == 200
    assert ["seed" in request for request in upstream.requests] == [True, False, True]


async def test_a_client_is_told_what_it_does_not_get_and_the_answer_is_not_kept_for_others(upstream: Upstream) -> None:
    async def warm(it: Upstream, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        refused = "temperature" in body
        error = refuses(400, "temperature is not supported", param="temperature")
        return await (error if refused else normal)(it, request, body)

    upstream.default = warm
    async with run_runtime(upstream, fetch_tool_enabled=True) as runtime:
        replies = [await runtime.chat(temperature=0) for _ in range(2)]
        streamed = await runtime.chat(temperature=0, stream=True)
    assert [reply.headers["x-ignored-params"] for reply in (*replies, streamed)] == ["temperature"] * 3
    assert [reply.headers["x-cache"] for reply in replies] == ["miss", "miss"]
    assert "temperature was left out" in replies[0].json["assistant"]["notes"][0]


def test_memory_forgets_and_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(memory, "MAX_PLACES", 3)
    kept = Memory(clock=lambda: now)
    lesson = (Lesson(NEVER, "no"),)
    for model in "abcd":
        kept.learn(("p", model, ""), lesson)
    assert [kept.known(("p", model, "")) for model in "abcd"] == [(), lesson, lesson, lesson]
    now = FORGOTTEN_SECONDS + 1
    assert kept.known(("p", "d", "")) == ()


async def test_a_plain_question_reaches_a_plain_provider_as_it_was_asked(upstream: Upstream) -> None:
    async with run_runtime(upstream) as runtime:
        await runtime.chat(model="first/x", temperature=0.3, store=False)
    assert upstream.requests == [QUESTION | {"model": "x", "temperature": 0.3, "store": False}]
