"""Clients that keep a connection and give or take nothing, over real sockets: each is ended, and no other notices."""

import asyncio
import json
import resource
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

import pytest
from aiohttp import web

from assistant_runtime.api.connection_limits import ConnectionLimits
from assistant_runtime.settings import Settings
from tests.support.runtime import PATIENCE_SECONDS, QUESTION, Runtime, eventually, run_runtime
from tests.support.upstream import Upstream, chunk, paced, sse

SHORT = 0.3
LONG = 3600.0
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
BODY = json.dumps(QUESTION).encode()
WITH_BODY = HEAD + f"content-length: {len(BODY)}\r\n\r\n".encode()


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("assistant_runtime.api.connection_limits.LOOK_SECONDS", 0.02)


@asynccontextmanager
async def limited(upstream: Upstream, **limits: Any) -> AsyncIterator[Runtime]:
    """Run a runtime of which only the limits under test are short."""
    names = ("request_head", "request_body", "stalled_write")
    patient = {f"{name}_timeout_seconds": LONG for name in names}
    async with run_runtime(upstream, **patient | limits) as runtime:
        yield runtime


@contextmanager
def connected(runtime: Runtime) -> Iterator[socket.socket]:
    """Connect with a socket for which the system keeps little, so that what is not read waits at its sender."""
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(PATIENCE_SECONDS)
        host, port = runtime.url.removeprefix("http://").split(":")
        client.connect((host, int(port)))
        client.setblocking(False)
        yield client


async def send(client: socket.socket, data: bytes) -> None:
    await asyncio.get_running_loop().sock_sendall(client, data)


async def to_the_end(client: socket.socket) -> bytes:
    """Read until the server closes, or resets because it does not want what is still sent."""
    found = b""
    with suppress(ConnectionResetError):
        async with asyncio.timeout(PATIENCE_SECONDS):
            while part := await asyncio.get_running_loop().sock_recv(client, 65_536):
                found += part
    return found


def error_in(answer: bytes) -> tuple[bytes, str]:
    """Give status line and code of an answer that says that the connection ends."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"connection: close" in head.lower()
    return head.splitlines()[0], json.loads(body)["error"]["code"]


async def test_half_a_head_gets_408(upstream: Upstream) -> None:
    async with limited(upstream, request_head_timeout_seconds=SHORT) as runtime:
        with connected(runtime) as client:
            await send(client, HEAD)
            answer = await to_the_end(client)
    assert error_in(answer) == (b"HTTP/1.1 408 Request Timeout", "request_timeout")


async def test_a_second_half_head_on_a_connection_does_too(upstream: Upstream) -> None:
    async with limited(upstream, request_head_timeout_seconds=SHORT) as runtime:
        with connected(runtime) as client:
            await send(client, b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\nGET /he")
            first, _, second = (await to_the_end(client)).partition(b"}")
    assert first.startswith(b"HTTP/1.1 200")
    assert second.startswith(b"HTTP/1.1 408")


@pytest.mark.parametrize("sent", [b"", b"\r\n"], ids=["nothing", "only line ends"])
async def test_a_connection_on_which_nothing_comes_is_closed(upstream: Upstream, sent: bytes) -> None:
    async with limited(upstream, request_head_timeout_seconds=SHORT) as runtime:
        with connected(runtime) as client:
            await send(client, sent)
            assert await to_the_end(client) == b""


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses", "/v1/sessions", "/v1/documents"])
async def test_half_a_body_gets_408_and_is_logged_as_such(upstream: Upstream, path: str) -> None:
    async with limited(upstream, request_body_timeout_seconds=SHORT) as runtime:
        with connected(runtime) as client:
            head = WITH_BODY.replace(b"/v1/chat/completions", path.encode())
            await send(client, head + BODY[:-1])
            answer = await to_the_end(client)
        scraped = (await runtime.get("/metrics")).body.decode()
    assert error_in(answer) == (b"HTTP/1.1 408 Request Timeout", "request_timeout")
    assert f'http_requests_total{{endpoint="{path}",method="POST",status="408"}} 1.0' in scraped
    assert upstream.requests == []


async def test_a_body_that_drips_is_ended_however_steadily(upstream: Upstream) -> None:
    limits = {"request_body_timeout_seconds": SHORT, "request_min_bytes_per_second": 1_000_000}
    async with limited(upstream, **limits) as runtime:
        with connected(runtime) as client:
            await send(client, WITH_BODY)
            ending = asyncio.create_task(to_the_end(client))
            with suppress(ConnectionError):
                for place in range(len(BODY) - 1):
                    await asyncio.wait({ending}, timeout=0.02)
                    if ending.done():
                        break
                    await send(client, BODY[place : place + 1])
            answer = await ending
    assert error_in(answer)[1] == "request_timeout"


async def test_a_body_in_pieces_at_the_wanted_rate_is_answered(upstream: Upstream) -> None:
    async with limited(upstream, request_body_timeout_seconds=60, request_min_bytes_per_second=1) as runtime:
        with connected(runtime) as client:
            await send(client, WITH_BODY.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"))
            for place in range(0, len(BODY), 7):
                await asyncio.sleep(0)
                await send(client, BODY[place : place + 7])
            assert (await to_the_end(client)).startswith(b"HTTP/1.1 200")


async def flood(upstream: Upstream, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    """Stream without an end."""
    response = await sse(request)
    upstream.started.set()
    while True:
        await response.write(chunk(body["model"], "x" * 65_536))


STREAM = json.dumps({**QUESTION, "stream": True}).encode()
STREAMED = HEAD + f"content-length: {len(STREAM)}\r\n\r\n".encode() + STREAM


async def test_a_stream_that_nobody_reads_is_ended_at_the_provider_too(upstream: Upstream) -> None:
    upstream.script = [flood]
    async with limited(upstream, stalled_write_timeout_seconds=SHORT) as runtime:
        with connected(runtime) as client:
            await send(client, STREAMED)
            await asyncio.wait_for(upstream.closed.wait(), PATIENCE_SECONDS)
        assert await in_flight(runtime) == 1, "only the request that asks"


async def test_an_answer_that_is_whole_and_not_read_does_not_keep_its_connection(upstream: Upstream) -> None:
    async def much(_: Upstream, __: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        message = {"role": "assistant", "content": "x" * 16_000_000}
        return web.json_response({"model": body["model"], "choices": [{"index": 0, "message": message}]})

    upstream.script = [much]
    async with limited(upstream, stalled_write_timeout_seconds=SHORT) as runtime:
        connections = runtime.server.server_state.connections
        with connected(runtime) as client:
            await send(client, WITH_BODY.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n") + BODY)
            await eventually(lambda: len(upstream.requests) == 1)
            await eventually(lambda: not connections)


async def test_a_reader_that_is_slow_and_reads_gets_everything(upstream: Upstream) -> None:
    upstream.script = [paced]
    async with limited(upstream, stalled_write_timeout_seconds=60) as runtime:
        with connected(runtime) as client:
            await send(client, STREAMED.replace(b"host: localhost", b"host: localhost\r\nconnection: close"))
            await asyncio.wait_for(upstream.started.wait(), PATIENCE_SECONDS)
            upstream.release.set()
            assert b"[DONE]" in await to_the_end(client)


async def in_flight(runtime: Runtime) -> float:
    scraped = (await runtime.get("/metrics")).body.decode().splitlines()
    return float(next(line.split()[1] for line in scraped if line.startswith("http_requests_in_flight ")))


async def test_waiting_for_the_provider_is_not_late(upstream: Upstream) -> None:
    """Only what the client owes has a limit."""
    upstream.script = [paced]
    every = ("request_head_timeout_seconds", "request_body_timeout_seconds", "stalled_write_timeout_seconds")
    async with limited(upstream, **dict.fromkeys(every, 0.05)) as runtime:
        with connected(runtime) as client:
            await send(client, STREAMED.replace(b"host: localhost", b"host: localhost\r\nconnection: close"))
            await asyncio.wait_for(upstream.started.wait(), PATIENCE_SECONDS)
            with connected(runtime) as late:
                await to_the_end(late)
            upstream.release.set()
            assert b"[DONE]" in await to_the_end(client)


async def test_a_connection_too_many_takes_the_place_of_an_idle_one(upstream: Upstream) -> None:
    async with limited(upstream, max_connections=2) as runtime:
        with connected(runtime) as first, connected(runtime) as second:
            assert (await runtime.get("/health")).status == 200
            done, _ = await asyncio.wait(
                {asyncio.create_task(to_the_end(each)) for each in (first, second)}, return_when=asyncio.FIRST_COMPLETED
            )
            assert len(done) == 1


async def test_where_all_are_answered_a_connection_too_many_gets_503(upstream: Upstream) -> None:
    upstream.script = [paced]
    async with limited(upstream, max_connections=1) as runtime:
        with connected(runtime) as client:
            await send(client, STREAMED)
            await asyncio.wait_for(upstream.started.wait(), PATIENCE_SECONDS)
            with connected(runtime) as other:
                answer = await to_the_end(other)
    assert error_in(answer) == (b"HTTP/1.1 503 Service Unavailable", "too_many_connections")
    assert b"retry-after: 1" in answer


def test_connections_leave_files_for_the_providers() -> None:
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert ConnectionLimits.of(Settings.load(max_connections=1_000_000)).connections == min(1_000_000, files // 2)
    assert ConnectionLimits.of(Settings.load(max_connections=3)).connections == 3
