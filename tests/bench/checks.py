"""What the runtime's benchmark looks at besides speed: whole streams, memory, the cache, clients that leave."""

import asyncio
import json
import math
import re
import time
import urllib.request
from collections.abc import Iterator, Mapping

import aiohttp
import uvloop

from tests.bench.contender import Contender
from tests.bench.figure import Figure
from tests.bench.load import PACED, QUESTION, wrk
from tests.bench.provider import EVENTS, STREAM
from tests.bench.report import say
from tests.bench.servers import KEY

HEADERS = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
AT_ONCE = 64
"""Streams that are compared side by side, each client's one after the other."""
CLOSED_SECONDS = 0.5
"""Less than a paced stream takes, whose end is none that the client caused."""
SETTLED_REQUESTS = 20_000
"""After these a process has opened, cached and imported everything that it will."""
GROWTH_MB = 1
"""Less is the noise of an allocator."""
SOAK_TURN_SECONDS = 10
SOAK_SECONDS = 240.0
"""After this the soak ends, whatever it has sent, and the figure says how much that was."""


def whole_streams(contender: Contender, count: int) -> list[Figure]:
    """Compare streams with what the provider said, byte by byte: many in turn, and 500 at once."""
    return uvloop.run(_whole_streams(contender, count))


async def _whole_streams(contender: Contender, count: int) -> list[Figure]:
    url = f"{contender.url}/v1/chat/completions"

    async def wrong(client: aiohttp.ClientSession, times: int, body: Mapping[str, object]) -> int:
        found = 0
        for _ in range(times):
            async with client.post(url, data=json.dumps(body)) as answer:
                told = await answer.read()
            if told != STREAM:
                found += 1
                say(f"a stream differs: status {answer.status}, {len(told)} bytes, at the end {told[-200:]!r}")
        return found

    burst = {**QUESTION, "stream": True}
    async with aiohttp.ClientSession(headers=HEADERS, connector=aiohttp.TCPConnector(limit=0)) as client:
        in_turn = await asyncio.gather(*(wrong(client, count // AT_ONCE, burst) for _ in range(AT_ONCE)))
        at_once = await asyncio.gather(*(wrong(client, 1, PACED) for _ in range(500)))
    what = f"streams with a lost, split or reordered chunk, of {count // AT_ONCE * AT_ONCE:,} with {len(EVENTS)} each"
    return [
        Figure(what, sum(in_turn), at_most=0),
        Figure("the same, of 500 streams at once", sum(at_once), at_most=0),
    ]


def close_latency(contender: Contender, provider: Contender) -> Figure:
    """Leave streams, and see when the provider's connection closed; infinity if it did not."""
    times = [asyncio.run(_leave(contender, provider)) for _ in range(10)]
    what = "a client left, the provider's connection closed after, longest of 10"
    return Figure(what, max(times), "ms", 1, at_most=50)


async def _leave(contender: Contender, provider: Contender) -> float:
    async with aiohttp.ClientSession(headers=HEADERS) as client:
        answer = await client.post(f"{contender.url}/v1/chat/completions", data=json.dumps(PACED))
        await answer.content.readuntil(b"\n\n")
        left = time.monotonic()
        answer.close()
        deadline = left + CLOSED_SECONDS
        while time.monotonic() < deadline:
            async with client.get(f"{provider.url}/closed") as told:
                closed = float((await told.json())["closed_at"])
            if closed >= left:
                return (closed - left) * 1000
            await asyncio.sleep(0.01)
    return math.inf


def memory(contender: Contender, requests: int) -> Iterator[Figure]:
    """Send many requests, and see what the process holds before, after it warmed up, and in the end."""
    yield Figure("memory after start", contender.idle_memory, "MB", at_most=150)
    sent, settled = 0.0, 0.0
    began = time.monotonic()
    while requests and sent < requests + SETTLED_REQUESTS and time.monotonic() - began < SOAK_SECONDS:
        sent += wrk(contender, 64, SOAK_TURN_SECONDS).rate * SOAK_TURN_SECONDS
        if not settled and sent >= SETTLED_REQUESTS:
            settled, warm = contender.memory(), sent
            yield Figure(f"memory after {int(warm):,} requests", settled, "MB", 1, at_most=90)
    if settled:
        grown = contender.memory() - settled
        yield Figure(f"growth over {int(sent - warm):,} more", grown, "MB", 1, at_most=GROWTH_MB)


def cache_hit(contender: Contender, seconds: int) -> list[Figure]:
    """Give the time that the server itself took for answers from the cache in Redis, one at a time."""
    load = wrk(contender, 1, seconds)
    with urllib.request.urlopen(f"{contender.url}/metrics", timeout=5) as answer:
        told = answer.read().decode()
    labels = r'\{endpoint="/v1/chat/completions",method="POST"\}'
    counted = dict(re.findall(rf"http_request_duration_seconds_(sum|count){labels} (\S+)", told))
    mean = float(counted["sum"]) / float(counted["count"])
    return [
        Figure("cache hit, mean of the server's own time", mean * 1000, "ms", 2, at_most=1),
        Figure("cache hit, p50 as the client sees it", load.p50, "ms", 2),
    ]
