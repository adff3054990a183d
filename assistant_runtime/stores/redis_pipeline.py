"""Commands of many requests in one exchange with Redis.

What is asked while one exchange is under way makes up the next, so that the more there is to do, the less each command
costs: a client that sends every command alone spends more on it than the rest of a request. Each command still is
answered by itself, and fails by itself.
"""

import asyncio
import math
from typing import Any

from redis.asyncio import ConnectionPool
from redis.exceptions import ResponseError

Command = tuple[str | bytes | int, ...]


class Pipeline:
    """One exchange at a time.

    Parameters
    ----------
    pool
        Connects, and authenticates; its connections are lent for as long as there is something to do.
    seconds
        Longest time for one exchange.
    """

    def __init__(self, pool: ConnectionPool, seconds: float) -> None:
        self._pool = pool
        self._seconds = seconds
        self._waiting: list[tuple[Command, asyncio.Future[Any]]] = []
        self._exchanging: asyncio.Task[None] | None = None

    async def execute(self, *command: str | bytes | int) -> Any:
        """Run a command, and give the reply.

        Raises
        ------
        redis.exceptions.RedisError, OSError, TimeoutError
            The command was refused (ResponseError), or the exchange failed for everyone in it.
        """
        answered: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append((command, answered))
        if self._exchanging is None:
            # A task of its own, because whoever waits may be cancelled, and the others' replies come after its.
            self._exchanging = asyncio.create_task(self._exchange_all())
        return await answered

    async def _exchange_all(self) -> None:
        batch: list[tuple[Command, asyncio.Future[Any]]] = []
        connection = None
        try:
            async with asyncio.timeout(self._seconds) as bound:
                connection = await self._pool.get_connection()  # type: ignore[no-untyped-call]
                while self._waiting:
                    bound.reschedule(asyncio.get_running_loop().time() + self._seconds)
                    batch, self._waiting = self._waiting, []
                    await _exchange(connection, batch)
        except BaseException as error:
            # Whoever joined meanwhile would only find out the same, later.
            _fail([*batch, *self._waiting], error)
            self._waiting = []
            if connection is not None:
                # Replies may be left in it, which are nobody's any more.
                await connection.disconnect(nowait=True)
            if not isinstance(error, Exception):
                raise
        finally:
            self._exchanging = None
            if connection is not None:
                await self._pool.release(connection)


async def _exchange(connection: Any, batch: list[tuple[Command, asyncio.Future[Any]]]) -> None:
    packed = [part for command, _ in batch for part in connection.pack_command(*command)]
    await connection.send_packed_command([b"".join(packed)])
    for _, answered in batch:
        try:
            reply = await connection.read_response(timeout=math.inf)
        except ResponseError as error:
            if not answered.done():
                answered.set_exception(error)
        else:
            if not answered.done():
                answered.set_result(reply)


def _fail(batch: list[tuple[Command, asyncio.Future[Any]]], error: BaseException) -> None:
    told = ConnectionError("the exchange was given up") if isinstance(error, asyncio.CancelledError) else error
    for _, answered in batch:
        if not answered.done():
            answered.set_exception(told)
