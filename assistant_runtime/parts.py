"""Parts: what each piece of the runtime adds to the application, and how they run together."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from fastapi import APIRouter, FastAPI

from assistant_runtime.checks import Check
from assistant_runtime.supervisor import Supervisor, Work


@dataclass(frozen=True, slots=True)
class Part:
    """What one part of the runtime adds to the application."""

    routers: Sequence[APIRouter] = ()
    resources: Sequence[AbstractAsyncContextManager[Any]] = ()
    """Opened before the first request and closed after the last, in order."""
    background: Mapping[str, Work] = field(default_factory=dict)
    """What goes on as long as the application does, by names that logs, /ready and metrics show."""
    checks: Mapping[str, Check] = field(default_factory=dict)
    """Dependencies that /ready tells of, by name."""


def lifespan_of(parts: Sequence[Part], supervisor: Supervisor) -> Any:
    """Give the lifespan in which every part is open and works."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for resource in (resource for part in parts for resource in part.resources):
                await stack.enter_async_context(resource)
            works = {name: work for part in parts for name, work in part.background.items()}
            await stack.enter_async_context(supervisor.running(works))
            yield

    return lifespan
