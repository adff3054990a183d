"""Notice at once that a client left.

A provider goes on generating, and charging, as long as its connection is open; so the work for a client is cancelled
the moment that client disconnects, wherever it waits.
"""

import asyncio
from types import TracebackType
from typing import Self

from starlette.types import Receive


class ClientWatch:
    """Cancel the block's work when the client disconnects, and end the block quietly with `gone` set.

    Parameters
    ----------
    receive
        ASGI's receive, after the request's body was read.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.gone = False

    async def __aenter__(self) -> Self:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a request is served by a task")
        self._task = task
        self._watcher = asyncio.create_task(self._watch())  # noqa: TID251 - a request ends it
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self._watcher.cancel()
        if not self.gone:
            return False
        self._task.uncancel()
        return kind is asyncio.CancelledError

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.gone = True
        self._task.cancel()
