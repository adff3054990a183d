"""The provider of the runtime's benchmark: it answers at once and costs almost nothing."""

import asyncio
import json
import sys
import time

import uvloop

MODEL = "fake-1"
CHUNKS = 64
TEXT = "The capital of France is Paris, which lies on the Seine. " * 6

ANSWER = json.dumps(
    {
        "id": "chatcmpl-fake",
        "object": "chat.completion",
        "created": 1,
        "model": MODEL,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": TEXT}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 14, "completion_tokens": 70, "total_tokens": 84},
    }
).encode()


def chunk(number: int, finish: str | None = None) -> bytes:
    """Give one event of a stream, which tells its place."""
    delta = {"content": f"word-{number} "} if finish is None else {}
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    event = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": MODEL, "choices": [choice]}
    return b"data: " + json.dumps(event).encode() + b"\n\n"


PACE_SECONDS = 0.01
"""Between the events of a paced stream: a fast model's hundred tokens a second."""

EVENTS = [*(chunk(number) for number in range(CHUNKS)), chunk(0, "stop"), b"data: [DONE]\n\n"]
STREAM = b"".join(EVENTS)
STREAM_SECONDS = len(EVENTS) * PACE_SECONDS
"""How long a paced stream takes."""


def _json(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body


def _framed(event: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(event), event)


WHOLE = _json(ANSWER)
MODELS = _json(json.dumps({"object": "list", "data": [{"id": MODEL, "object": "model", "created": 1}]}).encode())
STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
STREAM_END = b"0\r\n\r\n"


class Provider(asyncio.Protocol):
    """Answers each request at once; `"user": "paced"` gets its events 10 ms apart, after one at once."""

    closed_at = 0.0
    """When a client last left a stream, on the machine's monotonic clock."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]  # what uvloop gives
        self._received = b""
        self._pacing: asyncio.Task[None] | None = None

    def connection_lost(self, exc: Exception | None) -> None:
        """Note when a stream was left."""
        if self._pacing is not None and not self._pacing.done():
            self._pacing.cancel()
            Provider.closed_at = time.monotonic()

    def data_received(self, data: bytes) -> None:
        """Answer whole requests."""
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        if not end:
            return
        if head.startswith(b"GET"):
            path = head.split(b" ", 2)[1]
            told = _json(json.dumps({"closed_at": Provider.closed_at}).encode())
            self._transport.write(told if path == b"/closed" else MODELS)
            self._received = b""
            return
        _, _, rest = head.lower().partition(b"content-length:")
        if len(body) < int(rest.partition(b"\r\n")[0]):
            return
        self._received = b""
        self._answer(body)

    def _answer(self, body: bytes) -> None:
        if b'"stream":true' not in body.replace(b" ", b""):
            self._transport.write(WHOLE)
        elif b'"paced"' in body:
            self._pacing = asyncio.ensure_future(self._pace())
        else:
            self._transport.write(STREAM_HEAD)
            for event in EVENTS:
                self._transport.write(_framed(event))
            self._transport.write(STREAM_END)

    async def _pace(self) -> None:
        self._transport.write(STREAM_HEAD)
        for event in EVENTS:
            self._transport.write(_framed(event))
            await asyncio.sleep(PACE_SECONDS)
        self._transport.write(STREAM_END)


async def serve(port: int) -> None:
    """Serve until the process ends."""
    server = await asyncio.get_running_loop().create_server(Provider, "127.0.0.1", port, backlog=2048)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
