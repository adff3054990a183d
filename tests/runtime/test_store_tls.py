"""Stores over TLS: reached with the authority that their certificates come from, and with no other."""

import shutil
import socket
import ssl
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.postgresql import PostgresServer
from tests.support.redis import RedisServer
from tests.support.runtime import Runtime, eventually, run_runtime
from tests.support.server import running
from tests.support.tls import Authority
from tests.support.upstream import Upstream

REFUSED = "has a certificate that is not trusted (unable to get local issuer certificate): set {variable}_CA_FILE"


class TlsRedis(RedisServer):
    """A Redis that speaks TLS alone."""

    authority: Authority

    def argv(self) -> list[str]:
        certificate, key = self.authority.issue(self.folder)
        program, _, port, *others = super().argv()
        files = ["--tls-cert-file", str(certificate), "--tls-key-file", str(key), "--tls-auth-clients", "no"]
        return [program, "--port", "0", "--tls-port", port, *files, *others]

    def answers(self) -> bool:
        context = ssl.create_default_context(cafile=str(self.authority.certificate))
        try:
            with (
                socket.create_connection(("127.0.0.1", self.port), timeout=2) as plain,
                context.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
            ):
                connection.sendall(b"PING\r\n")
                return connection.recv(5) == b"+PONG"
        except OSError:
            return False


class TlsPostgres(PostgresServer):
    """A PostgreSQL that speaks TLS to whoever asks for it."""

    authority: Authority

    def argv(self) -> list[str]:
        files = self.authority.issue(self.folder)
        for file in files:
            shutil.chown(file, self.user)
        certificate, key = files
        return [*super().argv(), "--ssl=on", f"--ssl_cert_file={certificate}", f"--ssl_key_file={key}"]


@pytest.fixture(scope="module")
def authorities(tmp_path_factory: pytest.TempPathFactory) -> tuple[Authority, Authority]:
    """The one that the servers' certificates come from, and another."""
    folder = tmp_path_factory.mktemp("tls")
    return Authority(folder, "ours"), Authority(folder, "other")


@pytest.fixture(scope="module")
def tls_redis(authorities: tuple[Authority, Authority]) -> Iterator[dict[str, Any]]:
    TlsRedis.authority = authorities[0]
    with running(TlsRedis) as server:
        yield {"redis_url": server.url}


@pytest.fixture(scope="module")
def tls_database(authorities: tuple[Authority, Authority]) -> Iterator[dict[str, Any]]:
    TlsPostgres.authority = authorities[0]
    with running(TlsPostgres) as server:
        yield {
            "database_url": server.url,
            "database_username": server.username,
            "database_password": server.password,
        }


async def told(runtime: Runtime, store: str, status: str) -> dict[str, Any]:
    async def found() -> dict[str, Any]:
        check: dict[str, Any] = (await runtime.ready())["checks"][store]
        return check if check["status"] == status else {}

    return dict(await eventually(found))


@pytest.mark.parametrize("store", ["redis", "database"])
async def test_a_store_is_reached_with_its_own_authority(
    upstream: Upstream, authorities: tuple[Authority, Authority], request: pytest.FixtureRequest, store: str
) -> None:
    settings = request.getfixturevalue(f"tls_{store}") | {f"{store}_ca_file": str(authorities[0].certificate)}
    async with run_runtime(upstream, **settings) as runtime:
        await told(runtime, store, "up")
        results = [(await runtime.chat()).headers["x-cache"] for _ in range(2)]
    assert results == ["miss", "hit"]


@pytest.mark.parametrize("store", ["redis", "database"])
async def test_a_store_with_another_authority_is_refused_by_name(
    upstream: Upstream,
    authorities: tuple[Authority, Authority],
    request: pytest.FixtureRequest,
    store: str,
) -> None:
    settings = request.getfixturevalue(f"tls_{store}") | {f"{store}_ca_file": str(authorities[1].certificate)}
    async with run_runtime(upstream, **settings) as runtime:
        check = await told(runtime, store, "down")
        assert (await runtime.chat()).status == 200, "chat goes on without it"
    assert REFUSED.format(variable=store.upper()) in check["detail"]
