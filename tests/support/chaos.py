"""A TCP proxy that breaks the connections through it, in the ways in which networks and servers break them.

It runs in a thread with an event loop of its own, so that it goes on while the loop under test stands still, and works
with any kind of loop there. `storm` draws faults from a seed: the same seed gives the same faults.
"""

import asyncio
import random
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

CHUNK = 64 * 1024
SLICE_SECONDS = 0.02
"""How often a slow connection passes something."""

LINGER_NOT = struct.pack("ii", 1, 0)
"""Closes a socket by a reset, in place of the orderly end."""


class Kind(StrEnum):
    """What can happen to connections."""

    RESET = "reset"
    """Each connection ends at once, by a TCP reset."""
    STALL = "stall"
    """Nothing passes, in either direction, until it is over; then everything does."""
    FORGET = "forget"
    """Open connections stay open, and nothing passes on them ever again: a half-open socket."""
    HALF_CLOSE = "half-close"
    """The server's side says that it sends no more, and goes on to read."""
    GARBAGE = "garbage"
    """Bytes that are no answer are among the answers."""
    SLOW = "slow"
    """So many bytes a second pass to the client until it is over."""
    CUT = "cut"
    """Each connection is reset after so many more bytes to the client."""
    REFUSE = "refuse"
    """Connections are reset, and new ones too until it is over."""


LASTING = frozenset({Kind.STALL, Kind.SLOW, Kind.REFUSE})
"""What goes on until it is over; anything else is done at once."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong.

    Parameters
    ----------
    kind
        What.
    seconds
        How long it lasts; 0 for what is done at once.
    amount
        Bytes: a second for SLOW, until the end for CUT, to send for GARBAGE.
    """

    kind: Kind
    seconds: float = 0.0
    amount: int = 0


def storm(seed: int) -> Iterator[Fault]:
    """Draw faults without end; each kind once before any comes again."""
    chance = random.Random(seed)
    while True:
        kinds = list(Kind)
        chance.shuffle(kinds)
        for kind in kinds:
            seconds = chance.uniform(0.2, 2.5) if kind in LASTING else 0.0
            yield Fault(kind, round(seconds, 2), chance.choice((1, 7, 64, 300, 2000)))


class _Link:
    """One client's connection, and the one to the server behind it."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client, self.server = client, server
        self.forgotten = False
        self.left: int | None = None
        """Bytes to the client before the end; None: no end."""
        self.pumps: list[asyncio.Task[None]] = []

    def reset(self) -> None:
        for each in (self.client, self.server):
            with suppress(OSError):
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT)
        self.close()

    def close(self) -> None:
        for pump in self.pumps:
            pump.cancel()
        loop = asyncio.get_running_loop()
        for each in (self.client, self.server):
            if each.fileno() >= 0:
                loop.remove_reader(each)
                loop.remove_writer(each)
                each.close()


class ChaosProxy:
    """The proxy; `with` starts and ends it.

    Parameters
    ----------
    target
        Port of the server on 127.0.0.1.
    seed
        Of the garbage's bytes.
    """

    def __init__(self, target: int, seed: int = 0) -> None:
        self._target = target
        self._chance = random.Random(seed)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self._links: set[_Link] = set()
        self._refusing = False
        self._rate = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="chaos", daemon=True)
        self._started = threading.Event()

    def __enter__(self) -> Self:
        self._thread.start()
        self._started.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._accepting.cancel)
        self._thread.join()
        self._listener.close()

    @property
    def connections(self) -> int:
        """Open connections."""
        return len(self._links)

    def strike(self, fault: Fault) -> None:
        """Let a fault begin; what lasts goes on until `calm`."""
        self._in_loop(lambda: self._strike(fault))

    def calm(self) -> None:
        """End what lasts. What was forgotten or cut stays so."""
        self._in_loop(self._calm)

    def _in_loop(self, work: Callable[[], None]) -> None:
        done = threading.Event()

        def run() -> None:
            work()
            done.set()

        self._loop.call_soon_threadsafe(run)
        done.wait()

    def _strike(self, fault: Fault) -> None:
        if fault.kind == Kind.STALL:
            self._flowing.clear()
        elif fault.kind == Kind.SLOW:
            self._rate = max(1, fault.amount)
        elif fault.kind == Kind.REFUSE:
            self._refusing = True
        for link in list(self._links):
            self._strike_link(link, fault)

    def _strike_link(self, link: _Link, fault: Fault) -> None:
        if fault.kind in (Kind.RESET, Kind.REFUSE):
            link.reset()
            self._links.discard(link)
        elif fault.kind == Kind.FORGET:
            link.forgotten = True
        elif fault.kind == Kind.HALF_CLOSE:
            with suppress(OSError):
                link.client.shutdown(socket.SHUT_WR)
        elif fault.kind == Kind.GARBAGE:
            with suppress(OSError):
                link.client.send(self._chance.randbytes(max(1, fault.amount)))
        elif fault.kind == Kind.CUT:
            link.left = fault.amount

    def _calm(self) -> None:
        self._flowing.set()
        self._rate, self._refusing = 0, False

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        with suppress(asyncio.CancelledError):
            self._loop.run_until_complete(self._accept())
        self._loop.close()

    async def _accept(self) -> None:
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._accepting: asyncio.Task[Any] = asyncio.current_task()  # type: ignore[assignment]  # it is in one
        self._started.set()
        opening: set[asyncio.Task[None]] = set()
        try:
            while True:
                client, _ = await self._loop.sock_accept(self._listener)
                task = self._loop.create_task(self._open(client))
                opening.add(task)
                task.add_done_callback(opening.discard)
        finally:
            self._calm()
            tasks = [*opening, *(pump for link in self._links for pump in link.pumps)]
            for link in self._links:
                link.close()
            for task in opening:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _open(self, client: socket.socket) -> None:
        server = socket.socket()
        link = _Link(client, server)
        for each in (client, server):
            each.setblocking(False)
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            await self._flowing.wait()
            if self._refusing:
                raise ConnectionRefusedError
            await self._loop.sock_connect(server, ("127.0.0.1", self._target))
        except (OSError, asyncio.CancelledError):
            link.reset()
            return
        self._links.add(link)
        link.pumps += [
            self._loop.create_task(self._pump(link, client, server)),
            self._loop.create_task(self._pump(link, server, client)),
        ]

    async def _pump(self, link: _Link, source: socket.socket, sink: socket.socket) -> None:
        """Pass on what one side sends, until it ends or the connection is broken."""
        try:
            while data := await self._loop.sock_recv(source, CHUNK):
                await self._flowing.wait()
                if link.forgotten:
                    continue
                if sink is not link.client:
                    await self._loop.sock_sendall(sink, data)
                elif not await self._to_client(link, data):
                    break
            else:
                sink.shutdown(socket.SHUT_WR)
                if all(pump.done() for pump in link.pumps if pump is not asyncio.current_task()):
                    self._end(link)
        except OSError:
            self._end(link)

    async def _to_client(self, link: _Link, data: bytes) -> bool:
        """Send it as fast as is allowed, and up to the cut; false at the end of the connection."""
        while data:
            size = len(data) if not self._rate else max(1, int(self._rate * SLICE_SECONDS))
            part, data = data[:size], data[size:]
            if link.left is not None:
                part = part[: link.left]
                link.left -= len(part)
            await self._loop.sock_sendall(link.client, part)
            if link.left == 0:
                self._end(link)
                return False
            if self._rate:
                await asyncio.sleep(max(1, size) / self._rate)
        return True

    def _end(self, link: _Link) -> None:
        self._links.discard(link)
        link.reset()


@contextmanager
def chaos(target: int, seed: int = 0) -> Iterator[ChaosProxy]:
    """Run a proxy before a port."""
    with ChaosProxy(target, seed) as proxy:
        yield proxy
