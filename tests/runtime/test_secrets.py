"""Nothing that the runtime or its chat page tells without a key holds a secret: no answer, no log line, no metric."""

import asyncio
import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus, urljoin, urlsplit

import aiohttp
import pytest

from assistant_runtime.settings import Settings
from assistant_runtime.settings.ui import PageSettings, page_environment
from tests.support.runtime import PATIENCE_SECONDS, RuntimeProcess, eventually, run_process
from tests.support.server import free_port
from tests.support.upstream import MODEL, Upstream

START_SECONDS = 4 * PATIENCE_SECONDS
"""Gradio takes seconds of processor time to import, and a busy machine gives few of them."""

AWAY = "127.0.0.1:9"
"""Where nobody listens: what is written of servers that fail is looked through as well."""

FORMS = {
    "REDIS_URL": f"redis://:{{}}@{AWAY}/0",
    "MONGODB_URL": f"mongodb://user:{{}}@{AWAY}/assistant",
    "DATABASE_URL": f"postgresql://user:{{}}@{AWAY}/assistant",
    "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20{}",
    "API_KEYS": "{},second-of-{}",
}
"""How a variable's value is written that can't be just anything."""

BESIDE = {
    "MONGODB_USERNAME": "user",
    "DATABASE_USERNAME": "user",
    "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{AWAY}",
    "MILVUS_URL": f"http://{AWAY}",
    "EMBEDDING_MODEL": "vectors",
    "SEARXNG_URL": f"http://{AWAY}",
    "FIRECRAWL_CLOUD_URL": f"http://{AWAY}",
    "JINA_RERANKER_URL": f"http://{AWAY}",
    "OIDC_ISSUER": f"http://{AWAY}",
    "OIDC_AUDIENCE": "assistant",
    "PROVIDERS": json.dumps(
        [{"name": "second", "base_url": f"http://{AWAY}/v1", "default_model": "m", "api_key_env": "SECOND_KEY"}]
    ),
    "MCP_SERVERS": json.dumps([{"name": "desk", "url": f"http://{AWAY}/mcp", "token_env": "DESK_TOKEN"}]),
    "MULTI_WRITER_ENABLED": "true",
    "AUDIT_ENABLED": "true",
    "DEBUG": "true",
}
"""Everything else that makes the runtime use its secrets, and say as much as it ever does."""

EITHER = {"MILVUS_API_KEY": {}, "MILVUS_PASSWORD": {"MILVUS_USERNAME": "user"}}
"""Secrets that exclude one another, with what each needs."""

NAMED_BY_OTHERS = ("SECOND_KEY", "DESK_TOKEN", "SOMEBODY_ELSES_TOKEN")
"""Variables with secrets that other variables name, or nobody."""

PAGES = ("/", "/config", "/theme.css", "/gradio_api/info", "/gradio_api/file=/proc/self/environ", "/nothing")
"""Of the chat page, beside what its description names."""


def secret_variables() -> list[str]:
    """Give every variable with a secret, as the settings declare them."""
    fields = Settings.model_fields.items()
    return [*(name.upper() for name, field in fields if "SecretStr" in str(field.annotation)), *NAMED_BY_OTHERS]


def secret_of(variable: str) -> str:
    return f"{variable.lower().replace('_', '-')}-{base64.b32encode(variable.encode()[::-1]).decode()[:16].lower()}~x"


def written(secret: str) -> Iterator[str]:
    """Give a secret in every form in which it could be told."""
    raw = secret.encode()
    yield from (
        secret,
        raw.hex(),
        raw.hex().upper(),
        quote(secret, safe=""),
        quote_plus(secret),
        json.dumps(secret)[1:-1],
    )
    for shift in range(3):
        # Wherever it begins within a longer text; its first and last characters depend on their neighbours.
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            yield encode(b"\0" * shift + raw).decode().rstrip("=")[4:-2]


def leaks(where: str, text: str) -> list[str]:
    secrets = {variable: secret_of(variable) for variable in secret_variables()}
    return [
        f"{variable} in {where}" for variable, secret in secrets.items() for form in written(secret) if form in text
    ]


def environment_of(pid: str) -> str:
    return Path("/proc", pid, "environ").read_text()


class Visitor:
    """Somebody without a key, who reads whatever there is."""

    def __init__(self, client: aiohttp.ClientSession) -> None:
        self._client = client
        self.told: dict[str, str] = {}

    async def read(self, url: str, method: str = "GET", **sent: Any) -> str:
        """Read an answer with its headers; of a stream, what comes first."""
        try:
            async with self._client.request(method, url, **sent) as answer:
                stream = answer.content_type == "text/event-stream"
                body = b"" if stream else await answer.read()
                text = f"{dict(answer.headers)}\n{body.decode(errors='replace')}"
        except aiohttp.ClientError:
            return ""
        where = f"{method} {urlsplit(url).path}"
        self.told[where] = self.told.get(where, "") + text
        return body.decode(errors="replace")

    async def read_described(self, root: str) -> None:
        """Read every route that a server describes, with each of its methods."""
        described = json.loads(await self.read(f"{root}/openapi.json"))["paths"]
        for path, methods in described.items():
            url = root + re.sub(r"\{[^}]*\}", "x", path)
            for method in methods:
                await self.read(url, method.upper())
                if method in {"post", "put", "patch"}:
                    await self.read(url, method.upper(), data=b"{", headers={"authorization": "Bearer ak-wrong"})

    async def read_page(self, root: str) -> None:
        """Read the page, and what it loads."""
        await self.read_described(root)
        for page in PAGES:
            found = await self.read(root + page)
            for link in set(re.findall(r"""(?:src|href)=["']([^"'#?]+)""", found)):
                if urljoin(root, link).startswith(root):
                    await self.read(urljoin(f"{root}/", link))


async def served(runtime: RuntimeProcess, page: str) -> None:
    await asyncio.to_thread(runtime.wait_for, "/health", 200)
    async with aiohttp.ClientSession() as client:

        async def up() -> bool:
            try:
                async with client.get(page) as answer:
                    return answer.status == 200
            except aiohttp.ClientError:
                return False

        await eventually(up, seconds=START_SECONDS)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("chosen", EITHER)
async def test_no_secret_is_told_to_anybody(upstream: Upstream, tmp_path: Path, chosen: str) -> None:
    port = free_port()
    secrets = {name: FORMS.get(name, "{}").replace("{}", secret_of(name)) for name in secret_variables()}
    for other in EITHER.keys() - {chosen}:
        del secrets[other]
    variables = {
        "OPENAI_COMPATIBLE_BASE_URL": upstream.url,
        "OPENAI_COMPATIBLE_DEFAULT_MODEL": MODEL,
        "GRADIO_ENABLED": "true",
        "GRADIO_HOST": "127.0.0.1",
        "GRADIO_PORT": str(port),
        **BESIDE,
        **EITHER[chosen],
        **secrets,
    }
    with run_process(tmp_path / "log", **variables) as runtime:
        page = f"http://127.0.0.1:{port}"
        await served(runtime, f"{page}/config")
        async with aiohttp.ClientSession() as client:
            visitor = Visitor(client)
            await visitor.read_described(runtime.url)
            for path in ("/metrics", "/ready", "/docs", "/openapi.json", "/nothing", "/v1/nothing"):
                await visitor.read(runtime.url + path)
            await visitor.read_page(page)
        started = re.search(r"chat_page.*pid[^\d]+(\d+)", runtime.output)
        assert started
        visitor.told["the page's environment"] = environment_of(started[1])
        visitor.told["the log"] = runtime.output
    assert {"GET /metrics", "GET /ready", "POST /v1/chat/completions", "GET /config", "GET /"} <= visitor.told.keys()
    assert "database_status" in visitor.told["the log"]
    assert "GRADIO_PORT" in visitor.told["the page's environment"]
    assert [leak for where, text in visitor.told.items() for leak in leaks(where, text)] == []


def test_a_secret_is_found_in_each_form() -> None:
    secret = secret_of("SECRET_KEY")
    for text in (secret, secret.encode().hex(), quote(secret, safe=""), json.dumps({"key": secret})):
        assert leaks("here", text)
    for before in ("", "a", "ab", "abc"):
        assert leaks("here", base64.b64encode(f"{before}{secret} and more".encode()).decode())
    assert not leaks("here", "secret-key")


def test_the_page_is_given_its_own_settings_alone() -> None:
    given = page_environment(PageSettings(gradio_port=7000, assistant_url="http://a.example/v1"))
    assert given["GRADIO_PORT"] == "7000"
    assert given["ASSISTANT_URL"] == "http://a.example/v1"
    assert not any("SECRET" in name or "KEY" in name for name in given)
