"""Commands of many requests in one exchange with Redis.

What is asked while one exchange is under way makes up the next, so that the more there is to do, the less each command
costs: a client that sends every command alone spends more on it than the rest of a request. Each command still is
answered by itself, and fails by itself. redis-py connects; then the connection is ours, because its streams, locks and
timers cost several times what an exchange does.
"""

import asyncio
from collections import deque
from typing import Any

import hiredis
from redis._parsers.base import BaseParser
from redis.asyncio import ConnectionPool
from redis.exceptions import ReadOnlyError, ResponseError

from assistant_runtime.shared_call import SharedCall

Command = tuple[str | bytes | int, ...]

INCOMPLETE = object()
"""What the parser gives where the rest of a reply has not arrived."""


class Line(asyncio.Protocol):
    """One connection, and the exchange that is under way on it.

    Parameters
    ----------
    transport
        Of a connection that redis-py has made.
    seconds
        Longest time for one exchange.
    """

    def __init__(self, transport: asyncio.Transport, seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport = transport
        self._seconds = seconds
        self._reader = hiredis.Reader(replyError=BaseParser.parse_error, notEnoughData=INCOMPLETE)
        self._waiting: list[tuple[Command, asyncio.Future[Any]]] = []
        self._asked: deque[asyncio.Future[Any]] = deque()
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._error: Exception | None = None
        self._maker: Any = transport.get_protocol()
        transport.set_protocol(self)

    @property
    def open(self) -> bool:
        """Whether commands can be asked."""
        return self._error is None

    def ask(self, command: Command) -> asyncio.Future[Any]:
        """Ask a command at the end of this turn of the loop, or after the exchange that is under way."""
        answered: asyncio.Future[Any] = self._loop.create_future()
        if self._error is not None:
            answered.set_exception(self._error)
            return answered
        if not self._asked and not self._waiting:
            self._loop.call_soon(self._exchange)
        self._waiting.append((command, answered))
        return answered

    def _exchange(self) -> None:
        if self._asked or not self._waiting:
            return
        batch, self._waiting = self._waiting, []
        self._asked.extend(answered for _, answered in batch)
        self._due = self._loop.time() + self._seconds
        if self._timer is None:
            self._timer = self._loop.call_at(self._due, self._check_time)
        packed = (hiredis.pack_command(command) for command, _ in batch)  # type: ignore[arg-type]  # typed as a tuple of one
        self._transport.write(b"".join(packed))

    def _check_time(self) -> None:
        """Fail an exchange that takes too long; a timer for each would cost more than all that it watches."""
        self._timer = None
        if self._asked and self._loop.time() >= self._due:
            self._fail(TimeoutError("Redis did not answer in time"))
        elif self._asked:
            self._timer = self._loop.call_at(self._due, self._check_time)

    def data_received(self, data: bytes) -> None:
        """Hand the replies to whoever asked, and begin the next exchange after the last one."""
        self._reader.feed(data)
        try:
            while (reply := self._reader.gets()) is not INCOMPLETE:
                self._take(reply)
        except hiredis.ProtocolError as error:
            self._fail(ConnectionError(f"Redis sent what is no reply: {error}"))
        self._exchange()

    def _take(self, reply: Any) -> None:
        if isinstance(reply, hiredis.PushNotification):
            return
        broken = isinstance(reply, Exception) and not isinstance(reply, ResponseError)
        if broken or isinstance(reply, ReadOnlyError):
            # It serves nobody, or is no master any more: whoever connects next may find another.
            self._fail(reply)
        if not self._asked:
            self._fail(ConnectionError("Redis replied to nothing"))
            return
        answered = self._asked.popleft()
        if answered.done():
            return
        if isinstance(reply, ResponseError):
            answered.set_exception(reply)
        else:
            answered.set_result(reply)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail for everyone who waits, and tell redis-py."""
        self._maker.connection_lost(exc)
        self._fail(exc or ConnectionError("Redis closed the connection"))

    def _fail(self, error: Exception) -> None:
        if self._error is not None:
            return
        self._error = error
        if self._timer is not None:
            self._timer.cancel()
        for answered in (*self._asked, *(answered for _, answered in self._waiting)):
            if not answered.done():
                answered.set_exception(error)
        self._asked.clear()
        self._waiting.clear()
        self._transport.abort()


class Pipeline:
    """One line to Redis, connected when it is needed, and anew when it broke.

    Parameters
    ----------
    pool
        Connects, and authenticates.
    seconds
        Longest time for connecting, and for one exchange.
    """

    def __init__(self, pool: ConnectionPool, seconds: float) -> None:
        self._pool = pool
        self._seconds = seconds
        self._connection: Any = None
        self._line: Line | None = None
        self._opening = SharedCall(self._open)

    async def execute(self, *command: str | bytes | int) -> Any:
        """Run a command, and give the reply.

        Raises
        ------
        redis.exceptions.RedisError, OSError, TimeoutError
            The command was refused (ResponseError), or the exchange failed for everyone in it.
        """
        line = self._line
        if line is None or not line.open:
            line = await self._opening()
        return await line.ask(command)

    async def _open(self) -> Line:
        async with asyncio.timeout(self._seconds):
            await self._give_back()
            self._connection = await self._pool.get_connection()
            # redis-py has no name for it that is public.
            self._line = Line(self._connection._writer.transport, self._seconds)  # noqa: SLF001
            return self._line

    async def aclose(self) -> None:
        """Close the connection."""
        self._opening.cancel()
        await self._give_back()

    async def _give_back(self) -> None:
        connection, self._connection, self._line = self._connection, None, None
        if connection is not None:
            try:
                await connection.disconnect(nowait=True)
            finally:
                await self._pool.release(connection)
