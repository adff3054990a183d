"""The HTTP server, and how it stops.

On SIGTERM Kubernetes has begun to take this pod out of its Services, and for some seconds still sends it requests. So
the signal first only turns /ready to 503; the listener closes after the drain delay, answers in flight get the grace
period, and a second signal ends everything at once. uvicorn by itself would refuse connections from the first moment.
"""

import asyncio
import signal
import socket
from types import FrameType

import structlog
import uvicorn

from assistant_runtime.api.protocol import RuntimeProtocol
from assistant_runtime.app import create_app
from assistant_runtime.lifecycle import Lifecycle
from assistant_runtime.settings import Settings

KEEP_ALIVE_SECONDS = 75
"""Longer than the 60 s for which proxies commonly keep idle connections, so that the proxy closes first."""


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
    """

    def __init__(self, config: uvicorn.Config, lifecycle: Lifecycle, drain_delay: float) -> None:
        super().__init__(config)
        self._lifecycle = lifecycle
        self._drain_delay = drain_delay
        self._log = structlog.get_logger(__name__)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start listening; from here on signals have a loop to run in."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)

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
            return
        self._lifecycle.draining = True
        # An interrupt comes from a person at a terminal, whom no load balancer needs to hear of.
        delay = 0.0 if sig == signal.SIGINT else self._drain_delay
        self._log.info("draining", delay_seconds=delay)
        self._loop.call_later(delay, setattr, self, "should_exit", True)


def build_server(settings: Settings) -> RuntimeServer:
    """Give the server of an application with these settings."""
    lifecycle = Lifecycle()
    config = uvicorn.Config(
        create_app(settings, lifecycle),
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http=RuntimeProtocol,
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=settings.shutdown_grace_seconds,
    )
    return RuntimeServer(config, lifecycle, settings.drain_delay_seconds)
