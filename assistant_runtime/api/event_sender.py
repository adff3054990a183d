"""Send a stream to a client, with a comment whenever there was nothing to send for a while.

A model may think for minutes before its first word, and a tool may run between two. Proxies and clients close what is
silent for a minute; a comment, which every reader of server-sent events skips, keeps the connection open.
"""

import asyncio
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from starlette.types import Send

from assistant_runtime.api.context import encoded
from assistant_runtime.ending import end

PING_SECONDS = 15.0
"""A quarter of what common proxies wait for (60 s in nginx and in AWS's load balancers)."""

PING = b": ping\n\n"


class EventSender:
    """Sends one stream; `async with` begins and ends the watch over its silence.

    Parameters
    ----------
    send
        ASGI's send.
    headers
        What the answer's head has if it must be sent before there is an answer.
    """

    def __init__(self, send: Send, headers: Mapping[str, str]) -> None:
        self._send = send
        self._headers = headers
        self._loop = asyncio.get_running_loop()
        self._due = 0.0
        self._busy = False
        self._ping: asyncio.Task[None] | None = None
        self.begun = False
        """Whether the head was sent: after that, errors can only be events."""

    async def __aenter__(self) -> Self:
        self._due = self._loop.time() + PING_SECONDS
        self._timer = self._loop.call_at(self._due, self._check)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        if self._ping is not None:
            await end(self._ping)

    async def begin(self, more: Mapping[str, str] | None = None) -> None:
        """Send the head, unless a ping has."""
        if self._ping is not None:
            await self._ping
        if not self.begun:
            self.begun = True
            headers = {**self._headers, **(more or {})}
            await self._send({"type": "http.response.start", "status": 200, "headers": encoded(headers)})

    async def send(self, events: bytes) -> None:
        """Send whole events."""
        if self._ping is not None:
            await self._ping
        self._busy = True
        await self._send({"type": "http.response.body", "body": events, "more_body": True})
        self._busy = False
        self._due = self._loop.time() + PING_SECONDS

    async def end(self) -> None:
        """Send the end."""
        self._timer.cancel()
        if self._ping is not None:
            await self._ping
        await self._send({"type": "http.response.body", "body": b""})

    # One timer, set anew only when it is due, so that an event costs none.

    def _check(self) -> None:
        if self._due <= self._loop.time() and not self._busy:
            self._ping = asyncio.create_task(self._send_ping())  # noqa: TID251 - whoever sends next waits for it
            return
        # It is the client that is slow, or something was sent meanwhile.
        self._due = max(self._due, self._loop.time() + PING_SECONDS) if self._busy else self._due
        self._timer = self._loop.call_at(self._due, self._check)

    async def _send_ping(self) -> None:
        if not self.begun:
            self.begun = True
            await self._send({"type": "http.response.start", "status": 200, "headers": encoded(dict(self._headers))})
        await self._send({"type": "http.response.body", "body": PING, "more_body": True})
        self._ping = None
        self._due = self._loop.time() + PING_SECONDS
        self._timer = self._loop.call_at(self._due, self._check)
