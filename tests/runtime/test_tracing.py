"""Traces: what a real collector's endpoint is sent, and that a dead one costs nothing."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.support.runtime import run_runtime
from tests.support.server import free_port
from tests.support.tls import Authority, strict_by_default, tls_front
from tests.support.upstream import MODEL, Upstream, refuses

TRACE = "0af7651916cd43dd8448eb211c80319c"


@asynccontextmanager
async def collector(
    port: int = 0, stuck: asyncio.Event | None = None, key: str | None = None
) -> AsyncIterator[tuple[str, list[Span]]]:
    """Take spans, of those who send the key; a stuck one accepts and never answers."""
    spans: list[Span] = []

    async def take(request: web.Request) -> web.Response:
        if stuck is not None:
            await stuck.wait()
        if request.headers.get("authorization") != key:
            return web.Response(status=401)
        sent = ExportTraceServiceRequest.FromString(await request.read())
        spans.extend(span for one in sent.resource_spans for scope in one.scope_spans for span in scope.spans)
        return web.Response()

    app = web.Application()
    app.router.add_post("/v1/traces", take)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}", spans
    finally:
        await runner.cleanup()


def attributes(span: Span) -> dict[str, str | int]:
    return {each.key: each.value.string_value or each.value.int_value for each in span.attributes}


async def test_the_collector_is_sent_its_headers(upstream: Upstream) -> None:
    async with collector(key="Bearer one") as (url, spans):
        told = {
            "otel_exporter_otlp_endpoint": url,
            "otel_exporter_otlp_headers": "x-a=b, authorization=Bearer%20one",
        }
        async with run_runtime(upstream, **told) as runtime:
            await runtime.chat()
    assert spans


async def test_a_chat_is_a_span_with_its_model_call_inside(upstream: Upstream) -> None:
    async with collector() as (url, spans):
        async with run_runtime(upstream, otel_exporter_otlp_endpoint=url) as runtime:
            await runtime.chat(headers={"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"})
            await runtime.chat(stream=True)
        by_name = {span.name: span for span in spans if span.trace_id.hex() == TRACE}
    request, call = by_name["POST /v1/chat/completions"], by_name[f"chat {MODEL}"]
    assert call.parent_span_id == request.span_id
    assert attributes(request)["http.response.status_code"] == 200
    told = attributes(call)
    assert told["gen_ai.provider.name"] == "first"
    assert told["gen_ai.request.model"] == told["gen_ai.response.model"] == MODEL
    assert (told["gen_ai.usage.input_tokens"], told["gen_ai.usage.output_tokens"]) == (14, 6)
    assert len([span for span in spans if span.name == f"chat {MODEL}"]) == 2, "the stream's too"


async def test_a_failure_is_marked_and_no_prompt_is_sent(upstream: Upstream) -> None:
    upstream.script = [refuses(500)]
    async with collector() as (url, spans), run_runtime(upstream, otel_exporter_otlp_endpoint=url) as runtime:
        await runtime.chat(messages=[{"role": "user", "content": "a very private prompt"}])
    call = next(span for span in spans if span.name.startswith("chat"))
    assert attributes(call)["error.type"] == "provider_error"
    assert "private" not in str(spans)


@asynccontextmanager
async def secured(authority: Authority, folder: Path) -> AsyncIterator[tuple[str, list[Span]]]:
    """A collector that is asked over TLS."""
    async with collector() as (url, spans), tls_front(authority, folder, urlsplit(url).port or 0) as port:
        yield f"https://127.0.0.1:{port}", spans


async def test_a_collector_is_reached_with_the_authority_that_is_given(
    upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    strict_by_default(monkeypatch)
    authority = Authority(tmp_path, "ours")
    async with secured(authority, tmp_path) as (url, spans):
        trusted = {"otel_exporter_otlp_certificate": str(authority.certificate)}
        async with run_runtime(upstream, otel_exporter_otlp_endpoint=url, **trusted) as runtime:
            await runtime.chat()
        assert spans


async def test_a_collector_is_reached_with_an_authority_that_the_system_trusts(
    upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    strict_by_default(monkeypatch)
    authority = Authority(tmp_path, "ours")
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
    async with secured(authority, tmp_path) as (url, spans):
        async with run_runtime(upstream, otel_exporter_otlp_endpoint=url) as runtime:
            await runtime.chat()
        assert spans


async def test_a_collector_that_is_not_trusted_gets_nothing_and_is_named(
    upstream: Upstream, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with secured(Authority(tmp_path, "ours"), tmp_path) as (url, spans):
        other = {"otel_exporter_otlp_certificate": str(Authority(tmp_path, "other").certificate)}
        async with run_runtime(upstream, otel_exporter_otlp_endpoint=url, **other) as runtime:
            assert (await runtime.chat()).status == 200
        assert spans == []
    assert "the collector has a certificate that is not trusted" in caplog.text
    assert "set OTEL_EXPORTER_OTLP_CERTIFICATE to the authority that it comes from" in caplog.text


async def test_a_collector_by_a_name_that_is_not_in_its_certificate_gets_nothing_and_is_named(
    upstream: Upstream, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    authority = Authority(tmp_path, "ours")
    trusted = {"otel_exporter_otlp_certificate": str(authority.certificate)}
    async with secured(authority, tmp_path) as (url, spans):
        other_name = url.replace("127.0.0.1", "localhost")
        async with run_runtime(upstream, otel_exporter_otlp_endpoint=other_name, **trusted) as runtime:
            assert (await runtime.chat()).status == 200
        assert spans == []
    assert "the collector has a certificate of another name" in caplog.text


async def test_a_dead_collector_costs_nothing(upstream: Upstream) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    async with run_runtime(upstream, otel_exporter_otlp_endpoint=url) as runtime:
        assert (await runtime.chat()).status == 200


async def test_a_collector_that_hangs_does_not_hold_up_the_end(upstream: Upstream) -> None:
    async with collector(stuck=asyncio.Event()) as (url, spans):
        async with asyncio.timeout(60), run_runtime(upstream, otel_exporter_otlp_endpoint=url) as runtime:
            assert (await runtime.chat()).status == 200
        assert spans == []


def test_without_an_endpoint_no_sdk_is_imported() -> None:
    program = (
        "import sys; from assistant_runtime.app import create_app; from assistant_runtime.settings import Settings; "
        "create_app(Settings.load()); sys.exit(any(name.startswith('opentelemetry.sdk') for name in sys.modules))"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
