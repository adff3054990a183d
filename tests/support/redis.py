"""A real Redis on a free loopback port, which a test may kill, freeze and start again.

A Redis that is missing is installed or fails the test: skipped tests look green, and these are the ones that show what
replicas share. REDIS_TESTS=off says that it is meant.
"""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from devcluster import packages
from devcluster.errors import DevclusterError
from devcluster.progress import Silent

START_SECONDS = 10.0


class RedisServer:
    """One `redis-server` process.

    Parameters
    ----------
    folder
        Its working directory.
    """

    def __init__(self, folder: str) -> None:
        self._program = redis_program()
        self._folder = folder
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start, and return when it answers."""
        arguments = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", self._folder]
        self._process = subprocess.Popen(
            [self._program, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            assert self._process.poll() is None, "redis-server ended at once"
            assert time.monotonic() < deadline, "redis-server does not answer"
            time.sleep(0.01)

    def kill(self) -> None:
        """End it without a goodbye."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Keep its port open, and let it answer nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def command(self, *words: str) -> bytes:
        """Send one command and give the raw reply, however long."""
        request = f"*{len(words)}\r\n" + "".join(f"${len(word.encode())}\r\n{word}\r\n" for word in words)
        with socket.create_connection(("127.0.0.1", self.port), timeout=2) as connection:
            connection.sendall(request.encode())
            connection.shutdown(socket.SHUT_WR)
            reply = b""
            while part := connection.recv(65536):
                reply += part
        return reply

    def everything(self) -> bytes:
        """Give every key and every value."""
        keys = [line for line in self.command("KEYS", "*").split(b"\r\n") if line.startswith(b"assistant:")]
        dump = b"\n".join(keys)
        for key in keys:
            kind = self.command("TYPE", key.decode())
            read = ("LRANGE", key.decode(), "0", "-1") if b"list" in kind else ("GET", key.decode())
            dump += self.command(*read)
        return dump

    def _answers(self) -> bool:
        try:
            return self.command("PING").startswith(b"+PONG")
        except OSError:
            return False


def redis_program() -> str:
    """Find redis-server, installing Debian's package where that is possible."""
    if os.environ.get("REDIS_TESTS") == "off":
        pytest.skip("REDIS_TESTS=off")
    program = shutil.which("redis-server", path=packages.SYSTEM_PATH) or _installed()
    if program is None:
        pytest.fail("redis-server is missing: apt-get install redis-server, or set REDIS_TESTS=off")
    return program


def _installed() -> str | None:
    with pytest.MonkeyPatch.context() as environment:
        # Debian's package starts its service, except in the runlevel for repairs.
        environment.setenv("RUNLEVEL", "1")
        try:
            packages.ensure({"redis-server": "redis-server"}, Silent())
        except DevclusterError as error:
            pytest.fail(f"redis-server is missing, or set REDIS_TESTS=off: {error}")
    return shutil.which("redis-server", path=packages.SYSTEM_PATH)


def free_port() -> int:
    """Give a loopback port that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def run_redis() -> Iterator[RedisServer]:
    """Run a Redis in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(folder)
        server.start()
        try:
            yield server
        finally:
            server.kill()
