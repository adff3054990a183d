"""Real servers on free loopback ports, which a test may kill, freeze and start again.

A server that is missing is installed or fails the test: skipped tests look green, and these are the ones that show what
the runtime's promises are worth. NAME_TESTS=off, such as REDIS_TESTS=off, says that it is meant.
"""

import itertools
import os
import select
import shutil
import signal
import socket
import subprocess
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, TypeVar

import pytest

from devcluster import packages, venvs
from devcluster.demo.recipes import OWN_IMAGES
from devcluster.errors import DevclusterError
from devcluster.progress import Silent
from tests.support.apart import own_number

START_SECONDS = 120.0
"""Far more than a loaded machine needs, so that only what never answers fails."""

POLL_SECONDS = 0.02
LOG = "server.log"

_FIRST_PORT, _BATCH, _BATCHES = 20_000, 250, 40
"""Ports below those that the kernel gives to connections, one of which could take one before its server listens."""


class Server(ABC):
    """One server: a process and its children.

    Parameters
    ----------
    folder
        Its working directory, with its data and its log.
    """

    user: ClassVar[str | None] = None
    """Whom it runs as when this is root; None: as ourselves."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def argv(self) -> list[str]:
        """Return the program and its arguments."""

    @abstractmethod
    def answers(self) -> bool:
        """Ask the server itself whether it serves."""

    def environment(self) -> Mapping[str, str]:
        """Return what it needs beside our own environment."""
        return {}

    def start(self) -> None:
        """Start, and return when it answers."""
        with (self.folder / LOG).open("ab") as log:
            self._process = subprocess.Popen(
                self.argv(),
                cwd=self.folder,
                env={**os.environ, **self.environment()},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                **_as_user(self.user),
            )
        deadline = time.monotonic() + START_SECONDS
        while not self.answers():
            assert self._process.poll() is None, f"it ended at once: {self.log}"
            assert time.monotonic() < deadline, f"it does not answer: {self.log}"
            time.sleep(POLL_SECONDS)

    def kill(self) -> None:
        """End it without a goodbye, its children too."""
        if self._process is None:
            return
        with _handles(self._tree()) as handles:
            for handle in handles:
                with suppress(ProcessLookupError):
                    signal.pidfd_send_signal(handle, signal.SIGKILL)
            for handle in handles:  # readable from the moment it has ended
                select.select([handle], [], [])
        self._process.wait()
        self._process = None

    def freeze(self) -> None:
        """Keep its port open, and let it answer nothing."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on after `freeze`."""
        self._signal(signal.SIGCONT)

    @property
    def log(self) -> str:
        """The end of what it has written."""
        return (self.folder / LOG).read_text(errors="replace")[-3000:]

    def _signal(self, number: signal.Signals) -> None:
        with _handles(self._tree()) as handles:
            for handle in handles:
                with suppress(ProcessLookupError):
                    signal.pidfd_send_signal(handle, number)

    def _tree(self) -> Iterator[int]:
        assert self._process is not None, "it does not run"
        yield from _descendants(self._process.pid)


S = TypeVar("S", bound=Server)


@contextmanager
def running(server: Callable[[str], S]) -> Iterator[S]:
    """Run a server in a temporary folder until the block ends."""
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        made = server(folder)
        if made.user and os.geteuid() == 0:
            shutil.chown(folder, made.user)
        try:
            made.start()
            yield made
        finally:
            made.kill()


class _QuietFiles(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


def serving_folder(folder: Path) -> AbstractContextManager[str]:
    """Serve a folder's files over HTTP on loopback; give the URL."""
    return serving(partial(_QuietFiles, directory=folder))


@contextmanager
def serving(handler: Callable[..., BaseHTTPRequestHandler]) -> Iterator[str]:
    """Answer HTTP requests on loopback; give the URL."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def free_port() -> int:
    """Give a loopback port that nobody uses, and that no other process of tests is given."""
    while True:
        port = next(_ports)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def _own_ports() -> Iterator[int]:
    """Give the ports of a batch that no other process has, each once before any a second time.

    One that was given may not be listened on yet.
    """
    with own_number("ports", _BATCHES) as batch:
        first = _FIRST_PORT + batch * _BATCH
        yield from itertools.cycle(range(first, first + _BATCH))


_ports = _own_ports()


def debian_program(program: str, package: str, name: str) -> str:
    """Find a program of Debian's, installing its package where that is possible.

    Parameters
    ----------
    program
        On the system's path, or by its full path.
    package
        The package that has it.
    name
        The server, as in NAME_TESTS=off.
    """
    skip_if_off(name)
    with pytest.MonkeyPatch.context() as environment:
        # Debian's packages start their services, except in the runlevel for repairs.
        environment.setenv("RUNLEVEL", "1")
        try:
            packages.ensure({program: package}, Silent())
        except DevclusterError as error:
            pytest.fail(f"{program} is missing; install {package} or set {name}_TESTS=off: {error}")
    return shutil.which(program, path=packages.SYSTEM_PATH) or program


def python_program(image: str, name: str) -> Path:
    """Return the folder of programs of the environment that the lock of an image describes, made if need be."""
    skip_if_off(name)
    try:
        return venvs.ensure(OWN_IMAGES / image / "requirements.txt") / "bin"
    except DevclusterError as error:
        pytest.fail(f"the server can't be installed; help that, or set {name}_TESTS=off: {error}")


def skip_if_off(name: str) -> None:
    """Skip the test where NAME_TESTS=off."""
    if os.environ.get(f"{name}_TESTS") == "off":
        pytest.skip(f"{name}_TESTS=off")


def _as_user(user: str | None) -> dict[str, Any]:
    if user is None or os.geteuid() != 0:
        return {}
    return {"user": user, "group": user, "extra_groups": []}


def _descendants(process: int) -> Iterator[int]:
    """Yield a process and all below it, parents first."""
    yield process
    with suppress(FileNotFoundError, ProcessLookupError):
        for task in Path(f"/proc/{process}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield from _descendants(int(child))


@contextmanager
def _handles(processes: Iterable[int]) -> Iterator[list[int]]:
    """Open a handle of each process that still is; a number alone may be another's by the time it is used."""
    handles = []
    for process in processes:
        with suppress(ProcessLookupError):
            handles.append(os.pidfd_open(process))
    try:
        yield handles
    finally:
        for handle in handles:
            os.close(handle)
