"""What the runtime's benchmark looks at besides speed: whole streams, memory, the cache, clients that leave."""

import asyncio
import json
import re
import time
import urllib.request
from collections.abc import Mapping

import aiohttp
import uvloop

from tests.bench.contenders import EVENTS, STREAM
from tests.bench.load import PACED, QUESTION, wrk
from tests.bench.servers import KEY, Contender

HEADERS = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
SETTLED_REQUESTS = 20_000
"""After these a process has opened, cached and imported everything that it will."""
SOAK_TURN_SECONDS = 10
SOAK_SECONDS = 240.0
"""After this the soak ends, whatever it has sent, and the figure says how much that was."""


def whole_streams(contender: Contender, count: int) -> dict[str, str]:
    """Compare streams with what the provider said, byte by byte: many in turn, and 500 at once."""
    return uvloop.run(_whole_streams(contender, count))


async def _whole_streams(contender: Contender, count: int) -> dict[str, str]:
    url = f"{contender.url}/v1/chat/completions"

    async def wrong(client: aiohttp.ClientSession, times: int, body: Mapping[str, object]) -> int:
        found = 0
        for _ in range(times):
            async with client.post(url, data=json.dumps(body)) as answer:
                found += await answer.read() != STREAM
        return found

    burst = {**QUESTION, "stream": True}
    async with aiohttp.ClientSession(headers=HEADERS, connector=aiohttp.TCPConnector(limit=0)) as client:
        in_turn = await asyncio.gather(*(wrong(client, count // 64, burst) for _ in range(64)))
        at_once = await asyncio.gather(*(wrong(client, 1, PACED) for _ in range(500)))
    events = len(EVENTS)
    return {
        f"streams with a lost, split or reordered chunk, of {count // 64 * 64:,} with {events} each": str(sum(in_turn)),
        "the same, of 500 streams at once": str(sum(at_once)),
    }


def close_latency(contender: Contender, provider: Contender) -> dict[str, str]:
    """Leave streams, and see when the provider's connection closed."""
    times = [asyncio.run(_leave(contender, provider)) for _ in range(10)]
    return {"a client left, the provider's connection closed after, longest of 10": f"{max(times):.1f} ms"}


async def _leave(contender: Contender, provider: Contender) -> float:
    async with aiohttp.ClientSession(headers=HEADERS) as client:
        answer = await client.post(f"{contender.url}/v1/chat/completions", data=json.dumps(PACED))
        await answer.content.readuntil(b"\n\n")
        left = time.monotonic()
        answer.close()
    await asyncio.sleep(0.2)
    with urllib.request.urlopen(f"{provider.url}/closed", timeout=5) as told:  # noqa: ASYNC210 - nothing else runs
        return (float(json.load(told)["closed_at"]) - left) * 1000


def memory(contender: Contender, requests: int) -> dict[str, str]:
    """Send many requests, and see what the process holds before, after it warmed up, and in the end."""
    told = {"memory after start": f"{contender.idle_memory:.0f} MB"}
    if not requests:
        return told
    sent, settled = 0.0, 0.0
    began = time.monotonic()
    while sent < requests + SETTLED_REQUESTS and time.monotonic() - began < SOAK_SECONDS:
        sent += wrk(contender, 64, SOAK_TURN_SECONDS).rate * SOAK_TURN_SECONDS
        if not settled and sent >= SETTLED_REQUESTS:
            settled, warm = contender.memory(), sent
    if not settled:
        return told
    grown = f"{settled:.1f} and {contender.memory():.1f} MB"
    return told | {f"memory after {int(warm):,} requests, and after {int(sent - warm):,} more": grown}


def cache_hit(contender: Contender, seconds: int) -> dict[str, str]:
    """Give the time that the server itself took for answers from the cache in Redis, one at a time."""
    load = wrk(contender, 1, seconds)
    with urllib.request.urlopen(f"{contender.url}/metrics", timeout=5) as answer:
        told = answer.read().decode()
    labels = r'\{endpoint="/v1/chat/completions",method="POST"\}'
    total, count = (
        float(re.search(rf"http_request_duration_seconds_{end}{labels} (\S+)", told)[1])  # type: ignore[index]
        for end in ("sum", "count")
    )
    return {
        "cache hit, mean of the server's own time": f"{total / count * 1000:.2f} ms",
        "cache hit, p50 as the client sees it": f"{load.p50:.2f} ms",
    }
