"""Start programs that outlive this one, and later end exactly those programs.

A process number alone is no identity: the kernel gives it to another process later. A process is known here by
its number and its start time, and signals go through a pidfd, so that no other process can ever be hit.
"""

import os
import select
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

# The shell records its own entry of /proc and then becomes the program, with the same process number and start
# time: there is no moment in which a program runs and is not on record, whenever the caller is interrupted.
RECORD_THEN_EXEC = 'cp "/proc/$$/stat" "$0" && exec "$@"'

RECORD_TIMEOUT_SECONDS = 10.0
"""For the record to appear: it takes milliseconds, unless the machine is out of memory or processes."""

POLL_SECONDS = 0.01


@dataclass(frozen=True)
class Process:
    """One process of this boot of the machine."""

    pid: int
    start_ticks: int
    """Start time since boot, in clock ticks: field 22 of /proc/PID/stat."""


def parse_stat(stat: str) -> tuple[Process, str]:
    """Return the process that a line of /proc/PID/stat describes, and its state letter.

    The name, in brackets, may itself hold blanks and brackets: fields are counted from the last bracket.
    """
    head, _, tail = stat.rpartition(")")
    fields = tail.split()
    return Process(pid=int(head.split(" ", 1)[0]), start_ticks=int(fields[19])), fields[0]


def is_alive(process: Process) -> bool:
    """Tell whether this very process still runs; one that waits to be reaped does not."""
    try:
        stat = Path(f"/proc/{process.pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    found, state = parse_stat(stat)
    return found == process and state not in "ZX"


def recorded(pidfile: Path) -> Process | None:
    """Return the process on record in `pidfile`, or None when there is no complete record."""
    try:
        text = pidfile.read_text()
    except FileNotFoundError:
        return None
    return parse_stat(text)[0] if text.endswith("\n") else None


def spawn(argv: Sequence[str], *, pidfile: Path, log: Path, env: Mapping[str, str] | None = None) -> Process:
    """Start `argv` in a session of its own, detached from this process, and return its identity.

    Parameters
    ----------
    argv
        Program and arguments.
    pidfile
        Where the process goes on record, for `recorded`.
    log
        Receives the program's output, appended.
    env
        The whole environment; this process's own when None.

    Raises
    ------
    TimeoutError
        The machine could not start a process.
    """
    pidfile.unlink(missing_ok=True)
    detached = ["setsid", "--fork", "/bin/sh", "-c", RECORD_THEN_EXEC, str(pidfile), *argv]
    with log.open("ab") as output:
        subprocess.run(detached, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=env, cwd="/", check=True)
    deadline = time.monotonic() + RECORD_TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        if (process := recorded(pidfile)) is not None:
            return process
        time.sleep(POLL_SECONDS)
    raise TimeoutError(f"{argv[0]} did not start within {RECORD_TIMEOUT_SECONDS:.0f} s")


def only_child(process: Process) -> Process | None:
    """Return the first child of `process`, or None when it has none (yet)."""
    try:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        return parse_stat(Path(f"/proc/{children[0]}/stat").read_text())[0] if children else None
    except (FileNotFoundError, ProcessLookupError):
        return None


def kill(process: Process, timeout_seconds: float = 120.0) -> bool:
    """End a process at once, if it still is the same one, and wait until it has gone.

    Returns
    -------
    bool
        False when it was still there after `timeout_seconds` (blocked in the kernel).
    """
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return True
    try:
        if not is_alive(process):
            return True
        signal.pidfd_send_signal(handle, signal.SIGKILL)
        gone = select.poll()
        gone.register(handle, select.POLLIN)
        return bool(gone.poll(timeout_seconds * 1000))
    finally:
        os.close(handle)
