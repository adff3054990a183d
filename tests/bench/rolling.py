"""A rolling update under load: processes are replaced one after the other, as a Deployment's pods are.

In front of them is what a Service does: new connections go to those that are ready, which a probe finds out in
intervals, and so somewhat late; open connections stay where they are.
"""

import asyncio
import itertools
import json
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager

import aiohttp
import uvloop

from tests.bench.checks import HEADERS
from tests.bench.contender import Contender
from tests.bench.figure import Figure
from tests.bench.load import PACED
from tests.bench.provider import STREAM
from tests.support.runtime import eventually

CLIENTS = 32
REPLACEMENTS = 3
PROBE_SECONDS = 0.5
"""Between two looks at /ready; a kubelet takes longer, and its grace is longer in proportion."""

Start = Callable[[], AbstractContextManager[Contender]]
"""Starts one more process, which is ready when it is given."""


class Service:
    """Passes connections on to whoever is ready, in turn."""

    def __init__(self) -> None:
        self.pods: list[Contender] = []
        self._ready: list[Contender] = []
        self._turn = itertools.count()

    async def probe(self) -> None:
        """Look who is ready, until cancelled."""
        async with aiohttp.ClientSession() as client:
            while True:
                self._ready = [pod for pod in list(self.pods) if await _is_ready(client, pod)]
                await asyncio.sleep(PROBE_SECONDS)

    async def until_ready(self, pod: Contender) -> None:
        """Wait until the probe has found a pod."""
        await eventually(lambda: pod in self._ready)

    async def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Join a client's connection with one to a pod."""
        pod = self._ready[next(self._turn) % len(self._ready)]
        try:
            answers, asks = await asyncio.open_connection("127.0.0.1", int(pod.url.rpartition(":")[2]))
        except OSError:
            writer.transport.abort()
            return
        await asyncio.gather(_copy(reader, asks), _copy(answers, writer))


async def _is_ready(client: aiohttp.ClientSession, pod: Contender) -> bool:
    try:
        async with client.get(f"{pod.url}/ready") as answer:
            return answer.status == 200
    except aiohttp.ClientError:
        return False


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(65536):
            target.write(data)
            await target.drain()
    except OSError:
        target.transport.abort()
    target.close()


def rolling_update(start: Start) -> Figure:
    """Stream all the time while each of two processes is replaced, and another; count what was not whole."""
    streams, lost = uvloop.run(_rolling_update(start))
    return Figure(f"streams lost in a rolling update of {REPLACEMENTS} processes, of {streams:,}", lost, at_most=0)


async def _rolling_update(start: Start) -> tuple[int, int]:
    with ExitStack() as stack:
        service = Service()
        service.pods = [await asyncio.to_thread(stack.enter_context, start()) for _ in range(2)]
        async with _serving(service) as url:
            updated = asyncio.Event()
            clients = [asyncio.create_task(_client(url, updated)) for _ in range(CLIENTS)]
            for _ in range(REPLACEMENTS):
                pod = await asyncio.to_thread(stack.enter_context, start())
                service.pods.append(pod)
                await service.until_ready(pod)
                await _replace(service.pods[0])
                service.pods.pop(0)
            updated.set()
            results = await asyncio.gather(*clients)
    return sum(streams for streams, _ in results), sum(lost for _, lost in results)


@asynccontextmanager
async def _serving(service: Service) -> AsyncIterator[str]:
    probing = asyncio.create_task(service.probe())
    for pod in service.pods:
        await service.until_ready(pod)
    server = await asyncio.start_server(service.connect, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        probing.cancel()


async def _replace(pod: Contender) -> None:
    pod.process.send_signal(signal.SIGTERM)
    code = await asyncio.to_thread(pod.process.wait, 60)
    if code:
        raise SystemExit(f"a process that was replaced ended with {code}")


async def _client(url: str, updated: asyncio.Event) -> tuple[int, int]:
    """Ask for one stream after the other until the update is over; gives how many, and how many were not whole."""
    streams = lost = 0
    async with aiohttp.ClientSession(headers=HEADERS) as client:
        while not updated.is_set():
            streams += 1
            try:
                async with client.post(f"{url}/v1/chat/completions", data=json.dumps(PACED)) as answer:
                    lost += await answer.read() != STREAM
            except aiohttp.ClientError:
                lost += 1
    return streams, lost
