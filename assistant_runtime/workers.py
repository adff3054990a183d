"""Several workers behind one port: started, started again when they end, drained together.

This process only holds the listening socket and looks after the workers; each of them is a whole runtime that accepts
from that socket. They share what is in servers, Redis above all, and their metrics and counts of requests in flight, by
files in a temporary folder: whichever worker is scraped tells the sum of all. A worker that dies leaves its share of
the sum, and connections that wait go to the others.
"""

import asyncio
import os
import signal
import socket
import sys
import tempfile
import time
from contextlib import ExitStack, suppress

import structlog
from prometheus_client import start_http_server
from prometheus_client.multiprocess import mark_process_dead

from assistant_runtime.children import CHILD_VARIABLE, RESTART_SECONDS, SETTLED_SECONDS
from assistant_runtime.in_flight import WORKER_VARIABLE, InFlight, make_file
from assistant_runtime.settings import Settings
from assistant_runtime.settings.values import one_address
from assistant_runtime.telemetry import SHARED_DIRECTORY, sum_of_workers

BACKLOG = 2048
"""uvicorn's own."""

DRAINED = frozenset({0, 1, -signal.SIGTERM, -signal.SIGINT})
"""How a worker ends that was told to stop once: with 0, or otherwise where it had not begun to serve."""

NOT_STARTED = 127
"""As a shell says of a program that it could not run."""


class Workers:
    """The workers of one port.

    Parameters
    ----------
    settings
        The same for every worker.
    listener
        The listening socket, which they accept from.
    shared
        Folder of the files with their metrics and counts.
    """

    def __init__(self, settings: Settings, listener: socket.socket, shared: str) -> None:
        self._settings = settings
        self._listener = listener
        self._environment = {
            **os.environ,
            "HOST": settings.host,
            "PORT": str(settings.port),
            SHARED_DIRECTORY: shared,
            CHILD_VARIABLE: "1",
        }
        self._shared = shared
        self._running: set[asyncio.subprocess.Process] = set()
        self._stop = asyncio.Event()
        self._at_once = False
        self._log = structlog.get_logger(__name__)

    async def run(self) -> int:
        """Serve until a signal; gives the exit code: 1 if a second one came, or a worker was cut short."""
        loop = asyncio.get_running_loop()
        for sig in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(sig, self._pass_on, sig)
        codes = await asyncio.gather(*(self._keep(number) for number in range(self._settings.workers)))
        return int(self._at_once or not DRAINED.issuperset(codes))

    def _pass_on(self, sig: int) -> None:
        """Tell every worker; the first signal drains, the second ends at once."""
        self._at_once = self._stop.is_set()
        self._stop.set()
        # The port refuses connections once the workers have closed theirs.
        self._listener.close()
        for process in self._running:
            with suppress(ProcessLookupError):
                process.send_signal(sig)

    async def _keep(self, number: int) -> int:
        """Keep one worker running until it is told to stop."""
        failures = 0
        while True:
            started = time.monotonic()
            try:
                code = await self._run_once(number)
            except OSError as error:  # such as a machine without room for another process
                self._log.error("worker_not_started", worker=number, detail=str(error))
                code = NOT_STARTED
            if self._stop.is_set():
                return code
            if time.monotonic() - started > SETTLED_SECONDS:
                failures = 0
            delay = RESTART_SECONDS[min(failures, len(RESTART_SECONDS) - 1)]
            failures += 1
            self._log.error("worker_ended", worker=number, exit_code=code, restart_seconds=delay)
            with suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._stop.wait()
                return code

    async def _run_once(self, number: int) -> int:
        descriptor = self._listener.fileno()
        command = [sys.executable, "-m", "assistant_runtime", "serve", "--listener", str(descriptor)]
        # One chat page is enough, and has one port.
        alone = {} if number == 0 else {"GRADIO_ENABLED": "false"}
        own = {WORKER_VARIABLE: str(number), **alone}
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            env=self._environment | own,
            pass_fds=[descriptor],
            # A terminal's interrupt reaches this process alone, which passes it on once.
            start_new_session=True,
        )
        self._running.add(process)
        self._log.info("worker_started", worker=number, pid=process.pid)
        if self._stop.is_set():
            process.terminate()
        try:
            return await process.wait()
        finally:
            self._running.discard(process)
            mark_process_dead(process.pid, self._shared)
            InFlight.of_worker(self._shared, self._settings.workers, number).clear()


def serve_with_workers(settings: Settings) -> int:
    """Serve with WORKERS workers; gives the exit code."""
    try:
        listener = _listener(one_address(settings.host), settings.port)
    except OSError as error:
        where = f"{settings.host}:{settings.port}"
        raise SystemExit(f"assistant-runtime: can't listen on {where}: {error.strerror}") from None
    with ExitStack() as stack:
        shared = stack.enter_context(tempfile.TemporaryDirectory(prefix="assistant-runtime-workers-"))
        make_file(shared, settings.workers)
        if settings.metrics_port is not None:
            server, thread = start_http_server(
                settings.metrics_port, one_address(settings.host), sum_of_workers(shared)
            )
            stack.callback(thread.join)
            stack.callback(server.server_close)
            stack.callback(server.shutdown)
        return asyncio.run(_serve(settings, listener, shared))


async def _serve(settings: Settings, listener: socket.socket, shared: str) -> int:
    return await Workers(settings, listener, shared).run()


def _listener(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), backlog=BACKLOG, family=family, dualstack_ipv6=host == "::")
