"""Run the assistant runtime for a test: in this process, or as the process that a user starts."""

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import aiohttp

from assistant_runtime.server import RuntimeServer, build_server
from assistant_runtime.settings import Settings
from tests.support.server import free_port
from tests.support.upstream import MODEL, Upstream

QUESTION = {"messages": [{"role": "user", "content": "What is the capital of France?"}]}
PATIENCE_SECONDS = 60.0
"""Bounds every wait; far more than a loaded machine needs, so that only what never happens fails."""


@dataclass
class Runtime:
    """A runtime that serves on a loopback port."""

    url: str
    client: aiohttp.ClientSession
    server: RuntimeServer

    async def chat(self, key: str | None = None, headers: dict[str, str] | None = None, **fields: Any) -> "Reply":
        """Send a chat request and read the whole answer."""
        sent = dict(headers or {})
        if key is not None:
            sent["authorization"] = f"Bearer {key}"
        return await self.post(json.dumps({**QUESTION, **fields}), sent)

    async def post(
        self, body: Any, headers: dict[str, str] | None = None, path: str = "/v1/chat/completions"
    ) -> "Reply":
        """Send any body, to the chat endpoint or another."""
        async with self.client.post(f"{self.url}{path}", data=body, headers=headers) as answer:
            return Reply(answer.status, dict(answer.headers), await answer.read())

    async def get(self, path: str, headers: dict[str, str] | None = None) -> "Reply":
        """Send a GET."""
        async with self.client.get(f"{self.url}{path}", headers=headers) as answer:
            return Reply(answer.status, {k.lower(): v for k, v in answer.headers.items()}, await answer.read())

    async def ready(self) -> dict[str, Any]:
        """Give what /ready says."""
        return (await self.get("/ready")).json


@dataclass
class Reply:
    """A whole answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    def __post_init__(self) -> None:
        self.headers = {name.lower(): value for name, value in self.headers.items()}

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        error: dict[str, Any] = self.json["error"]
        return error


class InProcessServer(RuntimeServer):
    """Leaves this process's signals alone, and stops without uvicorn's pauses; test_drain has the real thing."""

    ended: asyncio.Event
    """Set when it shall stop."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def main_loop(self) -> None:
        await self.ended.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for each in sockets or ():
            each.close()
        for task in list(self.server_state.tasks):
            task.cancel()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        await self.lifespan.shutdown()


@asynccontextmanager
async def run_runtime(*upstreams: Upstream, **settings: Any) -> AsyncIterator[Runtime]:
    """Serve in this process, with these providers, the first one preferred."""
    if upstreams:
        first, *others = upstreams
        settings = {
            "openai_compatible_name": first.name,
            "openai_compatible_base_url": first.url,
            "openai_compatible_default_model": MODEL,
            # A test shows a failure once; test_provider_choice has the retries.
            "openai_compatible_retries": 0,
            "providers": [
                {"name": each.name, "base_url": each.url, "default_model": MODEL, "retries": 0} for each in others
            ],
            **settings,
        }
    # Bound here and now, because a port that is only found free may be another's when the server binds it.
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    server = build_server(Settings.load(host="127.0.0.1", port=port, **settings))
    server.__class__ = InProcessServer
    ended = asyncio.Event()
    cast("InProcessServer", server).ended = ended
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        await eventually(lambda: server.started or serving.done())
        async with aiohttp.ClientSession() as client:
            runtime = Runtime(f"http://127.0.0.1:{port}", client, server)
            yield runtime
    finally:
        ended.set()
        await serving


async def eventually(condition: Callable[[], Any], seconds: float = PATIENCE_SECONDS) -> Any:
    """Wait until the condition, which may be a coroutine function, gives something true; give that."""
    pause = 0.01
    async with asyncio.timeout(seconds):
        while True:
            result = condition()
            if isinstance(result, Awaitable):
                result = await result
            if result:
                return result
            await asyncio.sleep(pause)
            # What takes long is not to be kept from its CPU by whoever waits for it.
            pause = min(pause * 1.2, 0.2)


async def cancelled(*tasks: asyncio.Task[Any]) -> None:
    """Let clients leave, and wait until they have."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class RuntimeProcess:
    """`assistant-runtime serve`, as a user starts it.

    Parameters
    ----------
    log
        File that takes its output.
    arguments
        Arguments of `serve`.
    variables
        Its environment, beside the variables that any program needs.
    """

    def __init__(self, log: Path, *arguments: str, **variables: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = log
        environment = clean_environment() | {"HOST": "127.0.0.1", "PORT": str(self.port)} | variables
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "assistant_runtime", "serve", *arguments],
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @property
    def output(self) -> str:
        """Everything it has written."""
        return self._log.read_text()

    def status(self, path: str) -> int:
        """Give the status of a GET; 0 where nothing listens."""
        try:
            with urllib.request.urlopen(f"{self.url}{path}", timeout=5) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code
        except OSError:
            return 0

    def refuses_connections(self) -> bool:
        """Whether nothing listens any more; a process that is slow to accept still listens."""
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_SECONDS).close()
        except ConnectionRefusedError:
            return True
        return False

    def wait_for(self, path: str, status: int) -> None:
        """Wait until a GET has that status."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self.status(path) != status:
            assert self.process.poll() is None, f"the runtime ended: {self.output}"
            assert time.monotonic() < deadline, f"{path} never answered {status}: {self.output}"
            time.sleep(0.02)

    def wait_for_stores(self) -> None:
        """Wait until it is ready and has its stores: it starts without one that takes longer than a moment."""
        self.wait_for("/ready", 200)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self._unprepared():
            assert time.monotonic() < deadline, f"not prepared in time: {self._unprepared()}"
            time.sleep(0.02)

    def _unprepared(self) -> set[str]:
        with urllib.request.urlopen(f"{self.url}/ready", timeout=PATIENCE_SECONDS) as answer:
            checks = json.load(answer)["checks"]
        return {name for name, check in checks.items() if check["status"] in {"starting", "preparing"}}


@contextmanager
def run_process(log: Path, *arguments: str, **variables: str) -> Iterator[RuntimeProcess]:
    """Start a runtime process, and end it afterwards."""
    runtime = RuntimeProcess(log, *arguments, **variables)
    try:
        yield runtime
    finally:
        runtime.process.kill()
        runtime.process.wait()


def clean_environment() -> dict[str, str]:
    """Give this process's environment without any of the runtime's settings."""
    ours = {name.upper() for name in Settings.model_fields}
    return {name: value for name, value in os.environ.items() if name.upper() not in ours}
