"""The API server over HTTP, and what may stand before it."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from kubernetes.aio import client as kubernetes_client

from assistant_operator.cluster.client import REQUEST_TIMEOUT_SECONDS, UNREACHABLE, ApiServer
from assistant_operator.cluster.connections import Abandoning
from assistant_operator.cluster.fence import Fence
from assistant_operator.kinds import ASSISTANT, CONFIG_MAP, POD
from assistant_operator.rooms.manifests import Object

HEAD = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
EVENT = b'{"type": "ADDED", "object": {"metadata": {"name": "demo", "resourceVersion": "1"}}}\n'


@pytest.fixture
async def proxy() -> AsyncIterator[ApiServer]:
    """The API server behind a proxy that ends every answer in the middle, as if that were all."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HEAD + EVENT + EVENT[:20])
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1") as server:
        configuration = kubernetes_client.Configuration()
        configuration.host = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with ApiServer(configuration) as api:
            yield api


async def test_a_watch_that_is_cut_short_is_a_lost_connection(proxy: ApiServer) -> None:
    events = proxy.watch(POD, None, "1", selector=None, metadata_only=False, timeout_seconds=60)
    assert (await anext(events))[0] == "ADDED"
    with pytest.raises(UNREACHABLE):
        await anext(events)


async def test_an_answer_that_is_cut_short_is_a_lost_connection(proxy: ApiServer) -> None:
    with pytest.raises(UNREACHABLE):
        await proxy.get(ASSISTANT, "default", "demo")


async def _answering(fence: Fence, asked: list[str]) -> AsyncIterator[ApiServer]:
    """Yield a client of a server that notes what it is asked."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        asked.append(head)
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1") as server:
        configuration = kubernetes_client.Configuration()
        configuration.host = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with ApiServer(configuration, fence=fence, identity="pod-1") as api:
            yield api


BODY: Object = {"metadata": {"namespace": "default", "name": "demo"}}
WRITES: dict[str, Callable[[ApiServer], Awaitable[object]]] = {
    "create": lambda api: api.create(CONFIG_MAP, BODY),
    "apply": lambda api: api.apply(CONFIG_MAP, BODY),
    "status": lambda api: api.apply(ASSISTANT, BODY, subresource="status"),
    "merge": lambda api: api.merge(CONFIG_MAP, "default", "demo", BODY),
    "delete": lambda api: api.delete(CONFIG_MAP, "default", "demo", "uid"),
}


@pytest.mark.parametrize("verb", WRITES)
async def test_a_write_is_sent_only_through_the_fence(verb: str) -> None:
    fence, asked = Fence(lambda: 100.0), list[str]()
    fence.shut()
    async for api in _answering(fence, asked):
        with pytest.raises(UNREACHABLE, match="this operator is not the leader"):
            await WRITES[verb](api)
        assert asked == []
        assert await api.get(CONFIG_MAP, "default", "demo") == {}, "reads go on"
        fence.open_until(102.5)
        await WRITES[verb](api)
        assert "timeout=2500ms" in asked[-1], "the API server gives it up too"
        assert "(pod-1)" in asked[-1], "the audit log tells the operators apart"


@pytest.mark.parametrize("verb", WRITES)
async def test_a_write_in_flight_ends_before_the_fence_does(verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fence, given = Fence(lambda: 100.0), list[float]()

    async def never(*request: Any) -> Any:
        given.append(request[-1].total)
        raise TimeoutError

    configuration = kubernetes_client.Configuration(host="http://127.0.0.1:1")
    async with ApiServer(configuration, fence=fence) as api:
        monkeypatch.setattr(api, "_send", never)
        for until in (102.5, 1000.0):
            fence.open_until(until)
            with pytest.raises(TimeoutError):
                await WRITES[verb](api)
        await asyncio.wait_for(fence.drained(), 10)
    assert given == [2.5, REQUEST_TIMEOUT_SECONDS]


async def test_the_kernel_gives_up_a_write_that_the_server_does_not_confirm(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would deliver it when the network is back, however long that takes."""
    make, limits = Abandoning._socket, list[int]()

    def noting(connections: Abandoning, address: Any) -> socket.socket:
        made = make(connections, address)
        limits.append(made.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT))
        return made

    monkeypatch.setattr(Abandoning, "_socket", noting)
    async for api in _answering(Fence(margin_seconds=4), asked := list[str]()):
        await WRITES["apply"](api)
    assert (limits, len(asked)) == ([4000], 1)


def test_every_verb_of_the_client_is_known_as_a_read_or_a_write() -> None:
    """A new one must be thought of here, so that none goes round the fence."""
    reads = {"get", "list", "watch", "events", "serves", "connect", "configuration"}
    public = {name for name in vars(ApiServer) if not name.startswith("_")}
    assert public == reads | {"create", "apply", "merge", "delete"}


@pytest.mark.parametrize(
    ("excluded", "expected"),
    [("", "http://proxy.example.com:3128"), ("api.example.com", None), (".example.com", None)],
)
async def test_the_proxy_of_the_environment_counts(
    monkeypatch: pytest.MonkeyPatch, excluded: str, expected: str | None
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example.com:3128")
    monkeypatch.setenv("NO_PROXY", excluded)
    configuration = kubernetes_client.Configuration(host="https://api.example.com:6443")
    async with ApiServer(configuration) as api:
        assert api.configuration.proxy == expected
