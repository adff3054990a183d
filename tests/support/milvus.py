"""Two servers with Milvus' protocol: Milvus itself, of an older version, and Milvus Lite's server.

Milvus 2.3.5 is the newest that a Python package holds; sparse vectors, hybrid search and BM25 came later. Milvus Lite
has them, and neither passwords nor a health endpoint.
"""

import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import grpc

from devcluster.demo.recipes import OWN_IMAGES
from devcluster.paths import lock
from tests.support.server import Server, free_port, python_program, running

NAME = "MILVUS"
SCRIPT = OWN_IMAGES / "milvus" / "entrypoint.py"

INNER_PORTS = (
    "ROOTCOORD_PORT",
    "DATACOORD_PORT",
    "QUERYCOORD_PORT",
    "DATANODE_PORT",
    "QUERYNODE_PORT",
    "INDEXNODE_PORT",
    "PROXY_INTERNALPORT",
)
"""Between its parts; found free by its package alone, two that start at once find the same."""

SESSION_SECONDS = 15
"""Until a part that was killed counts as gone, 30 by default: short, as a test waits for it."""


class _Milvus(Server):
    @property
    def url(self) -> str:
        """The address, without credentials."""
        return f"http://127.0.0.1:{self.port}"


class MilvusServer(_Milvus):
    """Milvus 2.3.5, standalone, that asks for a password."""

    username = "root"
    password = "Milvus"  # what it comes with

    def __init__(self, folder: str | Path) -> None:
        super().__init__(folder)
        self._health_port = free_port()
        self._inner_ports = {name: str(free_port()) for name in INNER_PORTS}

    def argv(self) -> list[str]:
        return [str(python_program("milvus", NAME) / "python"), str(SCRIPT), "milvus", "run", "standalone"]

    def environment(self) -> Mapping[str, str]:
        return {
            "MILVUS_HOME": str(milvus_programs()),
            "MILVUS_DATA_DIR": str(self.folder),
            "PROXY_PORT": str(self.port),
            "METRICS_PORT": str(self._health_port),
            "MILVUS_INNER_PORTS": "free",
            "COMMON_SESSION_TTL": str(SESSION_SECONDS),
            "COMMON_SECURITY_AUTHORIZATIONENABLED": "true",
            **self._inner_ports,
        }

    def answers(self) -> bool:
        with (
            suppress(OSError),
            urllib.request.urlopen(f"http://127.0.0.1:{self._health_port}/healthz", timeout=5) as ok,
        ):
            return ok.status == 200
        return False


class MilvusLiteServer(_Milvus):
    """The server of milvus-lite."""

    def argv(self) -> list[str]:
        program = Path(sys.executable).with_name("milvus-lite")
        where = ["--data-dir", str(self.folder / "data"), "--host", "127.0.0.1", "--port", str(self.port)]
        return [str(program), "server", *where]

    def answers(self) -> bool:
        with grpc.insecure_channel(f"127.0.0.1:{self.port}") as channel, suppress(grpc.FutureTimeoutError):
            grpc.channel_ready_future(channel).result(timeout=5)
            return True
        return False


def milvus_programs() -> Path:
    """Return the folder with Milvus' programs, unpacked once into the environment of the package that has them."""
    python = python_program("milvus", NAME)
    folder = python.parent / "milvus"
    with lock("milvus-programs"):
        if not folder.exists():
            unfinished = folder.with_name("milvus.unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            subprocess.run([str(python / "python"), str(SCRIPT), "unpack", str(unfinished)], check=True)
            unfinished.rename(folder)
    return folder


@contextmanager
def run_milvus() -> Iterator[MilvusServer]:
    """Run Milvus in a temporary folder; it takes 5 s until it answers."""
    with running(MilvusServer) as server:
        yield server


@contextmanager
def run_milvus_lite() -> Iterator[MilvusLiteServer]:
    """Run the server of milvus-lite in a temporary folder."""
    with running(MilvusLiteServer) as server:
        yield server
