"""An API server that answers by a script: what no real one sends, and what a proxy before one may."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

import orjson
from kubernetes.aio import client as kubernetes_client

from assistant_operator.cluster.client import ApiServer
from assistant_operator.rooms.manifests import Object

HEAD = b"HTTP/1.1 %d X\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"


class Held(bytes):
    """An answer after which the connection stays open, and silent."""


@dataclass
class Scripted:
    """Lists and watches that are answered in turn; the last answer of each is repeated."""

    lists: list[bytes] = field(default_factory=list)
    watches: list[bytes] = field(default_factory=list)
    asked: list[tuple[str, str]] = field(default_factory=list)
    """What was asked: list or watch, and the version to watch from."""

    def answer(self, target: str) -> bytes:
        query = parse_qs(urlsplit(target).query)
        verb = "watch" if "watch" in query else "list"
        self.asked.append((verb, query.get("resourceVersion", [""])[0]))
        script = self.watches if verb == "watch" else self.lists
        return script.pop(0) if len(script) > 1 else script[0]


class _Connection(asyncio.Protocol):
    """A connection, which takes one request."""

    def __init__(self, script: Scripted) -> None:
        self._script, self._received = script, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        if self._received.endswith(b"\r\n\r\n"):
            answer = self._script.answer(self._received.split()[1].decode())
            self._transport.write(answer)
            if not isinstance(answer, Held):
                self._transport.close()


@asynccontextmanager
async def serving(script: Scripted) -> AsyncIterator[ApiServer]:
    """Serve a script, each answer on a connection of its own."""
    loop = asyncio.get_running_loop()
    async with await loop.create_server(lambda: _Connection(script), "127.0.0.1") as server:
        configuration = kubernetes_client.Configuration()
        configuration.host = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with ApiServer(configuration) as api:
            yield api


def held(answer: bytes) -> bytes:
    """Return an answer after which nothing comes, and no end."""
    return Held(answer)


def listed(*items: Object | bytes, version: str = "10") -> bytes:
    """Return the answer to a list."""
    bodies = b",".join(item if isinstance(item, bytes) else orjson.dumps(item) for item in items)
    return HEAD % 200 + b'{"kind":"List","metadata":{"resourceVersion":"%s"},"items":[%s]}' % (version.encode(), bodies)


def event(kind: str, body: Object | bytes) -> bytes:
    """Return a line of a watch."""
    written = body if isinstance(body, bytes) else orjson.dumps(body)
    return b'{"type":"%s","object":%s}\n' % (kind.encode(), written)


def streamed(*lines: bytes) -> bytes:
    """Return the answer to a watch."""
    return HEAD % 200 + b"".join(lines)


def refused(code: int, reason: str = "") -> bytes:
    """Return an error of the API server."""
    status = {"kind": "Status", "code": code, "reason": reason, "message": f"{code} {reason}", "metadata": {}}
    return HEAD % code + orjson.dumps(status)
