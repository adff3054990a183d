"""uvicorn's HTTP protocol with three additions.

A client has limits: on the length of a request's head, on the time that head, body and reading take it, and on the
number of connections. Answers are written in few pieces. An offer to change to another protocol is not heard: the
parser would take a request's body for that protocol, and drop it.
"""

import asyncio
import math
import re
from http import HTTPStatus
from itertools import islice
from typing import Any, Literal

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from assistant_runtime.api.connection_limits import ConnectionLimits
from assistant_runtime.errors import ApiError

MAX_HEAD_BYTES = (256 + 64) * 1024
"""Far more than any proxy lets through: 64 KiB of head, and one read of at most 256 KiB, which may end in a body.
uvicorn's fast parser has no bound, and would collect headers until memory ends."""

UPGRADE = re.compile(rb"\r\nupgrade(?=:)", re.IGNORECASE)
"""An offer that a server may leave aside. Java's own client makes it, of HTTP/2, with requests over plain HTTP."""

HEAD_END = b"\r\n\r\n"

Phase = Literal["nothing", "head", "body"]
"""What has come of the request that is being read."""

NOTHING: Phase = "nothing"
HEAD: Phase = "head"
BODY: Phase = "body"

NEVER = math.inf
"""When a connection is late that nothing is expected of."""

TOO_SLOW = "body_too_slow"
"""In a request's state: its body does not come, and whoever reads it is to give up."""

LEFT, WHEN_LEFT = "client_left", "when_client_left"
"""In a request's state: that its client left before it was answered, and what is called when it does."""

LOOKED_AT = 64
"""Connections among which one that is idle is searched for, so that a crowd of new ones costs little."""

LATE = ApiError(408, "The request did not arrive in time.", code="request_timeout")
TOO_MANY = ApiError(
    503,
    "The server has reached its limit of connections (MAX_CONNECTIONS). Try again in a moment.",
    error_type="server_error",
    code="too_many_connections",
    headers={"retry-after": "1"},
)

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
    """Keep a client within its limits, stay with HTTP/1.1, and gather what is written.

    Parameters
    ----------
    limits
        What a client may take.
    """

    def __init__(self, limits: ConnectionLimits, **options: Any) -> None:
        super().__init__(**options)
        self._limits = limits
        self._phase = NOTHING
        self._head_bytes = 0
        self._due = self._write_due = NEVER
        self._answering: RequestResponseCycle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """Begin, if there is room."""
        super().connection_made(GatheringTransport(transport, self.loop))
        self._due = self.loop.time() + self._limits.head
        if len(self.connections) > self._limits.connections and not self._make_room():
            self._refuse(TOO_MANY)

    def data_received(self, data: bytes) -> None:
        """Take bytes, unless they make the head too long."""
        if self._phase is not BODY:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self.transport.abort()
                return
            data = _without_upgrade(data)
        super().data_received(data)
        if self._phase is BODY:
            now = self.loop.time()
            self._due = min(self._due + len(data) / self._limits.body_rate, now + self._limits.body)
        elif self._due == NEVER and (self._phase is HEAD or self._head_bytes):
            self._due = self.loop.time() + self._limits.head

    def on_message_begin(self) -> None:
        """Note that a head has begun."""
        self._phase = HEAD
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Note that what follows is the body."""
        self._phase = BODY
        self._head_bytes = 0
        self._due = NEVER
        super().on_headers_complete()
        if not self.pipeline:
            self._answering = self.cycle

    def on_message_complete(self) -> None:
        """Note that the next bytes begin a new head."""
        self._phase = NOTHING
        self._due = NEVER
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Note that the next request in the pipeline is answered now."""
        if self.pipeline:
            self._answering = self.pipeline[-1][0]
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Report to the request that is being answered that its client left."""
        super().connection_lost(exc)
        # uvicorn's own `cycle` is the one that came last, which waits where a client sends several at once.
        cycle = self._answering
        if cycle is None or cycle.response_complete:
            return
        cycle.disconnected = True
        cycle.message_event.set()
        state = cycle.scope["state"]
        state[LEFT] = True
        if (report := state.get(WHEN_LEFT)) is not None:
            report()

    def pause_writing(self) -> None:
        """Note that the client does not read as fast as it is answered."""
        self._write_due = self.loop.time() + self._limits.write
        super().pause_writing()

    def resume_writing(self) -> None:
        """Note that the client has read."""
        self._write_due = NEVER
        super().resume_writing()

    @property
    def idle(self) -> bool:
        """Whether nothing is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def look(self, now: float, since: float) -> None:
        """End what is late at the loop's time `now`; the last look was `since` seconds ago."""
        if self._write_due == NEVER and self.transport.is_closing():
            # What the client does not read keeps a connection that was closed.
            self._write_due = now + self._limits.write
        if now > self._write_due:
            self.transport.abort()
        elif self.flow.read_paused:
            # The client waits for this server.
            self._due += since
        elif now > self._due:
            self._end_late(now)

    def _end_late(self, now: float) -> None:
        """End a request that does not come: in its log line if it has one, and with 408 if it has begun."""
        if self._phase is BODY and not self.cycle.response_started:
            self.cycle.scope["state"][TOO_SLOW] = True
            self.cycle.message_event.set()
            self._due = now + self._limits.head
        elif self.idle and self._phase is HEAD:
            self._refuse(LATE)
        else:
            self.transport.abort()

    def _make_room(self) -> bool:
        """Cut a connection on which nothing is being answered, so that one which asks finds room."""
        for other in islice(self.connections, LOOKED_AT):
            if isinstance(other, RuntimeProtocol) and other is not self and other.idle:
                self.connections.discard(other)
                other.transport.abort()
                return True
        return False

    def _refuse(self, error: ApiError) -> None:
        """Answer for a request of which there is no more than a piece, and close."""
        body = error.body
        told = {"content-type": "application/json", "content-length": str(len(body)), "connection": "close"}
        head = "".join(f"{name}: {value}\r\n" for name, value in (told | error.headers).items())
        self.transport.write(f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}\r\n{head}\r\n".encode() + body)
        self.transport.close()


def _without_upgrade(data: bytes) -> bytes:
    """Give another name to the header that offers another protocol, in what is read of a head."""
    if not UPGRADE.search(data):
        return data
    head, end, body = data.partition(HEAD_END)
    return UPGRADE.sub(b"\r\nx-upgrade", head) + end + body
