"""The HTTP server, and how it stops.

On SIGTERM Kubernetes has begun to take this pod out of its Services, and for some seconds still sends it requests. So
the signal first only turns /ready to 503; the listener closes after the drain delay, and answers in flight get the
grace period. What is not finished then, or when a second signal comes, is cut: its client gets an error, and the stores
stay open until the cut turns are kept and their budgets settled. A third signal ends the process as the system does.
uvicorn by itself would refuse connections from the first moment, and close the stores while the cut requests write.
"""

import asyncio
import signal
import socket
from collections.abc import Iterator
from functools import partial
from types import FrameType

import structlog
import uvicorn

from assistant_runtime.api.connection_limits import ConnectionLimits, look_again_and_again
from assistant_runtime.api.protocol import RuntimeProtocol
from assistant_runtime.app import create_app
from assistant_runtime.lifecycle import Lifecycle
from assistant_runtime.settings import Settings
from assistant_runtime.settings.values import EVERY_ADDRESS

KEEP_ALIVE_SECONDS = 75
"""Longer than the 60 s for which proxies commonly keep idle connections, so that the proxy closes first."""

POLL_SECONDS = 0.05
"""Between two looks at what is in flight, while the process drains."""

LAST_WORDS_SECONDS = 1.0
"""For a cut answer's last event to reach its client; a client that does not read by then is disconnected."""

SETTLE_SECONDS = 8.0
"""For cut requests to keep their turns and settle their budgets: longer than any store's longest command."""


class RuntimeServer(uvicorn.Server):
    """uvicorn, draining before it stops.

    Parameters
    ----------
    config
        The server's configuration.
    lifecycle
        Shared with the application.
    drain_delay
        Seconds to go on accepting after SIGTERM.
    grace
        Seconds that requests in flight have after that.
    """

    def __init__(self, config: uvicorn.Config, lifecycle: Lifecycle, drain_delay: float, grace: float) -> None:
        super().__init__(config)
        self._lifecycle = lifecycle
        self._drain_delay = drain_delay
        self._grace = grace
        self._log = structlog.get_logger(__name__)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start listening; from here on signals have a loop to run in."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        look_again_and_again(self._loop, self._connections)

    def _connections(self) -> Iterator[RuntimeProtocol]:
        return (each for each in self.server_state.connections if isinstance(each, RuntimeProtocol))

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - uvicorn's signature
        """Take a signal; it is not raised again at the end, so that a drained process exits with 0."""
        if hasattr(self, "_loop"):
            self._loop.call_soon_threadsafe(self._stop, sig)
        else:
            self.should_exit = True

    def _stop(self, sig: int) -> None:
        if self._lifecycle.draining:
            self._log.warning("stopping_at_once")
            self.should_exit = self.force_exit = True
            for each in (signal.SIGTERM, signal.SIGINT):
                signal.signal(each, signal.SIG_DFL)
            return
        self._lifecycle.draining = True
        # An interrupt comes from a person at a terminal, whom no load balancer needs to hear of.
        delay = 0.0 if sig == signal.SIGINT else self._drain_delay
        self._log.info("draining", delay_seconds=delay)
        self._loop.call_later(delay, setattr, self, "should_exit", True)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop accepting, let what is in flight finish, cut the rest, and close the stores after that."""
        for listener in (*self.servers, *(sockets or ())):
            listener.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        await self._in_flight(self._grace)
        await self._cut(set(self.server_state.tasks))
        await self.lifespan.shutdown()

    async def _in_flight(self, seconds: float) -> None:
        """Wait until everything is answered, and has left; so long at most, and not after a second signal."""
        state, due = self.server_state, self._loop.time() + seconds
        # uvicorn has no event for it.
        while (state.tasks or state.connections) and not self.force_exit and self._loop.time() < due:  # noqa: ASYNC110
            await asyncio.sleep(POLL_SECONDS)

    async def _cut(self, requests: set[asyncio.Task[None]]) -> None:
        """End requests early, and wait until each has kept its turn and settled its budget."""
        if not requests:
            return
        self._log.warning("requests_cut", count=len(requests))
        for request in requests:
            request.cancel()
        _, unfinished = await asyncio.wait(requests, timeout=LAST_WORDS_SECONDS)
        for connection in list(self._connections()):
            if connection.flow.write_paused:
                connection.transport.abort()
        if unfinished:
            _, unfinished = await asyncio.wait(unfinished, timeout=SETTLE_SECONDS)
        if unfinished:
            self._log.error("requests_not_settled", count=len(unfinished))
        await self._in_flight(LAST_WORDS_SECONDS)


def build_server(settings: Settings) -> RuntimeServer:
    """Give the server of an application with these settings."""
    lifecycle = Lifecycle()
    config = uvicorn.Config(
        create_app(settings, lifecycle),
        host="" if settings.host == EVERY_ADDRESS else settings.host,
        port=settings.port,
        loop="uvloop",
        http=partial(RuntimeProtocol, ConnectionLimits.of(settings)),  # type: ignore[arg-type]  # it is only called
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
    )
    return RuntimeServer(config, lifecycle, settings.drain_delay_seconds, settings.shutdown_grace_seconds)
