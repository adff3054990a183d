"""Failures of providers: who is asked next, and what the client is told."""

import json
import socket
from typing import Any

import pytest
from aiohttp import web

from tests.support.runtime import Runtime, eventually, run_runtime
from tests.support.server import free_port
from tests.support.upstream import MODEL, Behaviour, Upstream, answers, cut, hang, normal, refuses, whole_stream, writes

KEY = "sk-upstream-0123456789"

FAILURES = {
    "429": refuses(429),
    "500": refuses(500),
    "503": refuses(503),
    "key refused": refuses(401),
    "cut": cut,
    "silent": hang,
    "not JSON": answers("<html>"),
    "error in a 200": answers('{"error": {"message": "the model behind is down"}}'),
    "redirect": refuses(302, headers={"location": "http://127.0.0.1:1/"}),
}


def patience(behaviour: Behaviour) -> float:
    """Give the provider's timeout in seconds: short only where it is to pass."""
    return 0.5 if behaviour is hang else 60.0


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("behaviour", FAILURES.values(), ids=FAILURES.keys())
async def test_the_next_provider_answers_when_one_fails(
    upstream: Upstream, second: Upstream, behaviour: Behaviour, stream: bool
) -> None:
    upstream.default = behaviour
    async with run_runtime(upstream, second, openai_compatible_timeout=patience(behaviour)) as runtime:
        reply = await runtime.chat(stream=stream)
    assert (reply.status, reply.headers["x-provider"]) == (200, "second")
    assert len(second.requests) == 1


async def test_a_stream_that_fails_before_its_first_token_falls_back(upstream: Upstream, second: Upstream) -> None:
    upstream.script = [writes(b": thinking\n\n", b'data: {"error": {"message": "overloaded"}}\n\n')]
    async with run_runtime(upstream, second) as runtime:
        reply = await runtime.chat(stream=True)
    assert reply.headers["x-provider"] == "second"
    assert reply.body == b"".join(whole_stream(MODEL))


async def test_a_provider_that_nobody_listens_for_is_passed_over(second: Upstream) -> None:
    gone = Upstream(name="gone", url=f"http://127.0.0.1:{free_port()}/v1")
    async with run_runtime(gone, second) as runtime:
        assert (await runtime.chat()).headers["x-provider"] == "second"


async def test_a_request_at_fault_is_not_sent_to_anyone_else(upstream: Upstream, second: Upstream) -> None:
    upstream.script = [refuses(400, "context too long", code="context_length_exceeded")]
    async with run_runtime(upstream, second) as runtime:
        reply = await runtime.chat()
    assert (reply.status, reply.error["code"]) == (400, "context_length_exceeded")
    assert second.requests == []


async def takes_the_newer_name(it: Upstream, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    if "max_tokens" in body:
        told = (
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
        )
        return await refuses(400, told, code="unsupported_parameter")(it, request, body)
    return await normal(it, request, body)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_model_that_takes_max_tokens_by_its_newer_name_is_asked_by_that(
    upstream: Upstream, stream: bool
) -> None:
    upstream.default = takes_the_newer_name
    asked = json.dumps({"input": "hi", "max_output_tokens": 30, "stream": stream})
    async with run_runtime(upstream) as runtime:
        assert (await runtime.post(asked, path="/v1/responses")).status == 200
        assert (await runtime.chat(max_tokens=20, stream=stream)).status == 200
        assert (await runtime.chat(stream=stream)).status == 200
    limits = [(each.get("max_tokens"), each.get("max_completion_tokens")) for each in upstream.requests]
    assert limits == [(30, None), (None, 30), (None, 20), (None, None)]


async def test_fallback_can_be_turned_off(upstream: Upstream, second: Upstream) -> None:
    upstream.script = [refuses(500)]
    async with run_runtime(upstream, second, enable_provider_fallback=False) as runtime:
        assert (await runtime.chat()).status == 502
    assert second.requests == []


async def test_a_named_model_is_never_swapped_for_another(upstream: Upstream, second: Upstream) -> None:
    upstream.default = refuses(500)
    upstream.models = second.models = (MODEL, "common")
    upstream.models = (*upstream.models, "only-first")
    async with run_runtime(upstream, second) as runtime:
        await eventually(lambda: all_up(runtime))
        assert (await runtime.chat(model="only-first")).status == 502
        assert (await runtime.chat(model="first/common")).status == 502
        assert (await runtime.chat(model="common")).headers["x-provider"] == "second"
    assert [request["model"] for request in second.requests] == ["common"]


async def all_up(runtime: Runtime) -> bool:
    ready = await runtime.ready()
    providers = ready["checks"]["provider"]["providers"]
    return all(provider["status"] == "up" for provider in providers.values())


@pytest.mark.parametrize(
    ("behaviour", "status", "code"),
    [
        (refuses(500, "boom"), 502, "provider_error"),
        (refuses(503, "overloaded", {"retry-after": "9"}), 503, "provider_error"),
        (refuses(429, "slow down", {"retry-after": "7"}), 429, "provider_rate_limited"),
        (refuses(408, "late"), 504, "provider_error"),
        (refuses(401, f"bad key {KEY}"), 502, "provider_auth_error"),
        (hang, 504, "provider_timeout"),
        (cut, 502, "provider_disconnected"),
        (answers("[]"), 502, "provider_bad_response"),
        (refuses(422, "odd", code="odd_code"), 422, "odd_code"),
    ],
)
async def test_each_failure_has_its_status_and_code(
    upstream: Upstream, behaviour: Behaviour, status: int, code: str
) -> None:
    upstream.default = behaviour
    async with run_runtime(
        upstream, openai_compatible_timeout=patience(behaviour), openai_compatible_api_key=KEY
    ) as runtime:
        reply = await runtime.chat()
    assert (reply.status, reply.error["code"]) == (status, code)
    assert "first" in reply.error["message"] or "provider" in reply.error["message"]


async def test_the_providers_reason_and_retry_after_are_kept(upstream: Upstream) -> None:
    upstream.script = [refuses(429, "five a minute", {"retry-after": "7"})]
    async with run_runtime(upstream) as runtime:
        reply = await runtime.chat()
    assert reply.headers["retry-after"] == "7"
    assert "five a minute" in reply.error["message"]


async def test_nothing_listening_is_502_and_says_who(upstream: Upstream) -> None:
    gone = Upstream(name="gone", url=f"http://127.0.0.1:{free_port()}/v1")
    async with run_runtime(gone) as runtime:
        reply = await runtime.chat()
    assert (reply.status, reply.error["code"]) == (502, "provider_unreachable")
    assert "gone" in reply.error["message"]
    assert "refused" in reply.error["message"].lower()


async def test_a_provider_that_never_agrees_on_tls_is_given_up(
    second: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("assistant_runtime.providers.openai_compatible.CONNECT_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        silent = Upstream(name="silent", url=f"https://127.0.0.1:{mute.getsockname()[1]}/v1")
        async with run_runtime(silent, second, openai_compatible_timeout=3600.0) as runtime:
            assert (await runtime.chat()).headers["x-provider"] == "second"


async def test_when_all_fail_every_reason_is_told(upstream: Upstream, second: Upstream) -> None:
    upstream.script, second.script = [refuses(429, "one", {"retry-after": "3"})], [refuses(500, "two")]
    async with run_runtime(upstream, second) as runtime:
        reply = await runtime.chat()
    assert (reply.status, reply.headers["retry-after"]) == (429, "3")
    assert "one" in reply.error["message"]
    assert "two" in reply.error["message"]


@pytest.mark.parametrize("status", [400, 401, 403, 422, 429, 500, 503])
@pytest.mark.parametrize("stream", [False, True])
async def test_the_providers_key_is_never_told(upstream: Upstream, status: int, stream: bool) -> None:
    upstream.script = [refuses(status, f"key {KEY} is wrong")]
    async with run_runtime(upstream, openai_compatible_api_key=KEY) as runtime:
        reply = await runtime.chat(stream=stream)
    assert upstream.headers[0]["authorization"] == f"Bearer {KEY}"
    assert KEY.encode() not in reply.body


async def test_the_providers_key_is_not_told_in_a_stream_either(upstream: Upstream) -> None:
    upstream.script = [writes(whole_stream(MODEL)[0], f'data: {{"error": {{"message": "{KEY}"}}}}\n\n'.encode())]
    async with run_runtime(upstream, openai_compatible_api_key=KEY) as runtime:
        assert KEY.encode() not in (await runtime.chat(stream=True)).body


async def test_the_clients_key_does_not_reach_the_provider(upstream: Upstream) -> None:
    async with run_runtime(upstream, api_keys="client-key") as runtime:
        assert (await runtime.chat("client-key")).status == 200
    assert "client-key" not in str(upstream.headers)
