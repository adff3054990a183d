"""A real PostgreSQL, Debian's, started by the very script that its image starts it with."""

import itertools
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from devcluster.demo.recipes import OWN_IMAGES
from devcluster.packages import SYSTEM_PATH
from tests.support.server import Server, debian_program, running

PROGRAMS = Path("/usr/lib/postgresql/15/bin")


class PostgresServer(Server):
    """One PostgreSQL with an empty database."""

    user: ClassVar[str | None] = "postgres"  # it refuses to run as root
    _numbers = itertools.count(1)
    username = "assistant"
    password = "geheim"
    database = "assistant"

    @property
    def url(self) -> str:
        """The address, without credentials."""
        return f"postgresql://127.0.0.1:{self.port}/{self.database}"

    def argv(self) -> list[str]:
        debian_program(str(PROGRAMS / "postgres"), "postgresql-15", "POSTGRESQL")
        script = (OWN_IMAGES / "postgresql" / "entrypoint.sh").read_text()  # its user may not read our folders
        # The machine does not lose power in a test, and what the server has written outlives the server.
        settings = {"listen_addresses": "127.0.0.1", "unix_socket_directories": self.folder, "fsync": "off"}
        return [
            "sh",
            "-c",
            script,
            "entrypoint.sh",
            f"--port={self.port}",
            *(f"--{name}={value}" for name, value in settings.items()),
        ]

    def environment(self) -> Mapping[str, str]:
        return {
            "PATH": f"{PROGRAMS}:{os.environ.get('PATH', SYSTEM_PATH)}",
            "PGDATA": str(self.folder / "data"),
            "POSTGRES_USER": self.username,
            "POSTGRES_PASSWORD": self.password,
            "POSTGRES_DB": self.database,
            "POSTGRES_INITDB_ARGS": "--no-sync",
        }

    def answers(self) -> bool:
        return self.psql("SELECT 1") == "1"

    def new_database(self) -> str:
        """Make an empty database beside the first one; give its address."""
        name = f"database_{next(self._numbers)}"
        assert self.psql(f"CREATE DATABASE {name}") == "CREATE DATABASE"
        return self.url.removesuffix(self.database) + name

    def psql(self, statement: str) -> str:
        """Give what a statement returns as bare text, and nothing when it fails or hangs."""
        environment = {**os.environ, "PGPASSWORD": self.password, "PGCONNECT_TIMEOUT": "2"}
        where = ["--host=127.0.0.1", f"--port={self.port}", f"--username={self.username}", self.database]
        command = [str(PROGRAMS / "psql"), "--no-psqlrc", "--tuples-only", "--no-align", f"--command={statement}"]
        try:
            result = subprocess.run([*command, *where], env=environment, check=True, capture_output=True, timeout=10)
        except subprocess.SubprocessError:
            return ""
        return result.stdout.decode().strip()


@contextmanager
def run_postgresql() -> Iterator[PostgresServer]:
    """Run one in a temporary folder."""
    with running(PostgresServer) as server:
        yield server
