"""A proxy before a real API server that does to its watches what networks, proxies and API servers do to them."""

import asyncio
import json
import re
import ssl
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from aiohttp import web

from devcluster import state
from devcluster.cluster import Cluster

_COLLECTION = re.compile(r"^/(?:api/v1|apis/[^/]+/[^/]+)/(?:namespaces/[^/]+/)?([a-z]+)$")
_HOPS = {"Host", "Content-Length", "Transfer-Encoding", "Connection"}
Mangle = Callable[[bytes], Iterable[bytes]]
"""From a line of a watch to what is sent in its place."""


def _as_it_is(line: bytes) -> Iterable[bytes]:
    return (line,)


class FaultyProxy:
    """Forwards all requests; the watches of a kind, by its plural, may be treated badly."""

    def __init__(self, server: str, trust: ssl.SSLContext) -> None:
        self._server, self._trust = server, trust
        self._open: defaultdict[str, set[web.StreamResponse]] = defaultdict(set)
        self._requests: dict[web.StreamResponse, web.Request] = {}
        self._held: defaultdict[str, asyncio.Event] = _AllSet()
        self._silent: set[web.StreamResponse] = set()
        self._mangled: dict[str, Mangle] = {}
        self._refused: dict[str, tuple[int, int]] = {}
        self.refusals: Counter[str] = Counter()
        """Requests that were refused, by plural."""
        self.ahead: Counter[str] = Counter()
        """Lists that are to be answered as of a version that the API server has not reached, by plural."""
        self.url = ""
        self._joined = asyncio.Event()
        self._joined.set()

    def part(self) -> None:
        """Let nothing through any more, in neither direction, nor any connection end."""
        self._joined.clear()

    def join(self) -> None:
        """Let everything through again; requests that were given up meanwhile never arrive."""
        self._joined.set()

    def cut(self, plural: str) -> None:
        """Cut the connections of a kind's watches."""
        for response in list(self._open[plural]):
            if transport := self._requests[response].transport:
                transport.abort()

    def silence(self, plural: str) -> None:
        """Let nothing through the open watches of a kind any more, nor end them; new ones are well."""
        self._silent |= self._open[plural]

    async def write(self, plural: str, text: bytes) -> None:
        """Write something into a watch of a kind, as soon as one is open."""
        while not await self._written(plural, text):
            self._opened.clear()
            await self._opened.wait()

    async def _written(self, plural: str, text: bytes) -> bool:
        for response in list(self._open[plural]):
            with suppress(ConnectionError):  # of one whose client is gone
                await response.write(text)
                return True
        return False

    def hold(self, plural: str) -> None:
        """Let nothing of a kind through any more, nor any connection end."""
        self._held[plural].clear()

    def release(self, plural: str) -> None:
        """Answer those who ask for a kind again; what was held is lost."""
        self._held[plural].set()
        self.cut(plural)

    def refuse(self, plural: str, status: int, times: int) -> None:
        """Refuse the next lists and watches of a kind, and end those that are open."""
        self._refused[plural] = (status, times)
        self.cut(plural)

    def mangle(self, plural: str, mangle: Mangle = _as_it_is) -> None:
        """Change the lines of a kind's watches from now on; nothing given: leave them as they are."""
        self._mangled[plural] = mangle

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        await self._joined.wait()
        if request.transport is None or request.transport.is_closing():
            return web.Response()
        found = _COLLECTION.match(request.path)
        plural = found[1] if found and request.method == "GET" else ""
        if refusal := self._refusal(plural):
            return refusal
        if plural and not self._held[plural].is_set():
            await self._held[plural].wait()
        headers = {name: value for name, value in request.headers.items() if name not in _HOPS}
        async with self._session.request(
            request.method, f"{self._server}{request.path_qs}", data=await request.read(), headers=headers
        ) as answer:
            if "watch" not in request.query:
                body, kind = await answer.read(), answer.headers.get("Content-Type", "")
                await self._joined.wait()
                if self.ahead[plural]:
                    body = _of_the_future(body)
                    self.ahead[plural] -= 1
                return web.Response(body=body, status=answer.status, headers={"Content-Type": kind})
            return await self._stream(request, answer, plural)

    def _refusal(self, plural: str) -> web.Response | None:
        status, times = self._refused.get(plural, (0, 0))
        if not times:
            return None
        self._refused[plural] = (status, times - 1)
        self.refusals[plural] += 1
        body = {"kind": "Status", "metadata": {}, "code": status, "reason": "", "message": f"refused with {status}"}
        return web.json_response(body, status=status)

    async def _stream(self, request: web.Request, answer: aiohttp.ClientResponse, plural: str) -> web.StreamResponse:
        response = web.StreamResponse(status=answer.status, headers={"Content-Type": "application/json"})
        await response.prepare(request)
        self._open[plural].add(response)
        self._opened.set()
        self._requests[response] = request
        try:
            async for line in answer.content:
                await self._held[plural].wait()
                await self._joined.wait()
                if response not in self._silent:
                    # Who is gone is sent nothing. The answer is read to its end all the same, so that it ends well.
                    with suppress(ConnectionError):
                        for text in self._mangled.get(plural, _as_it_is)(line):
                            await response.write(text)
            await self._held[plural].wait()
            if response in self._silent:
                await self._over.wait()
        finally:
            self._silent.discard(response)
            self._open[plural].discard(response)
            del self._requests[response]
        return response

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["FaultyProxy"]:
        """Serve until the block ends."""
        self._held, self._over, self._opened = _AllSet(), asyncio.Event(), asyncio.Event()
        app = web.Application(client_max_size=2**24)
        app.router.add_route("*", "/{path:.*}", self._forward)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=10)
        connector = aiohttp.TCPConnector(ssl=self._trust, limit=0)
        async with aiohttp.ClientSession(
            connector=connector, timeout=aiohttp.ClientTimeout(total=None), read_bufsize=2**21
        ) as self._session:
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            try:
                yield self
            finally:
                self._over.set()
                self._joined.set()
                for held in self._held.values():
                    held.set()
                await runner.cleanup()
                await connector.close(abort_ssl=True)
                await asyncio.sleep(0)  # the loop closes what was aborted
                await asyncio.sleep(0)


def _of_the_future(body: bytes) -> bytes:
    """Return a list as of a version that is to come: what is remembered of a time before etcd was restored."""
    answer = json.loads(body)
    answer["metadata"]["resourceVersion"] = str(int(answer["metadata"]["resourceVersion"]) + 10**6)
    return json.dumps(answer).encode()


class _AllSet(defaultdict[str, asyncio.Event]):
    """Events that are set until somebody clears them."""

    def __missing__(self, key: str) -> asyncio.Event:
        event = self[key] = asyncio.Event()
        event.set()
        return event


def before(cluster: Cluster) -> FaultyProxy:
    """Return a proxy before a cluster's API server, which sees the credentials that it is given."""
    trust = ssl.create_default_context(cafile=str(state.files(cluster.name).pki / "ca.crt"))
    return FaultyProxy(cluster.server, trust)


def through(proxy: FaultyProxy, kubeconfig: Path, place: Path) -> Path:
    """Write a kubeconfig that leads through the proxy."""
    config: Any = yaml.safe_load(kubeconfig.read_text())
    for cluster in config["clusters"]:
        cluster["cluster"] = {"server": proxy.url}
    place.write_text(yaml.safe_dump(config))
    return place
