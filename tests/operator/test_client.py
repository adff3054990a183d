"""The API server over HTTP, and what may stand before it."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from kubernetes.aio import client as kubernetes_client

from assistant_operator.cluster.client import UNREACHABLE, ApiServer
from assistant_operator.kinds import ASSISTANT, POD

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
