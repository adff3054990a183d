"""Stores over TLS: reached with the authority that their certificates come from, and with no other."""

import json
import shutil
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.milvus import MilvusServer
from tests.support.mongodb import MongoServer
from tests.support.postgresql import PostgresServer
from tests.support.redis import RedisServer
from tests.support.runtime import Reply, Runtime, eventually, run_runtime
from tests.support.server import Server, running
from tests.support.tls import Authority, strict_by_default, tls_front
from tests.support.upstream import Upstream

Authorities = tuple[Authority, Authority]
"""The one that the servers' certificates come from, and another."""

STORES = ("redis", "mongodb", "database", "milvus")


class TlsMongo(MongoServer):
    """A server with MongoDB's protocol that speaks TLS alone."""

    authority: Authority

    @property
    def url(self) -> str:
        return f"{super().url}/?tls=true&tlsCAFile={self.authority.certificate}"

    def argv(self) -> list[str]:
        file = self.authority.issue_in_one_file(self.folder)
        return [*super().argv(), "--tlsMode", "requireTLS", "--tlsCertificateKeyFile", str(file)]


class TlsPostgres(PostgresServer):
    """A PostgreSQL that speaks TLS to whoever asks for it."""

    authority: Authority

    def argv(self) -> list[str]:
        assert self.user, "the files are for whom it runs as"
        files = self.authority.issue(self.folder)
        for file in files:
            shutil.chown(file, self.user)
        certificate, key = files
        return [*super().argv(), "--ssl=on", f"--ssl_cert_file={certificate}", f"--ssl_key_file={key}"]


class TlsMilvus(MilvusServer):
    """A Milvus that speaks TLS alone, and has the certificate checked by its clients."""

    authority: Authority

    def environment(self) -> Mapping[str, str]:
        certificate, key = self.authority.issue(self.folder)
        return {
            **super().environment(),
            "COMMON_SECURITY_TLSMODE": "1",
            "TLS_SERVERPEMPATH": str(certificate),
            "TLS_SERVERKEYPATH": str(key),
            "PROXY_HTTP_ENABLED": "false",  # it would share the port, which TLS rules out
        }


@pytest.fixture(autouse=True)
def python_is_strict(monkeypatch: pytest.MonkeyPatch) -> None:
    strict_by_default(monkeypatch)


@pytest.fixture(scope="module")
def authorities(tmp_path_factory: pytest.TempPathFactory) -> Authorities:
    folder = tmp_path_factory.mktemp("tls")
    return Authority(folder, "ours"), Authority(folder, "other")


def with_tls(server: type[Server], authorities: Authorities) -> Any:
    server.authority = authorities[0]  # type: ignore[attr-defined]  # each server that is tried has it
    return running(server)


@pytest.fixture(scope="module")
def tls_redis(authorities: Authorities) -> Iterator[dict[str, Any]]:
    with running(lambda folder: RedisServer(folder, authorities[0])) as server:
        yield {"redis_url": server.url}


@pytest.fixture(scope="module")
def tls_mongodb(authorities: Authorities) -> Iterator[dict[str, Any]]:
    with with_tls(TlsMongo, authorities) as server:
        plain = f"mongodb://127.0.0.1:{server.port}"
        yield {"mongodb_url": plain, "mongodb_username": server.username, "mongodb_password": server.password}


@pytest.fixture(scope="module")
def tls_database(authorities: Authorities) -> Iterator[dict[str, Any]]:
    with with_tls(TlsPostgres, authorities) as server:
        yield {
            "database_url": server.url,
            "database_username": server.username,
            "database_password": server.password,
        }


@pytest.fixture(scope="module")
def tls_milvus(authorities: Authorities) -> Iterator[dict[str, Any]]:
    with with_tls(TlsMilvus, authorities) as server:
        address = server.url.replace("http://", "https://")
        yield {"milvus_url": address, "milvus_username": server.username, "milvus_password": server.password}


@pytest.fixture
def settings(request: pytest.FixtureRequest, store: str) -> dict[str, Any]:
    """The store's settings without any certificates."""
    found: dict[str, Any] = request.getfixturevalue(f"tls_{store}")
    return found | {"embedding_model": "fake-1"}


async def told(runtime: Runtime, store: str, status: str) -> dict[str, Any]:
    async def found() -> dict[str, Any]:
        check: dict[str, Any] = (await runtime.ready())["checks"][store]
        return check if check["status"] == status else {}

    return dict(await eventually(found))


async def send(runtime: Runtime, path: str, **body: Any) -> Reply:
    return await runtime.post(json.dumps(body), {"content-type": "application/json"}, path)


async def use(runtime: Runtime, store: str) -> None:
    """Have the store keep something, and give it back."""
    if store == "mongodb":
        reply = await send(runtime, "/v1/sessions")
        assert reply.status == 201, reply.body
        assert (await runtime.get(f"/v1/sessions/{reply.json['id']}")).status == 200
    elif store == "milvus":
        kept = await send(runtime, "/v1/documents", name="a.md", text="Tides.")
        assert kept.status == 201, kept.body
        found = await send(runtime, "/v1/search", query="tides")
        assert [each["text"] for each in found.json["data"]] == ["Tides."]
    else:
        assert [(await runtime.chat()).headers["x-cache"] for _ in range(2)] == ["miss", "hit"]


@pytest.mark.parametrize("store", STORES)
async def test_a_store_is_reached_with_its_own_authority(
    upstream: Upstream, authorities: Authorities, store: str, settings: dict[str, Any]
) -> None:
    trusted = settings | {f"{store}_ca_file": str(authorities[0].certificate)}
    async with run_runtime(upstream, **trusted) as runtime:
        await told(runtime, store, "up")
        await use(runtime, store)


@pytest.mark.parametrize("store", ["redis", "mongodb", "milvus"])
async def test_a_store_is_reached_with_an_authority_that_the_system_trusts(
    upstream: Upstream,
    authorities: Authorities,
    store: str,
    settings: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authorities[0].certificate))
    plain = settings[f"{store}_url"]
    url = {"redis": plain.replace("redis://", "rediss://"), "mongodb": f"{plain}/?tls=true", "milvus": plain}[store]
    async with run_runtime(upstream, **settings | {f"{store}_url": url}) as runtime:
        await told(runtime, store, "up")
        await use(runtime, store)


@pytest.mark.parametrize("store", STORES)
async def test_a_store_with_another_authority_is_refused_by_name(
    upstream: Upstream, authorities: Authorities, store: str, settings: dict[str, Any]
) -> None:
    untrusted = settings | {f"{store}_ca_file": str(authorities[1].certificate)}
    async with run_runtime(upstream, **untrusted) as runtime:
        check = await told(runtime, store, "down")
        assert store in (await runtime.ready())["degraded"]
        assert (await runtime.chat()).status == 200, "chat goes on without it"
    assert "has a certificate that is not trusted (" in check["detail"]
    assert f"set {store.upper()}_CA_FILE to the authority that it comes from" in check["detail"]


@pytest.mark.parametrize("store", STORES)
async def test_a_store_of_another_name_is_refused(
    upstream: Upstream, authorities: Authorities, store: str, settings: dict[str, Any]
) -> None:
    address = settings[f"{store}_url"].replace("127.0.0.1", "localhost")
    misnamed = settings | {f"{store}_url": address, f"{store}_ca_file": str(authorities[0].certificate)}
    async with run_runtime(upstream, **misnamed) as runtime:
        check = await told(runtime, store, "down")
    reason = "Hostname mismatch, certificate is not valid for 'localhost'"
    assert f"has a certificate of another name ({reason}): write a name that is in the certificate" in check["detail"]


@asynccontextmanager
async def expired(store: str, folder: Path) -> AsyncIterator[dict[str, Any]]:
    """Give the settings of a store whose certificate has expired: a connection does not get beyond it."""
    authority = Authority(folder, "ours", days=-1)
    trusted = {f"{store}_ca_file": str(authority.certificate), "embedding_model": "fake-1"}
    if store == "database":
        # PostgreSQL's clients ask for TLS in its own protocol first.
        with running(with_authority(TlsPostgres, authority)) as server:
            credentials = {"database_username": server.username, "database_password": server.password}
            yield {**trusted, **credentials, "database_url": server.url}
        return
    scheme = {"redis": "redis", "mongodb": "mongodb", "milvus": "https"}[store]
    async with tls_front(authority, folder, 0) as port:
        yield {**trusted, f"{store}_url": f"{scheme}://127.0.0.1:{port}"}


def with_authority(server: type[TlsPostgres], authority: Authority) -> type[TlsPostgres]:
    """Give the server as one whose certificates come from an authority."""
    return type(server.__name__, (server,), {"authority": authority})


@pytest.mark.parametrize("store", STORES)
async def test_a_store_whose_certificate_has_expired_says_so(upstream: Upstream, store: str, tmp_path: Path) -> None:
    async with expired(store, tmp_path) as settings, run_runtime(upstream, **settings) as runtime:
        check = await told(runtime, store, "down")
        assert store in (await runtime.ready())["degraded"]
    assert "has a certificate that is out of date (certificate has expired): renew it" in check["detail"]
