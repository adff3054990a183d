"""uvicorn's HTTP protocol with three additions.

A request's head has a bound, answers are written in few pieces, and an offer to change to another protocol is not
heard: the parser would take a request's body for that protocol, and drop it.
"""

import asyncio
import re
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = (256 + 64) * 1024
"""Far more than any proxy lets through: 64 KiB of head, and one read of at most 256 KiB, which may end in a body.
uvicorn's fast parser has no bound, and would collect headers until memory ends."""

UPGRADE = re.compile(rb"\r\nupgrade(?=:)", re.IGNORECASE)
"""An offer that a server may leave aside. Java's own client makes it, of HTTP/2, with requests over plain HTTP."""

HEAD_END = b"\r\n\r\n"

MAX_GATHERED_BYTES = 64 * 1024
"""What may wait for the end of the loop's turn; more goes out at once, so that the transport's own bound holds."""


class GatheringTransport(asyncio.Transport):
    """Write together what is written in one turn of the loop: a head and its body, or several events.

    Each write is a call of the system, which costs more than to make the answer, and wakes the client for half of it.

    Parameters
    ----------
    transport
        Takes what was gathered, and does everything else.
    loop
        The running loop.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._transport = transport
        self._loop = loop
        self._parts: list[bytes] = []
        self._size = 0
        # These are asked of it for each request, and cost a call less so.
        for name in ("is_closing", "pause_reading", "resume_reading"):
            setattr(self, name, getattr(transport, name))

    def write(self, data: Any) -> None:
        """Write at the end of this turn, unless it is much."""
        if not self._parts:
            self._loop.call_soon(self._flush)
        self._parts.append(data)
        self._size += len(data)
        if self._size > MAX_GATHERED_BYTES:
            self._flush()

    def close(self) -> None:
        """Close once everything is written."""
        self._flush()
        self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        self._parts.clear()
        self._transport.abort()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Give what is known of the connection."""
        return self._transport.get_extra_info(name, default)

    def _flush(self) -> None:
        parts = self._parts
        if parts and not self._transport.is_closing():
            self._transport.write(parts[0] if len(parts) == 1 else b"".join(parts))
        parts.clear()
        self._size = 0


class RuntimeProtocol(HttpToolsProtocol):
    """Cut a connection whose request line and headers do not end, stay with HTTP/1.1, and gather what is written."""

    _head_bytes = 0
    _in_head = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """Begin."""
        super().connection_made(GatheringTransport(transport, self.loop))

    def data_received(self, data: bytes) -> None:
        """Take bytes, unless they make the head too long."""
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self.transport.abort()
                return
            data = _without_upgrade(data)
        super().data_received(data)

    def on_headers_complete(self) -> None:
        """Note that what follows is the body."""
        self._in_head = False
        self._head_bytes = 0
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Note that the next bytes begin a new head."""
        self._in_head = True
        super().on_message_complete()


def _without_upgrade(data: bytes) -> bytes:
    """Give another name to the header that offers another protocol, in what is read of a head."""
    if not UPGRADE.search(data):
        return data
    head, end, body = data.partition(HEAD_END)
    return UPGRADE.sub(b"\r\nx-upgrade", head) + end + body
