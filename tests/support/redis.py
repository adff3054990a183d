"""A real Redis on a free loopback port, which a test may kill, freeze and start again."""

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import hiredis

from tests.support.server import Server, debian_program, running
from tests.support.tls import Authority


class RedisServer(Server):
    """One `redis-server` process.

    Parameters
    ----------
    authority
        Signs its certificate, and then it speaks TLS alone, with other servers too; None: it knows no TLS.
    """

    def __init__(self, folder: str | Path, authority: Authority | None = None) -> None:
        super().__init__(folder)
        self.authority = authority

    @property
    def url(self) -> str:
        """The address of its first database."""
        return f"redis://127.0.0.1:{self.port}/0"

    def argv(self) -> list[str]:
        arguments = ["--bind", "127.0.0.1", "--save", "", "--dir", str(self.folder)]
        listening = [word for name, value in self.listening().items() for word in (f"--{name}", value)]
        return [redis_program("redis-server"), *listening, *arguments]

    def listening(self) -> dict[str, str]:
        """Give the options of its port."""
        if self.authority is None:
            return {"port": str(self.port)}
        certificate, key = self.authority.issue(self.folder)
        files = {"cert-file": certificate, "key-file": key, "ca-cert-file": self.authority.certificate}
        options = {f"tls-{name}": str(file) for name, file in files.items()}
        return {"port": "0", "tls-port": str(self.port), **options, "tls-auth-clients": "no", "tls-replication": "yes"}

    def command(self, *words: str) -> bytes:
        """Send one command and give the raw reply, however long."""
        request = f"*{len(words)}\r\n" + "".join(f"${len(word.encode())}\r\n{word}\r\n" for word in words)
        incomplete = object()
        parser = hiredis.Reader(notEnoughData=incomplete)
        with socket.create_connection(("127.0.0.1", self.port), timeout=2) as plain, self._secured(plain) as connection:
            connection.sendall(request.encode())
            reply = b""
            while part := connection.recv(65536):
                reply += part
                parser.feed(part)
                if parser.gets() is not incomplete:
                    break
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

    def _secured(self, connection: socket.socket) -> socket.socket:
        if self.authority is None:
            return connection
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self.authority.certificate)
        return context.wrap_socket(connection, server_hostname="127.0.0.1")


def redis_program(name: str) -> str:
    """Find redis-server or redis-cli, installing Debian's package where that is possible."""
    return debian_program(name, "redis-server", "REDIS")


@contextmanager
def run_redis() -> Iterator[RedisServer]:
    """Run a Redis in a temporary folder."""
    with running(RedisServer) as server:
        yield server
