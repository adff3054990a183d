"""What a drain cuts is kept: turns in their sessions, budgets settled, usage in the ledger, before any store closes."""

import asyncio
import json
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest
from aiohttp import web

from tests.support.postgresql import PostgresServer
from tests.support.redis import RedisServer
from tests.support.runtime import PATIENCE_SECONDS, QUESTION, RuntimeProcess, run_process
from tests.support.upstream import MODEL, WORDS, Upstream, chunk, completion, sse

STREAMS = 5
BUDGET = 1_000_000
HOLD = 1024
"""Tokens that a request holds at least until it is settled."""
KEY = "alice-0123456789"
TURN = [("user", QUESTION["messages"][0]["content"], False), ("assistant", WORDS[0], True)]
"""What a session holds of a turn that was cut after its first word: role, text, whether it is incomplete."""


@asynccontextmanager
async def serving(
    upstream: Upstream, postgresql: PostgresServer, redis: RedisServer, log: Path, **more: str
) -> AsyncIterator[RuntimeProcess]:
    variables = {
        "OPENAI_COMPATIBLE_BASE_URL": upstream.url,
        "OPENAI_COMPATIBLE_DEFAULT_MODEL": MODEL,
        "SECRET_KEY": "0123456789abcdef0123456789abcdef",
        "API_KEYS": KEY,
        "DATABASE_URL": postgresql.url,
        "DATABASE_USERNAME": postgresql.username,
        "DATABASE_PASSWORD": postgresql.password,
        "REDIS_URL": redis.url,
        "DRAIN_DELAY_SECONDS": "0",
        "LOG_FORMAT": "json",
        **more,
    }
    with run_process(log, **variables) as runtime:
        await asyncio.to_thread(runtime.wait_for_stores)
        yield runtime


@asynccontextmanager
async def client_of(runtime: RuntimeProcess) -> AsyncIterator[aiohttp.ClientSession]:
    headers = {"authorization": f"Bearer {KEY}"}
    connector = aiohttp.TCPConnector(socket_factory=_small)
    async with aiohttp.ClientSession(runtime.url, headers=headers, connector=connector) as client:
        yield client


def _small(address: Any) -> socket.socket:
    """Make a socket for which the system keeps little, so that what is not read waits at its sender."""
    family, kind, protocol, _, _ = address
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    return made


async def sessions_with_streams(
    stack: AsyncExitStack, runtime: RuntimeProcess
) -> tuple[list[str], list[aiohttp.ClientResponse]]:
    """Begin sessions, and in each a stream whose first word has come."""
    sessions, streams = [], []
    for _ in range(STREAMS):
        client = await stack.enter_async_context(client_of(runtime))
        async with client.post("/v1/sessions", json={}) as begun:
            sessions.append((await begun.json())["id"])
        body = {**QUESTION, "stream": True, "assistant": {"session": sessions[-1]}}
        stream = await client.post("/v1/chat/completions", json=body)
        stack.callback(stream.close)
        await stream.content.readuntil(b"\n\n")
        streams.append(stream)
    return sessions, streams


async def last_words(stream: aiohttp.ClientResponse) -> bytes:
    """Read until the event that tells of the end."""
    rest = b""
    while b"server_shutting_down" not in rest:
        rest += await stream.content.readany()
    return rest


async def turns_in(runtime: RuntimeProcess, sessions: list[str]) -> list[list[tuple[str, str, bool]]]:
    found = []
    async with client_of(runtime) as client:
        for session in sessions:
            async with client.get(f"/v1/sessions/{session}/messages") as answer:
                messages = (await answer.json())["data"]
            found.append(
                [(each["message"]["role"], each["message"]["content"], each["incomplete"]) for each in messages]
            )
    return found


async def ended(runtime: RuntimeProcess) -> int:
    return await asyncio.to_thread(runtime.process.wait, PATIENCE_SECONDS)


async def first_word(upstream: Upstream, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    """Stream one word with the tokens so far, as some providers do, and nothing more."""
    response = await sse(request)
    event = json.loads(chunk(body["model"], WORDS[0]).removeprefix(b"data: ")) | {"usage": completion(MODEL)["usage"]}
    await response.write(b"data: " + json.dumps(event).encode() + b"\n\n")
    await asyncio.Event().wait()
    raise AssertionError("unreachable")


async def test_turns_are_kept_budgets_settled_and_usage_written(
    upstream: Upstream, postgresql: PostgresServer, redis: RedisServer, tmp_path: Path
) -> None:
    upstream.script = [first_word] * STREAMS
    more = {"SHUTDOWN_GRACE_SECONDS": "1", "TOKEN_BUDGET_DAILY": str(BUDGET)}
    async with AsyncExitStack() as stack:
        process = await stack.enter_async_context(serving(upstream, postgresql, redis, tmp_path / "first", **more))
        sessions, streams = await sessions_with_streams(stack, process)
        process.process.send_signal(signal.SIGTERM)
        await asyncio.gather(*(last_words(stream) for stream in streams))
        assert await ended(process) == 0
    async with serving(upstream, postgresql, redis, tmp_path / "second", **more) as process:
        assert await turns_in(process, sessions) == [TURN] * STREAMS
        async with client_of(process) as client:
            async with client.get("/v1/usage") as answer:
                usage = await answer.json()
            async with client.post("/v1/chat/completions", json=QUESTION) as answer:
                left = int(answer.headers["x-ratelimit-remaining-tokens"])
    assert [(row["requests"], row["input_tokens"], row["model"]) for row in usage["data"]] == [(5, 70, MODEL)]
    assert left > BUDGET - STREAMS * HOLD, "what the cut streams held was given back but for what they took"


@pytest.mark.parametrize("signals", [1, 2], ids=["end of the grace", "second signal"])
async def test_a_slow_store_gets_its_time(
    upstream: Upstream, postgresql: PostgresServer, redis: RedisServer, tmp_path: Path, signals: int
) -> None:
    upstream.script = [first_word] * STREAMS
    more = {"SHUTDOWN_GRACE_SECONDS": "1" if signals == 1 else "600"}
    async with AsyncExitStack() as stack:
        process = await stack.enter_async_context(serving(upstream, postgresql, redis, tmp_path / "first", **more))
        sessions, streams = await sessions_with_streams(stack, process)
        async with locked(postgresql):
            process.process.send_signal(signal.SIGTERM)
            if signals > 1:
                await asyncio.to_thread(process.wait_for, "/ready", 503)
                process.process.send_signal(signal.SIGTERM)
            await asyncio.gather(*(last_words(stream) for stream in streams))
            for stream in streams:
                # As clients do once they have heard of the end.
                stream.close()
        assert await ended(process) == signals - 1
    async with serving(upstream, postgresql, redis, tmp_path / "second", **more) as process:
        assert await turns_in(process, sessions) == [TURN] * STREAMS


@asynccontextmanager
async def locked(postgresql: PostgresServer) -> AsyncIterator[None]:
    """Let every write of a turn wait."""
    connection = await asyncpg.connect(postgresql.url, user=postgresql.username, password=postgresql.password)
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE assistant_session_units IN EXCLUSIVE MODE")
            yield
    finally:
        await connection.close()


async def test_every_worker_keeps_what_it_cuts(
    upstream: Upstream, postgresql: PostgresServer, redis: RedisServer, tmp_path: Path
) -> None:
    upstream.script = [first_word] * STREAMS
    more = {"SHUTDOWN_GRACE_SECONDS": "1", "WORKERS": "2"}
    async with AsyncExitStack() as stack:
        process = await stack.enter_async_context(serving(upstream, postgresql, redis, tmp_path / "first", **more))
        sessions, streams = await sessions_with_streams(stack, process)
        process.process.send_signal(signal.SIGTERM)
        await asyncio.gather(*(last_words(stream) for stream in streams))
        assert await ended(process) == 0
    async with serving(upstream, postgresql, redis, tmp_path / "second") as process:
        assert await turns_in(process, sessions) == [TURN] * STREAMS


async def test_who_does_not_read_delays_nobody(
    upstream: Upstream, postgresql: PostgresServer, redis: RedisServer, tmp_path: Path
) -> None:
    upstream.script = [first_word] * (STREAMS - 1) + [flood]
    async with AsyncExitStack() as stack:
        more = {"SHUTDOWN_GRACE_SECONDS": "1"}
        process = await stack.enter_async_context(serving(upstream, postgresql, redis, tmp_path / "first", **more))
        sessions, streams = await sessions_with_streams(stack, process)
        await asyncio.wait_for(upstream.started.wait(), PATIENCE_SECONDS)
        process.process.send_signal(signal.SIGTERM)
        await asyncio.gather(*(last_words(stream) for stream in streams[:-1]))
        assert await ended(process) == 0
    async with serving(upstream, postgresql, redis, tmp_path / "second") as process:
        *others, unread = await turns_in(process, sessions)
    assert others == [TURN] * (STREAMS - 1)
    assert [(role, incomplete) for role, _, incomplete in unread] == [("user", False), ("assistant", True)]


async def flood(upstream: Upstream, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    """Stream until nobody takes any more."""
    response = await sse(request)
    word = chunk(body["model"], "x" * 65_536)
    while True:
        try:
            async with asyncio.timeout(1):
                await response.write(word)
        except TimeoutError:
            upstream.started.set()
            await asyncio.Event().wait()
