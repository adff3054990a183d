"""Parts: what each piece of the runtime adds to the application, and how they run together."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import structlog
from fastapi import APIRouter, FastAPI

from assistant_runtime.checks import Check
from assistant_runtime.ending import end

Work = Callable[[], Coroutine[Any, Any, None]]
"""Something that runs for as long as the application does."""


@dataclass(frozen=True, slots=True)
class Part:
    """What one part of the runtime adds to the application."""

    routers: Sequence[APIRouter] = ()
    resources: Sequence[AbstractAsyncContextManager[Any]] = ()
    """Opened before the first request and closed after the last, in order."""
    background: Sequence[Work] = ()
    checks: Mapping[str, Check] = field(default_factory=dict)
    """Dependencies that /ready tells of, by name."""


def lifespan_of(parts: Sequence[Part]) -> Any:
    """Give the lifespan in which every part is open and works."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for resource in (resource for part in parts for resource in part.resources):
                await stack.enter_async_context(resource)
            background = [_supervised(work()) for part in parts for work in part.background]
            stack.push_async_callback(end, *background)
            yield

    return lifespan


def _supervised(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Run work in the background; if it ends by a bug, that is logged rather than forgotten."""

    def report(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            structlog.get_logger(__name__).error("background_task_failed", exc_info=task.exception())

    task = asyncio.create_task(work)
    task.add_done_callback(report)
    return task
