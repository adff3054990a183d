"""The HTTP client of providers, on raw sockets: what a server may do with a connection, and how each ends."""

import asyncio
import contextlib
import datetime as dt
import gzip
import ipaddress
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from assistant_runtime.errors import ProviderError
from assistant_runtime.providers import openai_compatible
from assistant_runtime.providers.connection import MAX_HEAD_BYTES, BadResponseError, Connection
from assistant_runtime.providers.openai_compatible import OpenAICompatibleProvider
from assistant_runtime.settings.providers import ProviderSettings
from tests.support.runtime import PATIENCE_SECONDS
from tests.support.upstream import MODEL, completion, whole_stream

ANSWER = json.dumps(completion(MODEL)).encode()
OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
WHOLE = OK + b"content-length: %d\r\n\r\n" % len(ANSWER) + ANSWER
CHUNKED = OK + b"transfer-encoding: chunked\r\n\r\n5\r\n" + ANSWER[:5] + b"\r\n%x\r\n" % len(ANSWER[5:])
CHUNKED += ANSWER[5:] + b"\r\n0\r\n\r\n"
GZIPPED = gzip.compress(ANSWER)

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def read_request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next((line for line in head.split(b"\r\n") if line.startswith(b"content-length:")), b": 0")
    return head + await reader.readexactly(int(length.partition(b":")[2]))


@asynccontextmanager
async def serving(script: Script, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Run the script for each connection; gives the port."""
    tasks: set[asyncio.Task[None] | None] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())
        try:
            await script(reader, writer)
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            if task is not None:
                task.cancel()
        await asyncio.gather(*(task for task in tasks if task), return_exceptions=True)


def provider(port: int, scheme: str = "http", host: str = "127.0.0.1", **fields: object) -> OpenAICompatibleProvider:
    settings = {"name": "p", "base_url": f"{scheme}://{host}:{port}/v1", "default_model": MODEL, **fields}
    return OpenAICompatibleProvider(ProviderSettings.model_validate(settings))


def answering(*answers: bytes, then_close: bool = False) -> Script:
    """Give each request on a connection the next of these bytes."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            await read_request(reader)
            writer.write(answer)
            await writer.drain()
        if not then_close:
            await reader.read()

    return script


@pytest.mark.parametrize(
    "answer",
    [
        WHOLE,
        CHUNKED,
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + WHOLE,
        OK + b"content-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(GZIPPED) + GZIPPED,
    ],
    ids=["content-length", "chunked", "1xx first", "gzip unasked"],
)
async def test_an_answer_is_whole_however_it_is_framed(answer: bytes) -> None:
    async with serving(answering(answer, answer)) as port, provider(port) as client:
        for _ in range(2):
            assert (await client.complete(b"{}", "id")).body == ANSWER


async def test_a_body_may_end_with_its_connection() -> None:
    async with serving(answering(OK + b"\r\n" + ANSWER, then_close=True)) as port, provider(port) as client:
        assert (await client.complete(b"{}", "id")).body == ANSWER


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (b"", "provider_disconnected"),
        (WHOLE[:-1], "provider_disconnected"),
        (CHUNKED[:-7], "provider_disconnected"),
        (b"SSH-2.0-OpenSSH_9\r\n", "provider_bad_response"),
        (b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", "provider_bad_response"),
        (OK + b"x: " + b"y" * (MAX_HEAD_BYTES + 1), "provider_bad_response"),
        (OK + b"content-encoding: br\r\ncontent-length: 1\r\n\r\nx", "provider_bad_response"),
    ],
    ids=["nothing", "short", "short chunk", "not HTTP", "upgrade", "endless head", "encoding"],
)
async def test_an_answer_that_is_none_is_named(answer: bytes, code: str) -> None:
    async with serving(answering(answer, then_close=True)) as port, provider(port) as client:
        with pytest.raises(ProviderError) as caught:
            await client.complete(b"{}", "id")
    assert caught.value.code == code


@pytest.mark.parametrize("encoded", [False, True], ids=["plain", "gzip bomb"])
async def test_an_answer_without_end_is_cut(monkeypatch: pytest.MonkeyPatch, encoded: bool) -> None:
    monkeypatch.setattr(openai_compatible, "MAX_ANSWER_BYTES", 1000)
    body = gzip.compress(b"x" * 10_000_000) if encoded else b"x" * 2000
    encoding = b"content-encoding: gzip\r\n" if encoded else b""
    answer = OK + encoding + b"content-length: %d\r\n\r\n" % len(body) + body
    async with serving(answering(answer)) as port, provider(port) as client:
        with pytest.raises(ProviderError, match="longer than 1000 bytes"):
            await client.complete(b"{}", "id")


async def test_connections_are_used_again() -> None:
    opened = 0

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal opened
        opened += 1
        await answering(*[WHOLE] * 5)(reader, writer)

    async with serving(script) as port, provider(port) as client:
        for _ in range(5):
            await client.complete(b"{}", "id")
    assert opened == 1


@pytest.mark.parametrize("header", [b"connection: close\r\n", b""])
async def test_a_connection_that_its_server_closed_is_replaced(header: bytes) -> None:
    """The server's close may come at any moment, also with the next request on its way."""
    answer = WHOLE.replace(b"\r\n\r\n", b"\r\n" + header + b"\r\n", 1)
    async with serving(answering(answer, then_close=True)) as port, provider(port) as client:
        for _ in range(20):
            assert (await client.complete(b"{}", "id")).body == ANSWER


async def test_a_second_answer_to_one_request_is_never_the_next_ones() -> None:
    async with serving(answering(WHOLE + WHOLE.replace(b"Paris", b"wrong"))) as port, provider(port) as client:
        for _ in range(3):
            assert (await client.complete(b"{}", "id")).body == ANSWER


async def test_a_request_that_is_given_up_closes_its_connection() -> None:
    asked, gone = asyncio.Event(), asyncio.Event()

    async def script(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await read_request(reader)
        asked.set()
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        gone.set()

    async with serving(script) as port, provider(port) as client:
        asking = asyncio.create_task(client.complete(b"{}", "id"))
        await asked.wait()
        asking.cancel()
        await asyncio.wait_for(gone.wait(), PATIENCE_SECONDS)


async def test_a_connection_that_comes_back_after_the_end_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai_compatible, "KEEPALIVE_SECONDS", 3600.0)
    begun, ended, gone = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        begun.set()
        await ended.wait()
        writer.write(WHOLE)
        assert await reader.read() == b""
        gone.set()

    async with serving(script) as port:
        async with provider(port) as client:
            asking = asyncio.create_task(client.complete(b"{}", "id"))
            await begun.wait()
        ended.set()
        await asking
        await asyncio.wait_for(gone.wait(), PATIENCE_SECONDS)


async def test_the_request_is_http_that_any_server_reads() -> None:
    seen = b""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal seen
        seen = await read_request(reader)
        writer.write(WHOLE)

    async with serving(script) as port, provider(port) as client:
        await client.complete(b'{"a":1}', "id-7")
    head, _, body = seen.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /v1/chat/completions HTTP/1.1"
    assert body == b'{"a":1}'
    assert {f"host: 127.0.0.1:{port}", "x-request-id: id-7", "content-length: 7"} <= set(lines)


@given(st.lists(st.integers(min_value=1, max_value=len(CHUNKED) - 1), max_size=8))
def test_any_cut_gives_the_same_body(cuts: list[int]) -> None:
    edges = [0, *sorted(set(cuts)), len(CHUNKED)]
    loop = asyncio.new_event_loop()
    try:
        connection = Connection(loop)
        connection._busy, connection._max_bytes = True, len(CHUNKED)
        for start, end in pairwise(edges):
            connection.data_received(CHUNKED[start:end])
        assert connection.body() == ANSWER
        connection.close()
    finally:
        loop.close()


@given(st.binary(max_size=300))
def test_no_bytes_break_the_parser(data: bytes) -> None:
    loop = asyncio.new_event_loop()
    try:
        connection = Connection(loop)
        connection._busy, connection._max_bytes = True, 100
        connection.data_received(data)
        assert connection._error is None or isinstance(connection._error, BadResponseError)
        connection.close()
    finally:
        loop.close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate of `localhost`, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "tls.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM) + private)
    return path


@pytest.fixture
def tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


async def test_tls_with_certificates_of_ones_own(tls: ssl.SSLContext, certificate: Path) -> None:
    names: list[str | None] = []
    tls.sni_callback = lambda _, name, __: names.append(name)
    async with (
        serving(answering(WHOLE, WHOLE), tls) as port,
        provider(port, "https", "localhost", ca_file=str(certificate)) as client,
    ):
        for _ in range(2):
            assert (await client.complete(b"{}", "id")).body == ANSWER
    assert names == ["localhost"]


async def test_a_certificate_that_nobody_vouches_for_is_refused(tls: ssl.SSLContext) -> None:
    async with serving(answering(WHOLE), tls) as port, provider(port, "https", "localhost") as client:
        with pytest.raises(
            ProviderError, match=r"not trusted \(self.signed certificate\): set OPENAI_COMPATIBLE_CA_FILE"
        ) as caught:
            await client.complete(b"{}", "id")
    assert caught.value.code == "provider_unreachable"


@asynccontextmanager
async def proxying(status: bytes = b"200 OK") -> AsyncIterator[tuple[int, list[bytes]]]:
    """Run a proxy that opens tunnels, or refuses to; gives its port and the heads it was sent."""
    heads: list[bytes] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        heads.append(head)
        writer.write(b"HTTP/1.1 " + status + b"\r\n\r\n")
        if not status.startswith(b"200"):
            return
        _, _, port = head.split()[1].rpartition(b":")
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", int(port))
        try:
            await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))
        finally:
            far_writer.close()

    async with serving(script) as port:
        yield port, heads


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


async def test_an_https_provider_is_reached_through_the_proxy(
    tls: ssl.SSLContext, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = OK + b"transfer-encoding: chunked\r\n\r\n"
    stream += b"".join(b"%x\r\n%b\r\n" % (len(event), event) for event in whole_stream(MODEL)) + b"0\r\n\r\n"
    async with serving(answering(WHOLE, stream), tls) as port, proxying() as (proxy, heads):
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:p%40ss@127.0.0.1:{proxy}")
        monkeypatch.setenv("NO_PROXY", "")
        async with provider(port, "https", "localhost", ca_file=str(certificate)) as client:
            assert (await client.complete(b"{}", "id")).body == ANSWER
            answer = await client.stream(b"{}", "id", hide_usage=False)
            assert answer.first + b"".join([part async for part in answer.rest]) == b"".join(whole_stream(MODEL))
    assert len(heads) == 1
    assert heads[0].startswith(f"CONNECT localhost:{port} HTTP/1.1\r\n".encode())
    assert b"proxy-authorization: Basic dXNlcjpwQHNz\r\n" in heads[0]


async def test_a_proxy_that_refuses_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    async with proxying(b"407 Proxy Authentication Required") as (proxy, _):
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy}")
        monkeypatch.setenv("NO_PROXY", "")
        async with provider(1, "https", "far.example") as client:
            with pytest.raises(ProviderError, match="the proxy of HTTPS_PROXY answered 407"):
                await client.complete(b"{}", "id")


async def test_no_proxy_and_plain_http_go_direct(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    async with serving(answering(WHOLE)) as port, provider(port) as client:
        assert (await client.complete(b"{}", "id")).body == ANSWER
