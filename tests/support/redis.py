"""A real Redis on a free loopback port, which a test may kill, freeze and start again."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.server import Server, debian_program, running


class RedisServer(Server):
    """One `redis-server` process."""

    @property
    def url(self) -> str:
        """The address of its first database."""
        return f"redis://127.0.0.1:{self.port}/0"

    def argv(self) -> list[str]:
        arguments = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self.folder)]
        return [redis_program("redis-server"), *arguments]

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

    def answers(self) -> bool:
        try:
            return self.command("PING").startswith(b"+PONG")
        except OSError:
            return False


def redis_program(name: str) -> str:
    """Find redis-server or redis-cli, installing Debian's package where that is possible."""
    return debian_program(name, "redis-server", "REDIS")


@contextmanager
def run_redis() -> Iterator[RedisServer]:
    """Run a Redis in a temporary folder."""
    with running(RedisServer) as server:
        yield server
