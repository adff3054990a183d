"""The load of the runtime's benchmark: wrk for whole answers, and raw connections for the first event of a stream."""

import asyncio
import json
import math
import re
import statistics
import subprocess
import tempfile
import time

import uvloop

from tests.bench.contender import Contender, Load
from tests.bench.provider import MODEL, STREAM_SECONDS
from tests.bench.servers import KEY

QUESTION = {
    "model": MODEL,
    "messages": [
        {"role": "system", "content": "Answer in one sentence, and say nothing that you do not know. " * 4},
        {"role": "user", "content": "What is the capital of France? " * 4},
    ],
}
PACED = {**QUESTION, "stream": True, "user": "paced"}
"""A stream whose events come as a model makes them."""
STREAMS_EACH = {1: 6, 64: 3}
"""Streams that each client asks for, one after the other, by how many clients there are."""
STREAM_TIMEOUT_SECONDS = 120.0


def wrk(contender: Contender, connections: int, seconds: int) -> Load:
    """Ask the same question for some seconds, over so many connections."""
    script = (
        f'wrk.method = "POST"\nwrk.body = [[{json.dumps(QUESTION)}]]\n'
        f'wrk.headers["Content-Type"] = "application/json"\nwrk.headers["Authorization"] = "Bearer {KEY}"\n'
    )
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        file.write(script)
        file.flush()
        url = f"{contender.url}/v1/chat/completions"
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s", "--latency", "-s", file.name]
        before = contender.cpu()
        told = subprocess.run([*command, url], check=True, capture_output=True, text=True).stdout
        spent = contender.cpu() - before
    # A round without an answer has no latency, and must not count as the best.
    p50, p99 = (_percentile(told, share) or math.inf for share in ("50%", "99%"))
    count, seconds_told = _number(r"(\d+) requests in", told), _number(r"requests in ([\d.]+)", told)
    refused = int(_number(r"Non-2xx or 3xx responses: (\d+)", told))
    broken = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", told)
    contender.failures += refused + sum(int(each) for each in broken.groups()) if broken else refused
    rate = (count - refused) / (seconds_told or seconds)
    return Load(rate, p50, p99, spent / count * 1e6 if count else math.inf)


def _number(pattern: str, told: str) -> float:
    found = re.search(pattern, told)
    return float(found[1]) if found else 0.0


def _percentile(told: str, share: str) -> float:
    """Read one of wrk's latencies in milliseconds."""
    ((number, unit),) = re.findall(rf"{share}\s+([\d.]+)(us|ms|s|m)\b", told)
    return float(number) * {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}[unit]


def first_token(contender: Contender, level: int) -> float:
    """Give the median milliseconds to a stream's first event, with `level` streams in flight.

    The clients start one after another over the length of a stream, as users do, and each keeps its connection.
    """
    return uvloop.run(_first_token(contender, level))


async def _first_token(contender: Contender, level: int) -> float:
    async def client(number: int) -> list[float]:
        await asyncio.sleep(number * STREAM_SECONDS / level)
        times = []
        stream = None
        for _ in range(STREAMS_EACH[level]):
            try:
                async with asyncio.timeout(STREAM_TIMEOUT_SECONDS):
                    stream = stream if stream is not None and stream.open else await _connect(contender)
                    times.append(await stream.ask())
            except OSError:
                contender.failures += 1
        if stream is not None:
            stream.close()
        # The first one opens the connections, the contender's own among them.
        return times[1:]

    every = await asyncio.gather(*(client(number) for number in range(level)))
    found = [each * 1000 for times in every for each in times]
    if not found:
        raise SystemExit(f"{contender.name}: no stream of {level} at once came to its end")
    return statistics.median(found)


async def _connect(contender: Contender) -> "_Stream":
    host, _, port = contender.url.removeprefix("http://").partition(":")
    _, stream = await asyncio.get_running_loop().create_connection(_Stream, host, int(port))
    return stream


class _Stream(asyncio.Protocol):
    """Asks for streams over one connection, at less cost than a client's library has for the first byte alone."""

    def __init__(self) -> None:
        body = json.dumps(PACED).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {KEY}\r\n"
        head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        self._request = head.encode() + body
        self.open = False

    async def ask(self) -> float:
        """Ask, wait for the stream's end, and give the seconds to its first event."""
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._first, self._tail, self._head = 0.0, b"", b""
        began = time.perf_counter()
        self._transport.write(self._request)
        await self._done
        return self._first - began

    def close(self) -> None:
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]  # what uvloop gives
        self.open = True

    def data_received(self, data: bytes) -> None:
        if not self._first:
            self._head += data
            if b"\r\n\r\n" in self._head and b" 200 " not in self._head[:20]:
                self._transport.abort()
            elif b"data: " in self._head:
                self._first = time.perf_counter()
        self._tail = (self._tail + data)[-64:]
        if self._tail.endswith(b"0\r\n\r\n") and not self._done.done():
            self._done.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False
        done = getattr(self, "_done", None)
        if done is not None and not done.done():
            done.set_exception(ConnectionResetError("the stream was not whole"))
