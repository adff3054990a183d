"""The operator as a benchmark runs it: a process beside the cluster, whose passes, requests and memory are read."""

import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.kube import Kube, Requests, audited, eventually, install, running_operator
from tests.support.server import free_port

PASSES_SECONDS = 900
"""Far more than a pass over every assistant takes on a busy machine."""


class OperatorProcess:
    """One operator on one cluster, with the chart's rights and these settings; it may be started again."""

    def __init__(self, kube: Kube, **settings: str) -> None:
        self._cluster, self._account = kube.cluster, install(kube)
        self._log = Path(tempfile.mkdtemp(prefix="bench-")) / "operator.log"
        self._port = free_port()
        self._settings = {"http_port": str(self._port), **settings}
        self._process: subprocess.Popen[bytes]

    @contextmanager
    def running(self, **settings: str) -> Iterator[None]:
        """Run it until the block ends."""
        with running_operator(self._account, self._log, **self._settings, **settings) as self._process:
            yield

    def requests_of_passes(self, count: int, *, since: int) -> Requests:
        """Wait for so many passes more, and return the operator's requests from a place in the audit log on."""
        start = self._passes()
        eventually(lambda: self._passes() >= start + count, f"{count} passes more", timeout=PASSES_SECONDS)
        return audited(self._cluster, since)

    def peak_memory(self) -> float:
        """Return its peak resident memory in MB."""
        return self._of_status("VmHWM")

    def memory(self) -> float:
        """Return its resident memory in MB."""
        return self._of_status("VmRSS")

    def _of_status(self, field: str) -> float:
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith(field)).split()[1]) / 1000

    def _passes(self) -> float:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith("assistant_operator_reconcile_total"))
