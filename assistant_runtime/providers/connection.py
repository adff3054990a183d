"""One HTTP/1.1 connection to a provider, on httptools' parser.

Written for this one purpose, because the client is most of what a gateway costs:
docs/decisions/20261124-provider-client.md has the reasons. One request at a time; a body is handed over as it arrives,
and what nobody reads waits at the provider.
"""

import asyncio
import zlib
from typing import Any

import httptools

MAX_HEAD_BYTES = 64 * 1024
"""Several times what common servers send."""

HIGH_WATER_BYTES = 64 * 1024
"""What a streamed answer may hold in memory before its provider has to wait."""

DECODER_WINDOW = zlib.MAX_WBITS | 32
"""zlib's sign for: gzip or zlib, whichever the data begins with."""


class DisconnectedError(ConnectionError):
    """The provider broke the connection before the answer was whole."""


class BadResponseError(Exception):
    """The provider sent what is no HTTP, or more than was agreed."""


class Connection(asyncio.Protocol):
    """A connection, and the answer that is arriving on it.

    Parameters
    ----------
    loop
        The running loop.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due = self._deadline = 0.0
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.received = False
        """Whether any byte came since the request was sent."""
        self._busy = self._paused = False
        self._reset(whole=True, max_bytes=0, patience=0.0)

    def _reset(self, *, whole: bool, max_bytes: int, patience: float) -> None:
        self._whole, self._max_bytes, self._timeout = whole, max_bytes, patience
        self.status = self._head_bytes = self._size = self._unread = 0
        self.headers = {}
        self.received = self._has_head = self._complete = self._keep = False
        self._informational = self._until_close = False
        self._parts: list[bytes] = []
        self._decoder: Any = None
        self._error: Exception | None = None

    @property
    def open(self) -> bool:
        """Whether the connection can take a request."""
        return self._transport is not None and not self._transport.is_closing()

    @property
    def transport(self) -> asyncio.Transport:
        """The transport, which a proxy's tunnel wraps in TLS."""
        assert self._transport is not None  # noqa: S101 - only asked of an open connection
        return self._transport

    async def exchange(self, request: bytes, *, whole: bool, patience: float, max_bytes: int) -> None:
        """Send a request and wait for the answer's head, or for all of it.

        Parameters
        ----------
        request
            Head and body.
        whole
            Whether to wait for the whole answer; otherwise `read` gives it piece by piece.
        patience
            Seconds until the first byte, and between bytes.
        max_bytes
            Longest body, decoded.

        Raises
        ------
        TimeoutError, DisconnectedError, BadResponseError
        """
        self._reset(whole=whole, max_bytes=max_bytes, patience=patience)
        self._busy = True
        self._set_deadline(patience)
        self.transport.write(request)
        while not (self._complete if whole else self._has_head):
            await self._wait()

    async def read(self) -> bytes:
        """Give what has arrived of the body, at least one byte; nothing at its end.

        Raises
        ------
        TimeoutError, DisconnectedError, BadResponseError
        """
        while not self._parts:
            if self._complete:
                return b""
            await self._wait()
        data = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts.clear()
        self._unread = 0
        if self._paused:
            self._paused = False
            self._set_deadline(self._timeout)
            self.transport.resume_reading()
        return data

    def body(self) -> bytes:
        """Give the whole body, after an exchange that waited for it."""
        return self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)

    def release(self, keepalive: float) -> bool:
        """Tell whether the connection can take another request within `keepalive` seconds; close it if not."""
        if self._complete and self._keep and self._error is None and self.open:
            self._busy = False
            self._set_deadline(keepalive)
            return True
        self.close()
        return False

    def close(self) -> None:
        """Close at once: a provider goes on generating, and charging, until it sees that."""
        self._busy = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._transport is not None:
            self._transport.abort()

    def hand_over(self) -> None:
        """Leave the transport to another protocol."""
        self._busy = False
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _wait(self) -> None:
        if self._error is not None:
            raise self._error
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None
        if self._error is not None and not self._parts:
            raise self._error

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _fail(self, error: Exception) -> None:
        if self._error is None and not self._complete:
            self._error = error
        self.close()
        self._wake()

    # One timer, set anew only when it is due or too late, so that a byte costs no timer.

    def _set_deadline(self, seconds: float) -> None:
        self._deadline = self._loop.time() + seconds
        if self._timer is not None:
            if self._timer_due <= self._deadline:
                return
            self._timer.cancel()
        self._arm()

    def _arm(self) -> None:
        self._timer_due = self._deadline
        self._timer = self._loop.call_at(self._deadline, self._check_deadline)

    def _check_deadline(self) -> None:
        self._timer = None
        if self._paused:
            # It is the client that is slow.
            self._deadline = self._loop.time() + self._timeout
        if self._deadline > self._loop.time():
            self._arm()
        elif self._busy:
            self._fail(TimeoutError("no byte in time"))
        else:
            self.close()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = transport  # type: ignore[assignment]  # both loops give a Transport

    def data_received(self, data: bytes) -> None:
        """Parse what arrived."""
        if not self._busy:
            # Nobody asked: whatever it is, the next answer must not begin with it.
            self.close()
            return
        self.received = True
        self._deadline = self._loop.time() + self._timeout
        if not self._has_head:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            # What a callback raises is this error's context.
            own = error.__context__
            self._fail(own if isinstance(own, BadResponseError) else BadResponseError("something other than HTTP"))
            return
        if not self._has_head and self._head_bytes > MAX_HEAD_BYTES:
            self._fail(BadResponseError(f"headers longer than {MAX_HEAD_BYTES} bytes"))
            return
        if self._complete or not self._whole:
            self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """Take the end of a body that the connection's end marks, or fail."""
        if self._busy and not self._complete:
            if self._until_close and exc is None:
                self._complete = True
            elif self._error is None:
                self._error = DisconnectedError("the connection broke")
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._wake()

    # httptools' callbacks

    def on_message_begin(self) -> None:
        """Refuse a second answer to one request."""
        if self._complete:
            self._keep = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header."""
        if not self._complete:
            self.headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        """Take the head; one of 1xx only announces another."""
        if self._complete:
            return
        status = self._parser.get_status_code()
        if status == 101:  # noqa: PLR2004 - HTTP's number
            raise BadResponseError("a switch to another protocol")
        if status < 200:  # noqa: PLR2004 - HTTP's number
            self._informational = True
            self.headers = {}
            return
        self.status = status
        self._has_head = True
        headers = self.headers
        self._until_close = b"content-length" not in headers and b"transfer-encoding" not in headers
        encoding = headers.get(b"content-encoding", b"identity").lower()
        if encoding in {b"gzip", b"deflate"}:
            self._decoder = zlib.decompressobj(DECODER_WINDOW)
        elif encoding != b"identity":
            raise BadResponseError("an encoding that was not requested")

    def on_body(self, data: bytes) -> None:
        """Take a part of the body."""
        if self._complete:
            return
        if self._decoder is not None:
            data = self._decoder.decompress(data, self._max_bytes + 1)
            if self._decoder.unconsumed_tail:
                raise BadResponseError(f"an answer longer than {self._max_bytes} bytes")
        self._parts.append(data)
        if self._whole:
            self._size += len(data)
            if self._size > self._max_bytes:
                raise BadResponseError(f"an answer longer than {self._max_bytes} bytes")
            return
        self._unread += len(data)
        if self._unread > HIGH_WATER_BYTES and not self._paused and self.open:
            self._paused = True
            self.transport.pause_reading()

    def on_message_complete(self) -> None:
        """Take the end."""
        if self._informational:
            self._informational = False
            return
        if self._has_head and not self._complete:
            self._complete = True
            self._keep = self._parser.should_keep_alive()
