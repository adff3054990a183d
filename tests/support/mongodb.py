"""A server with MongoDB's protocol: SecantusDB, started by the very script that its image starts it with."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from devcluster.demo.recipes import OWN_IMAGES
from tests.support.server import Server, free_port, python_program, running

NAME = "MONGODB"
Client = MongoClient[dict[str, Any]]


class MongoServer(Server):
    """SecantusDB that asks for a password; to its clients a standalone server, not a replica set."""

    username = "root"
    password = "geheim"

    @property
    def url(self) -> str:
        """The address, without credentials."""
        return f"mongodb://127.0.0.1:{self.port}"

    def argv(self) -> list[str]:
        python = python_program("mongodb", NAME) / "python"
        script = OWN_IMAGES / "mongodb" / "entrypoint.py"
        options = {"--dbpath": self.folder, "--port": self.port, "--bind_ip": "127.0.0.1", "--init-port": free_port()}
        return [str(python), str(script), "mongod", *(str(word) for pair in options.items() for word in pair)]

    def environment(self) -> Mapping[str, str]:
        return {"MONGO_INITDB_ROOT_USERNAME": self.username, "MONGO_INITDB_ROOT_PASSWORD": self.password}

    def client(self, milliseconds: int = 30_000) -> Client:
        """Give a client of the tests' own."""
        return MongoClient(
            self.url, username=self.username, password=self.password, serverSelectionTimeoutMS=milliseconds
        )

    def answers(self) -> bool:
        with self.client(500) as client:
            try:
                client.admin.command("ping")
            except PyMongoError:
                return False
        return True


@contextmanager
def run_mongodb() -> Iterator[MongoServer]:
    """Run one in a temporary folder."""
    with running(MongoServer) as server:
        yield server
