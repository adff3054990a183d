"""Child processes in the runtime's care: started, started again when they end, and ended with it.

A part that is large or that computes (the chat page, a local model) is a process of its own: it shares neither the
API's event loop nor its memory, and gets none of its secrets. A child's standard input is a pipe that only its parent
holds open: when the parent is gone, however it went, the child reads the end of it and goes too.
"""

import asyncio
import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

import structlog

CHILD_VARIABLE = "ASSISTANT_RUNTIME_CHILD"
"""Tells a process that its standard input is such a pipe."""

SYSTEM_VARIABLES = (
    *("PATH", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH"),
    *("GRADIO_TEMP_DIR", "MPLCONFIGDIR"),
)
"""What a child gets of this process's environment: it needs no more, and the rest holds secrets."""

STANDARD_INPUT = 0

STOP_SECONDS = 5.0
"""Children hold nothing that is not elsewhere, so an end that takes longer is hurried."""

RESTART_SECONDS = (0.5, 1, 2, 5, 10, 30)
"""Waits before consecutive starts."""

SETTLED_SECONDS = 60.0
"""A child that ran this long was well: its next failure is a new one."""

PR_SET_DUMPABLE = 4
"""Linux's number."""


def without_secrets() -> dict[str, str]:
    """Give the SYSTEM_VARIABLES of this process's environment."""
    return {name: os.environ[name] for name in SYSTEM_VARIABLES if name in os.environ}


def hide_from_children() -> None:
    """Keep processes of the same user from reading this one's environment and memory in /proc, or tracing it.

    A child without secrets could otherwise read its parent's. It also leaves no core dump.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


class ChildProcess:
    """One child.

    Parameters
    ----------
    name
        What logs call it.
    command
        Program and arguments; no secret belongs there.
    environment
        Variables on top of SYSTEM_VARIABLES.
    """

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        self._name = name
        self._command = command
        self._environment = {**without_secrets(), **(environment or {}), CHILD_VARIABLE: "1"}
        self._log = structlog.get_logger(__name__)

    async def run(self) -> None:
        """Keep it running until cancelled, and end it then."""
        failures = 0
        while True:
            started = time.monotonic()
            code = await self._run_once()
            if time.monotonic() - started > SETTLED_SECONDS:
                failures = 0
            delay = RESTART_SECONDS[min(failures, len(RESTART_SECONDS) - 1)]
            failures += 1
            self._log.error("child_ended", child=self._name, exit_code=code, restart_seconds=delay)
            await asyncio.sleep(delay)

    async def _run_once(self) -> int:
        process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            env=self._environment,
            # A terminal's Ctrl-C is for the parent, which ends its children when it no longer needs them.
            start_new_session=True,
        )
        self._log.info("child_started", child=self._name, pid=process.pid)
        try:
            return await process.wait()
        finally:
            await _end(process)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    with suppress(ProcessLookupError):
        process.terminate()
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
    finally:
        # Also where the waiting itself is cancelled: nothing else holds the process.
        if process.returncode is None:
            process.kill()
            await process.wait()


def end_with_parent() -> None:
    """In a child: send this process SIGTERM when its parent is gone. Anywhere else it does nothing."""
    if CHILD_VARIABLE not in os.environ:
        return

    def wait() -> None:
        # Unbuffered: at the interpreter's end nobody may be found holding the buffer's lock.
        with suppress(OSError):
            while os.read(STANDARD_INPUT, 1):
                pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="parent-watch", daemon=True).start()
