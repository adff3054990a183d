"""Probes, metrics, authentication, CORS and OpenAPI: what whoever runs the assistant relies on."""

import asyncio
import io
import json
import os
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from assistant_runtime.api.saturation import Saturation
from assistant_runtime.lifecycle import Lifecycle
from assistant_runtime.providers import json_client
from assistant_runtime.providers.base import ModelList
from assistant_runtime.providers.health import ProviderHealth, ProviderWatch
from assistant_runtime.providers.openai_compatible import KEEPALIVE_SECONDS, OpenAICompatibleProvider
from assistant_runtime.security import oidc
from assistant_runtime.security.key_ring import KeyRing
from assistant_runtime.security.tenants import Tenants
from assistant_runtime.settings.providers import ProviderSettings
from assistant_runtime.stores.tenants import MemoryTenantNames
from tests.support.browser import open_page, run_browser, screenshot
from tests.support.issuer import run_issuer
from tests.support.runtime import QUESTION, Runtime, eventually, run_runtime
from tests.support.server import free_port
from tests.support.upstream import MODEL, Upstream, refuses, run_upstream

ALICE = "alice-0123456789"


async def is_ready(runtime: Runtime) -> bool:
    return (await runtime.get("/ready")).status == 200


async def test_health_needs_nothing() -> None:
    async with run_runtime(redis_url=f"redis://127.0.0.1:{free_port()}/0") as runtime:
        reply = await runtime.get("/health")
    assert (reply.status, reply.json) == (200, {"status": "alive"})


@pytest.mark.parametrize("path", ["/health", "/ready", "/metrics", "/v1/models", "/v1/models/default", "/v1/sessions"])
async def test_a_head_is_answered_as_a_get_without_its_body(upstream: Upstream, path: str) -> None:
    async with run_runtime(upstream) as runtime:
        await eventually(lambda: is_ready(runtime))
        whole = await runtime.get(path)
        async with runtime.client.head(f"{runtime.url}{path}") as answer:
            assert (answer.status, await answer.read()) == (whole.status, b"")
            assert answer.headers["content-type"] == whole.headers["content-type"]
        async with runtime.client.head(f"{runtime.url}/v1/chat/completions") as answer:
            assert answer.status == 405


async def test_ready_names_each_dependency(upstream: Upstream) -> None:
    async with run_runtime(upstream) as runtime:
        await eventually(lambda: is_ready(runtime))
        state = await runtime.ready()
    assert state["status"] == "ready"
    assert state["degraded"] == []
    assert state["checks"]["provider"] == {
        "status": "up",
        "required": True,
        "degraded": False,
        "providers": {"first": {"status": "up"}},
    }
    assert state["checks"]["redis"]["status"] == "embedded"


async def test_without_a_provider_not_ready_and_the_remedy_is_told() -> None:
    async with run_runtime() as runtime:
        reply = await runtime.get("/ready")
    assert (reply.status, reply.json["status"]) == (503, "not_ready")
    assert "OPENAI_COMPATIBLE_BASE_URL" in reply.json["checks"]["provider"]["detail"]


async def test_readiness_follows_the_provider_down_and_up() -> None:
    async with run_upstream() as upstream, run_runtime(upstream, rate_limit_enabled=False) as runtime:
        await eventually(lambda: is_ready(runtime))
        upstream.models_status, upstream.default = 500, refuses(500)
        await runtime.chat()
        state = await eventually(lambda: not_ready(runtime))
        assert "500" in state["checks"]["provider"]["providers"]["first"]["detail"]
        upstream.models_status, upstream.default = 200, None
        await eventually(lambda: is_ready(runtime))


async def not_ready(runtime: Runtime) -> Any:
    reply = await runtime.get("/ready")
    return reply.json if reply.status == 503 else None


async def test_one_of_two_providers_down_is_degraded(upstream: Upstream) -> None:
    gone = Upstream(name="gone", url=f"http://127.0.0.1:{free_port()}/v1")
    async with run_runtime(upstream, gone) as runtime:
        await eventually(lambda: is_ready(runtime))
        state = await eventually(lambda: degraded(runtime))
    assert state["degraded"] == ["provider"]


async def degraded(runtime: Runtime) -> Any:
    state = await runtime.ready()
    return state if state["status"] == "degraded" else None


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("searxng", {"searxng_url": "URL"}),
        ("firecrawl", {"firecrawl_docker_url": "URL", "firecrawl_tool_enabled": True}),
        ("reranker", {"jina_reranker_url": "URL/v1/rerank"}),
        ("oidc", {"oidc_issuer": "URL", "oidc_audience": "us"}),
    ],
)
async def test_a_server_that_is_down_degrades_until_it_is_back(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch, name: str, settings: dict[str, Any]
) -> None:
    monkeypatch.setattr(json_client, "UP_INTERVAL_SECONDS", 0.05)
    monkeypatch.setattr(json_client, "DOWN_INTERVAL_SECONDS", 0.05)
    monkeypatch.setattr(oidc, "REFETCH_FLOOR_SECONDS", 0.05)
    monkeypatch.setattr(oidc, "REFRESH_SECONDS", 0.05)
    port = free_port()
    told = {key: str(value).replace("URL", f"http://127.0.0.1:{port}") for key, value in settings.items()}
    async with run_runtime(upstream, **told) as runtime:
        await eventually(lambda: degraded_by(runtime, name))
        assert (await runtime.ready())["checks"][name]["detail"]
        async with run_issuer(port):
            await eventually(lambda: degraded_by(runtime))
        await eventually(lambda: degraded_by(runtime, name))


async def degraded_by(runtime: Runtime, *names: str) -> bool:
    ready = await runtime.get("/ready")
    return ready.status == 200 and ready.json["degraded"] == list(names)


async def test_a_base_url_without_its_version_is_noticed(upstream: Upstream) -> None:
    upstream.url = upstream.url.removesuffix("/v1")
    async with run_runtime(upstream) as runtime:
        await eventually(lambda: is_ready(runtime))
        told = (await runtime.ready())["checks"]["provider"]["providers"]["first"]
    assert told["status"] == "up"
    assert "such as /v1" in told["detail"]


async def test_a_list_that_is_refused_for_now_is_not_forgotten(upstream: Upstream) -> None:
    upstream.models = (MODEL, "big")
    provider = OpenAICompatibleProvider(
        ProviderSettings(name="first", base_url=upstream.url, default_model=MODEL, timeout=60)
    )
    health, watch = ProviderHealth(provider), ProviderWatch([])
    async with provider:
        await watch._probe(health)
        upstream.models_status = 429
        await watch._probe(health)
    assert health.status == "up"
    assert health.names == {MODEL, "big"}


async def test_a_list_that_fails_for_ever_counts_less_than_a_recent_chat(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream.models_status = 500
    provider = OpenAICompatibleProvider(
        ProviderSettings(name="first", base_url=upstream.url, default_model=MODEL, timeout=60)
    )
    watch = ProviderWatch([provider])
    health = watch._health["first"]
    async with provider:
        watch.report_success("first")
        statuses = []
        for _ in range(3):
            await watch._probe(health)
            statuses.append(health.status)
        assert statuses == ["up"] * 3
        watch.report_failure("first")
        await watch._probe(health)
        assert health.status == "down", "a chat failed"
        watch.report_success("first")
        monkeypatch.setattr("assistant_runtime.providers.health.RECENT_SECONDS", 0)
        await watch._probe(health)
        await watch._probe(health)
        assert health.status == "down", "the last answer is long ago"


async def test_a_bug_with_one_provider_ends_no_other_probe(
    upstream: Upstream, second: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = OpenAICompatibleProvider.models

    async def broken(provider: OpenAICompatibleProvider) -> ModelList:
        if provider.name == "first":
            raise RuntimeError("a bug")
        return await models(provider)

    monkeypatch.setattr(OpenAICompatibleProvider, "models", broken)
    async with run_runtime(upstream, second) as runtime:
        state = await eventually(lambda: degraded(runtime))
    assert state["checks"]["provider"]["providers"]["first"]["status"] == "down"


@pytest.mark.parametrize("status", [404, 405])
async def test_a_provider_without_a_list_of_models_is_up(upstream: Upstream, status: int) -> None:
    upstream.models_status = status
    async with run_runtime(upstream) as runtime:
        await eventually(lambda: is_ready(runtime))
        assert [model["id"] for model in (await runtime.get("/v1/models")).json["data"]] == ["default", MODEL]


async def test_draining_is_not_ready_and_still_serves(upstream: Upstream) -> None:
    async with run_runtime(upstream) as runtime:
        await eventually(lambda: is_ready(runtime))
        lifecycle: Lifecycle = runtime.server._lifecycle
        lifecycle.draining = True
        reply = await runtime.get("/ready")
        chat = await runtime.chat()
        health = await runtime.get("/health")
    assert (reply.status, reply.json["status"]) == (503, "draining")
    assert (chat.status, chat.headers["connection"]) == (200, "close")
    assert health.status == 200


async def test_models_of_other_providers_carry_their_name(upstream: Upstream, second: Upstream) -> None:
    second.models = ("big", "vendor/small")
    async with run_runtime(upstream, second) as runtime:
        expected = ["default", MODEL, "second/big", "second/vendor/small"]
        await eventually(lambda: models_are(runtime, expected))


async def models_are(runtime: Runtime, expected: list[str]) -> bool:
    return [model["id"] for model in (await runtime.get("/v1/models")).json["data"]] == expected


@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Bearer ", "Bearer wrong", f"Basic {ALICE}", ALICE])
async def test_without_a_valid_key_nothing_is_served(upstream: Upstream, authorization: str | None) -> None:
    headers = {} if authorization is None else {"authorization": authorization}
    async with run_runtime(upstream, api_keys=ALICE) as runtime:
        for reply in (await runtime.chat(headers=headers), await runtime.get("/v1/models", headers)):
            assert (reply.status, reply.error["code"]) == (401, "invalid_api_key")
            assert reply.headers["www-authenticate"] == "Bearer"
        assert (await runtime.chat(ALICE)).status == 200
        assert (await runtime.chat(headers={"authorization": f"bearer {ALICE}"})).status == 200
    assert len(upstream.requests) == 1, "the second one is a cache hit"


async def test_a_tenant_is_an_hmac_of_its_key() -> None:
    secrets = (b"secret one", b"secret two", b"secret one")
    tenants = {await Tenants(KeyRing(secret), MemoryTenantNames()).of(ALICE.encode()) for secret in secrets}
    assert len(tenants) == 2
    assert all(len(tenant) == 16 and ALICE not in tenant for tenant in tenants)


async def samples(runtime: Runtime) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    text = (await runtime.get("/metrics")).body.decode()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def key_of(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return name, frozenset(labels.items())


async def test_the_metrics_count_what_happened(upstream: Upstream) -> None:
    async with run_runtime(upstream) as runtime:
        await runtime.chat()
        await runtime.chat(stream=True)
        await runtime.get("/nothing/of/the/kind")
        seen = await samples(runtime)
    chat = {"endpoint": "/v1/chat/completions", "method": "POST"}
    model = {
        "gen_ai_operation_name": "chat",
        "gen_ai_provider_name": "first",
        "gen_ai_request_model": MODEL,
        "gen_ai_response_model": MODEL,
    }
    assert seen[key_of("http_requests_total", **chat, status="200")] == 2
    assert seen[key_of("http_requests_total", endpoint="unmatched", method="GET", status="404")] == 1
    assert seen[key_of("http_request_duration_seconds_count", **chat)] == 2
    assert seen[key_of("http_requests_in_flight")] == 1, "the scrape itself"
    assert seen[key_of("gen_ai_client_operation_duration_seconds_count", **model, error_type="")] == 2
    assert seen[key_of("gen_ai_client_operation_time_to_first_chunk_seconds_count", **model)] == 1
    assert seen[key_of("gen_ai_client_token_usage_sum", **model, gen_ai_token_type="input")] == 28, "of the stream too"
    assert seen[key_of("gen_ai_client_token_usage_sum", **model, gen_ai_token_type="output")] == 12
    assert key_of("event_loop_lag_seconds") in seen


async def test_a_client_cant_invent_time_series(upstream: Upstream) -> None:
    async with run_runtime(upstream) as runtime:
        for number in range(5):
            await runtime.chat(model=f"first/invented-{number}")
            await runtime.get(f"/invented/{number}")
        text = (await runtime.get("/metrics")).body.decode()
    assert 'gen_ai_request_model="other"' in text
    assert "invented" not in text


async def test_what_is_refused_before_it_is_routed_counts_for_its_route(upstream: Upstream) -> None:
    async with run_runtime(upstream, api_keys=ALICE) as runtime:
        assert (await runtime.get("/v1/sessions/sess_1")).status == 401
        assert (await runtime.get("/v1/nothing")).status == 401
        text = (await runtime.get("/metrics")).body.decode()
    for endpoint in ("/v1/sessions/{session_id}", "unmatched"):
        assert f'http_requests_total{{endpoint="{endpoint}",method="GET",status="401"}} 1.0' in text


async def test_provider_failures_are_counted_by_code(upstream: Upstream) -> None:
    upstream.script = [refuses(500)]
    async with run_runtime(upstream) as runtime:
        await runtime.chat()
        text = (await runtime.get("/metrics")).body.decode()
    assert 'error_type="provider_error"' in text


async def test_a_fallbacks_stream_is_timed_by_itself(
    upstream: Upstream, second: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr("assistant_runtime.turn.time", SimpleNamespace(perf_counter=lambda: now))

    async def slow_refusal(*args: Any) -> Any:
        nonlocal now
        now += 1000.0
        return await refuses(500)(*args)

    upstream.script = [slow_refusal]
    async with run_runtime(upstream, second) as runtime:
        assert (await runtime.chat(stream=True)).headers["x-provider"] == "second"
        seen = await samples(runtime)
    model = {"gen_ai_operation_name": "chat", "gen_ai_provider_name": "second"}
    labels = model | {"gen_ai_request_model": MODEL, "gen_ai_response_model": MODEL}
    assert seen[key_of("gen_ai_client_operation_time_to_first_chunk_seconds_sum", **labels)] == 0
    assert seen[key_of("gen_ai_client_operation_duration_seconds_sum", **labels, error_type="")] == 0


def test_idle_connections_to_a_provider_end_before_the_provider_ends_them() -> None:
    assert KEEPALIVE_SECONDS < 5.0, "uvicorn and llama.cpp close after 5 s, and a POST that meets that is lost"


async def test_metrics_can_be_turned_off(upstream: Upstream) -> None:
    async with run_runtime(upstream, metrics_collection_enabled=False) as runtime:
        assert (await runtime.chat()).status == 200
        assert (await runtime.get("/metrics")).status == 404


async def test_two_applications_count_apart(upstream: Upstream) -> None:
    async with run_runtime(upstream) as one, run_runtime(upstream) as two:
        await one.chat()
        seen = await samples(two)
    assert not any(labels >= {("endpoint", "/v1/chat/completions")} for _, labels in seen)


async def test_browsers_of_named_origins_may_call(upstream: Upstream) -> None:
    origins = "https://one.example, https://two.example"
    preflight = {"access-control-request-method": "POST", "access-control-request-headers": "authorization"}
    async with run_runtime(upstream, cors_origins=origins, api_keys=ALICE) as runtime:
        url = f"{runtime.url}/v1/chat/completions"
        for origin, status in (("https://two.example", 200), ("https://evil.example", 400)):
            async with runtime.client.options(url, headers={"origin": origin, **preflight}) as answer:
                assert answer.status == status
        refused = await runtime.chat(headers={"origin": "https://one.example"})
    assert refused.status == 401
    assert refused.headers["access-control-allow-origin"] == "https://one.example", "or the page can't read why"


async def test_openais_client_works_in_a_browser(upstream: Upstream) -> None:
    sent = "authorization, content-type, x-stainless-lang, x-stainless-package-version, x-stainless-retry-count"
    preflight = {
        "origin": "https://one.example",
        "access-control-request-method": "POST",
        "access-control-request-headers": sent,
    }
    async with run_runtime(upstream, cors_origins="https://one.example") as runtime:
        url = f"{runtime.url}/v1/chat/completions"
        async with runtime.client.options(url, headers=preflight) as answer:
            assert answer.status == 200
            assert set(sent.split(", ")) <= set(answer.headers["access-control-allow-headers"].split(", "))


async def test_without_cors_origins_no_browser_may_call(upstream: Upstream) -> None:
    async with run_runtime(upstream) as runtime:
        reply = await runtime.chat(headers={"origin": "https://one.example"})
    assert "access-control-allow-origin" not in reply.headers


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"origin": "http://localhost:3000"}, 200),
        ({"origin": "https://app.example.com"}, 200),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://localhost.evil.example"}, 403),
        ({"host": "assistant.localhost:8000"}, 200),
        ({"host": "[::1]:8000"}, 200),
        ({"host": "rebound.evil.example:8000"}, 403),
        ({"host": "[nonsense"}, 403),
    ],
)
async def test_no_page_of_another_machine_asks_where_no_key_is_needed(
    upstream: Upstream, headers: dict[str, str], status: int
) -> None:
    async with run_runtime(upstream, cors_origins="https://app.example.com") as runtime:
        reply = await runtime.post(json.dumps(QUESTION), headers)
    assert reply.status == status
    assert status == 200 or reply.error["code"] == "origin_not_allowed"
    assert len(upstream.requests) == (status == 200)


async def test_where_keys_are_needed_a_page_may_ask_with_one(upstream: Upstream) -> None:
    async with run_runtime(upstream, api_keys=ALICE) as runtime:
        reply = await runtime.chat(key=ALICE, headers={"origin": "https://other.example", "host": "assistant.example"})
    assert reply.status == 200


async def test_a_proxy_in_front_may_have_any_name(upstream: Upstream) -> None:
    async with run_runtime(upstream, behind_proxy=True) as runtime:
        assert (await runtime.chat(headers={"host": "assistant.example"})).status == 200


@pytest.mark.parametrize(
    "head", [b"GET /health HTTP/1.1\r\nx: ", b"GET /", b"GET /health HTTP/1.1\r\n" + b"a: b\r\n" * 9]
)
async def test_a_head_without_an_end_is_cut_off(head: bytes) -> None:
    async with run_runtime() as runtime:
        host, port = runtime.url.removeprefix("http://").split(":")
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(head)
        with pytest.raises(ConnectionError):
            await write_on(writer, b"a: b\r\n" * 10_000 if head.endswith(b"\n") else b"x" * 60_000)
        writer.close()
        assert (await runtime.get("/health")).status == 200


async def write_on(writer: asyncio.StreamWriter, part: bytes) -> None:
    """Write parts until the other side is gone, or has taken far too many."""
    for _ in range(1000):
        writer.write(part)
        await writer.drain()
        await asyncio.sleep(0)


async def test_requests_on_one_connection_are_bounded_each_by_itself(upstream: Upstream) -> None:
    body = json.dumps(QUESTION | {"padding": "x" * 600_000}).encode()
    async with run_runtime(upstream) as runtime:
        for _ in range(5):
            assert (await runtime.post(io.BytesIO(body), {"x-long": "x" * 7000})).status == 200


async def test_openapi_describes_every_route_with_examples(upstream: Upstream) -> None:
    async with run_runtime(upstream, api_keys=ALICE) as runtime:
        document = (await runtime.get("/openapi.json")).json
        assert (await runtime.get("/docs")).status == 200
    assert {"/v1/chat/completions", "/v1/embeddings", "/v1/models", "/health", "/ready", "/metrics"} <= set(
        document["paths"]
    )
    schemas = document["components"]["schemas"]
    for name in ("ChatRequest", "ChatCompletion", "ModelList", "Readiness", "ErrorAnswer"):
        assert schemas[name]["examples"], name
    text = json.dumps(document)
    for reference in {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}:
        assert reference in schemas
    assert document["paths"]["/v1/chat/completions"]["post"]["security"] == [{"apiKey": []}]


async def test_the_page_of_the_api_needs_no_other_site_and_its_lines_work(upstream: Upstream) -> None:
    async with run_runtime(upstream, api_keys=ALICE) as runtime:
        document = (await runtime.get("/openapi.json")).json
        page = (await runtime.get("/docs")).body.decode()
        async with run_browser() as browser:
            shown, asked = await open_page(browser, f"{runtime.url}/docs")
            await screenshot(shown, "docs")
            titles = await shown.locator("summary").all_inner_texts()
            lines = await shown.locator("pre").all_text_contents()
        assert {each for each in asked if not each.startswith(runtime.url)} == set()
        assert "<script" not in page
        operations = sum(len(methods) for methods in document["paths"].values())
        assert len(titles) == operations
        chats = [line for line in lines if "/v1/chat/completions" in line]
        for line in chats:
            ran = await asyncio.create_subprocess_shell(
                f"curl -sf {line.removeprefix('curl')}",
                env={**os.environ, "KEY": ALICE},
                stdout=asyncio.subprocess.PIPE,
            )
            answer, _ = await ran.communicate()
            assert (ran.returncode, b"Paris" in answer) == (0, True), line
    assert len(chats) == 2


async def test_the_examples_of_openapi_work(upstream: Upstream) -> None:
    async with run_runtime(upstream) as runtime:
        document = (await runtime.get("/openapi.json")).json
        for example in document["components"]["schemas"]["ChatRequest"]["examples"]:
            assert (await runtime.post(json.dumps(example))).status == 200


@pytest.mark.parametrize("debug", [True, False])
async def test_an_internal_error_tells_its_text_in_debug_alone(
    upstream: Upstream, debug: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a detail of the inside")

    monkeypatch.setattr("assistant_runtime.turn.Turns.answer", broken)
    async with run_runtime(upstream, debug=debug) as runtime:
        reply = await runtime.post(json.dumps(QUESTION))
        assert (await runtime.get("/health")).status == 200
    assert (reply.status, reply.error["code"]) == (500, "internal_error")
    assert reply.headers["x-request-id"] in reply.error["message"]
    assert ("a detail of the inside" in reply.error["message"]) is debug


async def test_metrics_may_have_a_port_of_their_own(upstream: Upstream) -> None:
    port = free_port()
    async with run_runtime(upstream, prometheus_port=port) as runtime:
        await runtime.chat()
        async with runtime.client.get(f"http://127.0.0.1:{port}/metrics") as answer:
            assert 'http_requests_total{endpoint="/v1/chat/completions"' in await answer.text()
        assert (await runtime.get("/metrics")).status == 404


async def test_prometheus_can_be_turned_off(upstream: Upstream) -> None:
    async with run_runtime(upstream, prometheus_enabled=False) as runtime:
        assert (await runtime.get("/metrics")).status == 404


def test_an_event_loop_that_runs_late_drops_readiness() -> None:
    saturation = Saturation(10, max_lag=1.0)
    seen = []
    for lag in (5.0, 0.0, 1.1, 1.1, 0.9, 0.4):
        saturation.note_lag(lag)
        seen.append(saturation.check()["status"])
    assert seen == ["up", "up", "up", "saturated", "saturated", "up"]
