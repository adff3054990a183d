"""Servers that the assistant asks over TLS: providers, tools, the reranker and the identity provider.

Each is reached with the authority that its certificate comes from, and with no other. The servers themselves speak
plain HTTP; `tls_front` speaks TLS before them.
"""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support.firecrawl import Firecrawl, run_firecrawl
from tests.support.issuer import AUDIENCE, run_issuer
from tests.support.mcp import run_mcp_server
from tests.support.reranker import RerankerServer, run_reranker
from tests.support.runtime import Runtime, eventually, run_runtime
from tests.support.searxng import SearxngServer, run_searxng
from tests.support.server import serving_folder
from tests.support.tls import Authority, strict_by_default, tls_front
from tests.support.tool_calls import calls, says
from tests.support.upstream import MODEL, Upstream, run_upstream

UNTRUSTED = "has a certificate that is not trusted (unable to get local issuer certificate): set {setting} to the"
MISNAMED = "has a certificate of another name (Hostname mismatch, certificate is not valid for 'localhost'): write a"


@dataclass
class Service:
    """A server, and how the runtime is told of it and asked to use it."""

    port: int
    setting: str
    """What names the certificates to trust, as errors call it."""
    settings: Callable[[str, str], dict[str, Any]]
    """The runtime's settings, given the server's address and a file of certificates."""
    trouble: Callable[[Runtime], Awaitable[str]]
    """Uses the server; gives what a person is told that goes wrong, and nothing where it answers."""
    check: str = ""
    """Name of its check in /ready, which says the same; empty: `trouble` looks there."""

    async def told(self, runtime: Runtime) -> str:
        """Give what goes wrong, by its use and by /ready."""
        trouble = await self.trouble(runtime)
        if self.check:
            detail = (await checked(self.check, runtime)).get("detail", "")
            assert bool(detail) == bool(trouble)
            assert detail.partition(";")[0] in trouble
        return trouble


async def ask(upstream: Upstream, name: str, arguments: dict[str, Any], runtime: Runtime) -> str:
    """Let the model call one tool."""
    upstream.script = [calls(("call_1", name, arguments)), says("well")]
    (step,) = (await runtime.chat(headers={"cache-control": "no-store"})).json["assistant"]["steps"]
    assert (step["status"] == "done") == ("error" not in step)
    return str(step.get("error", ""))


async def checked(name: str, runtime: Runtime) -> dict[str, Any]:
    """Give what /ready says of a server when it has been asked."""

    async def found() -> dict[str, Any]:
        check: dict[str, Any] = (await runtime.ready())["checks"].get(name, {})
        return check if check.get("status") in {"up", "down"} else {}

    return dict(await eventually(found))


@pytest.fixture
async def first_provider(upstream: Upstream) -> Service:
    def settings(address: str, authority: str) -> dict[str, Any]:
        first = {"name": "first", "base_url": f"{address}/v1", "default_model": MODEL, "ca_file": authority}
        return {f"openai_compatible_{name}": value for name, value in first.items()}

    async def trouble(runtime: Runtime) -> str:
        reply, check = await runtime.chat(), await checked("provider", runtime)
        detail = str(check["providers"]["first"].get("detail") or "")
        assert ("" if reply.status == 200 else reply.error["message"]) == detail
        return detail

    return Service(upstream.port, "OPENAI_COMPATIBLE_CA_FILE (ca_file in PROVIDERS)", settings, trouble)


@pytest.fixture
async def further_provider(upstream: Upstream) -> AsyncIterator[Service]:
    def settings(address: str, authority: str) -> dict[str, Any]:
        described = {"name": "second", "base_url": f"{address}/v1", "default_model": MODEL, "ca_file": authority}
        return {**told_of(upstream), "providers": json.dumps([described])}

    async def trouble(runtime: Runtime) -> str:
        reply = await runtime.chat(model=f"second/{MODEL}")
        return "" if reply.status == 200 else str(reply.error["message"])

    async with run_upstream("second") as second:
        yield Service(second.port, "OPENAI_COMPATIBLE_CA_FILE (ca_file in PROVIDERS)", settings, trouble)


@pytest.fixture(scope="module")
def searxng_server() -> Iterator[SearxngServer]:
    with run_searxng() as server:
        yield server


@pytest.fixture
def searxng(upstream: Upstream, searxng_server: SearxngServer) -> Service:
    def settings(address: str, authority: str) -> dict[str, Any]:
        return {**told_of(upstream), "searxng_url": address, "searxng_ca_file": authority}

    trouble = partial(ask, upstream, "web_search", {"query": "capital of France"})
    return Service(searxng_server.port, "SEARXNG_CA_FILE", settings, trouble, "searxng")


@pytest.fixture(scope="module")
def firecrawl_server() -> Iterator[Firecrawl]:
    with run_firecrawl() as server:
        yield server


@pytest.fixture
def firecrawl(upstream: Upstream, firecrawl_server: Firecrawl, tmp_path: Path) -> Iterator[Service]:
    (tmp_path / "page.html").write_text("<html><head><title>Home</title></head><body><p>Hello</p></body></html>")

    def settings(address: str, authority: str) -> dict[str, Any]:
        allowed = {"firecrawl_tool_enabled": True, "fetch_allowed_hosts": "127.0.0.1/32"}
        return {**told_of(upstream), **allowed, "firecrawl_docker_url": address, "firecrawl_ca_file": authority}

    with serving_folder(tmp_path) as site:
        trouble = partial(ask, upstream, "scrape_page", {"url": f"{site}/page.html"})
        yield Service(firecrawl_server.api.port, "FIRECRAWL_CA_FILE", settings, trouble, "firecrawl")


@pytest.fixture(scope="module")
def reranker_server() -> Iterator[RerankerServer]:
    with run_reranker() as server:
        yield server


@pytest.fixture
def reranker(upstream: Upstream, reranker_server: RerankerServer) -> Service:
    def settings(address: str, authority: str) -> dict[str, Any]:
        found = {"url": address, "ca_file": authority, "api_key": reranker_server.key}
        return told_of(upstream) | {f"jina_reranker_{name}": value for name, value in found.items()}

    async def trouble(runtime: Runtime) -> str:
        reply = await runtime.post(json.dumps({"query": "a", "documents": ["a", "b"]}), path="/v1/rerank")
        return "" if reply.status == 200 else str(reply.error["message"])

    return Service(reranker_server.port, "JINA_RERANKER_CA_FILE", settings, trouble, "reranker")


@pytest.fixture
async def mcp(upstream: Upstream) -> AsyncIterator[Service]:
    def settings(address: str, authority: str) -> dict[str, Any]:
        described = {"name": "desk", "url": f"{address}/mcp", "ca_file": authority}
        return {**told_of(upstream), "mcp_servers": json.dumps([described])}

    async def trouble(runtime: Runtime) -> str:
        detail = (await checked("mcp-desk", runtime)).get("detail")
        return str(detail) if detail else await ask(upstream, "desk_add", {"a": 1, "b": 2}, runtime)

    async with run_mcp_server() as server:
        yield Service(server.port, "ca_file of desk in MCP_SERVERS", settings, trouble)


@pytest.fixture
async def oidc(upstream: Upstream, capsys: pytest.CaptureFixture[str]) -> AsyncIterator[Service]:
    async with run_issuer() as issuer:

        def settings(address: str, authority: str) -> dict[str, Any]:
            issuer.url = address
            return {
                **told_of(upstream),
                "oidc_issuer": address,
                "oidc_audience": AUDIENCE,
                "oidc_ca_file": authority,
            }

        async def trouble(runtime: Runtime) -> str:
            reply = await runtime.chat(issuer.token("first"))
            if reply.status == 200:
                return ""
            assert (reply.status, reply.error["code"]) == (503, "identity_provider_unreachable")
            return capsys.readouterr().out  # a client can do nothing about it, and is not told

        yield Service(issuer.port, "OIDC_CA_FILE", settings, trouble, "oidc")


def told_of(upstream: Upstream) -> dict[str, Any]:
    """Give the settings of a provider without TLS."""
    return {"openai_compatible_base_url": upstream.url, "openai_compatible_default_model": MODEL}


@pytest.fixture(
    params=["first_provider", "further_provider", "searxng", "firecrawl", "reranker", "mcp", "oidc"],
)
def service(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Service:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    found: Service = request.getfixturevalue(request.param)
    return found


@pytest.fixture(autouse=True)
def python_is_strict(monkeypatch: pytest.MonkeyPatch) -> None:
    strict_by_default(monkeypatch)


@pytest.fixture
def ours(tmp_path: Path) -> Authority:
    """Whom the server's certificate comes from."""
    return Authority(tmp_path, "ours")


@asynccontextmanager
async def serving(service: Service, ours: Authority, trusted: Authority, host: str) -> AsyncIterator[Runtime]:
    """Run the server with TLS before it, and a runtime that trusts an authority and knows the server by a name."""
    folder = ours.certificate.parent
    async with tls_front(ours, folder, service.port) as port:
        settings = service.settings(f"https://{host}:{port}", str(trusted.certificate))
        async with run_runtime(openai_compatible_retries=0, **settings) as runtime:
            yield runtime


async def test_a_server_is_reached_with_its_own_authority(service: Service, ours: Authority) -> None:
    async with serving(service, ours, ours, "127.0.0.1") as runtime:
        assert await service.told(runtime) == ""


async def test_a_server_with_another_authority_is_refused(service: Service, ours: Authority, tmp_path: Path) -> None:
    async with serving(service, ours, Authority(tmp_path, "other"), "127.0.0.1") as runtime:
        assert UNTRUSTED.format(setting=service.setting) in await service.told(runtime)


async def test_a_server_of_another_name_is_refused(service: Service, ours: Authority) -> None:
    async with serving(service, ours, ours, "localhost") as runtime:
        assert MISNAMED in await service.told(runtime)
