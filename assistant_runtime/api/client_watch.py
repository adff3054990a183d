"""Notice at once that a client left.

A provider goes on generating, and charging, as long as its connection is open; so the work for a client is cancelled
the moment that client disconnects, wherever it waits. The server's protocol reports it: a task that waits for it would
cost each request more than its validation.
"""

import asyncio
from types import TracebackType
from typing import Self

from starlette.types import Scope

from assistant_runtime.api.protocol import LEFT, WHEN_LEFT


class ClientWatch:
    """Cancel the block's work when the client disconnects, and end the block quietly with `gone` set.

    Parameters
    ----------
    scope
        The request's, whose body was read.
    """

    __slots__ = ("_state", "_task", "gone")

    def __init__(self, scope: Scope) -> None:
        self._state = scope["state"]
        self.gone = False

    def __enter__(self) -> Self:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a request is served by a task")
        self._task = task
        self._state[WHEN_LEFT] = self._leave
        if LEFT in self._state:
            self._leave()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        del self._state[WHEN_LEFT]
        if not self.gone:
            return False
        self._task.uncancel()
        return kind is asyncio.CancelledError

    def _leave(self) -> None:
        self.gone = True
        self._task.cancel()
