"""A server under test: one process that is started, watched and ended, and what it showed."""

import os
import signal
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.runtime import clean_environment

ROOT = Path(__file__).parents[2]
LEVELS = (1, 64)
"""Requests in flight."""
START_SECONDS = 120.0
"""Far more than any of them takes on a busy machine."""
SETTLE_SECONDS = 10.0
"""Longest wait for a contender to finish what an earlier load left it with."""


@dataclass
class Load:
    """What wrk saw in one round."""

    rate: float
    """Answers with a 2xx, each second."""
    p50: float
    """Milliseconds."""
    p99: float
    cpu: float
    """CPU microseconds of the contender's process for each request."""


@dataclass
class Contender:
    """A server under test."""

    name: str
    url: str
    process: subprocess.Popen[bytes]
    started: float = 0.0
    """Seconds from its start until it was ready."""
    idle_memory: float = 0.0
    failures: int = 0
    """Requests and streams that were refused, broken off or reset."""
    loads: dict[int, list[Load]] = field(default_factory=lambda: {level: [] for level in LEVELS})
    first_tokens: dict[int, list[float]] = field(default_factory=lambda: {level: [] for level in LEVELS})
    """Milliseconds to the first event of a stream."""

    def best(self, level: int) -> Load:
        """Give the best of its rounds, figure by figure."""
        rounds = self.loads[level]
        return Load(
            max(each.rate for each in rounds), *(min(getattr(r, n) for r in rounds) for n in ("p50", "p99", "cpu"))
        )

    def first_token(self, level: int) -> float:
        """Give the median of the best round."""
        return min(self.first_tokens[level])

    def cpu(self) -> float:
        """Give the CPU seconds that it has used, with its workers where it has some."""
        return sum(map(_cpu, self._processes()))

    def _processes(self) -> Iterator[int]:
        pid = self.process.pid
        yield pid
        yield from map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())

    def memory(self) -> float:
        """Give its resident memory in MB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1000

    def settle(self) -> None:
        """Wait until it rests: what one load left behind must not count against the next."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while time.monotonic() < deadline:
            before = self.cpu()
            time.sleep(0.2)
            if self.cpu() - before < 0.03:
                return


def _cpu(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:  # it has ended meanwhile
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def contender(
    name: str, port: int, command: Sequence[str], env: Mapping[str, str] | None = None, *, ready: str = "/ready"
) -> Iterator[Contender]:
    """Run a server that listens on a loopback port, whose log goes to a file, as it would to a container's.

    Parameters
    ----------
    ready
        A path that answers with a 2xx as soon as the server serves.
    """
    with tempfile.TemporaryFile() as log:
        began = time.monotonic()
        process = subprocess.Popen(
            command, cwd=ROOT, env={**clean_environment(), **(env or {})}, stdout=log, stderr=log
        )
        try:
            found = Contender(name, f"http://127.0.0.1:{port}", process)
            if not _answers(found, ready):
                log.seek(0)
                raise SystemExit(f"{name} does not serve. The end of its log:\n{log.read()[-3000:].decode()}")
            found.started = time.monotonic() - began
            found.idle_memory = found.memory()
            yield found
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _answers(it: Contender, path: str) -> bool:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and it.process.poll() is None:
        try:
            urllib.request.urlopen(f"{it.url}{path}", timeout=5).close()
        except OSError:
            time.sleep(0.02)
        else:
            return True
    return False
