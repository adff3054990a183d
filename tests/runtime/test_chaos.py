"""A runtime under load behind a network that breaks: no answer 500, and nothing acknowledged is lost.

`make test` runs some seconds of it. `make chaos-runtime` runs two minutes a store, by CHAOS_SECONDS, and also holds how
soon a store is in use again after its faults: a time, which no other test has. CHAOS_SEED draws other faults.
"""

import asyncio
import json
import os
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import aiohttp
import pytest

from tests.support.chaos import ChaosProxy, Kind, chaos, storm
from tests.support.milvus import run_milvus, run_milvus_lite
from tests.support.mongodb import run_mongodb
from tests.support.postgresql import run_postgresql
from tests.support.redis import run_redis
from tests.support.runtime import QUESTION, RuntimeProcess, eventually, run_process
from tests.support.upstream import MODEL, Upstream

FULL = "CHAOS_SECONDS" in os.environ
SECONDS = float(os.environ.get("CHAOS_SECONDS", "10"))
SEED = int(os.environ.get("CHAOS_SEED", "1"))

RECOVERY_SECONDS = 5.0
"""From the last fault until the store is in use again."""

UNNOTICED_SECONDS = 5.0
"""And more where a connection is half open: nothing tells so before the time of a command or a probe is over."""

ADMIN = "admin-key-of-this-test"
ANSWERS = frozenset({200, 201, 202, 409, 503})
"""What a client may be answered: done, or told to send it again."""


@dataclass
class Store:
    """A store of the runtime's, behind a proxy."""

    check: str
    """Its name in /ready."""
    variables: Callable[[int], dict[str, str]]
    """The runtime's variables, for the proxy's port."""
    target: int
    """The server's port."""


def by_redis() -> Iterator[Store]:
    with run_redis() as server:
        yield Store("redis", lambda port: {"REDIS_URL": f"redis://127.0.0.1:{port}/0"}, server.port)


def by_mongodb() -> Iterator[Store]:
    with run_mongodb() as server:
        access = {"MONGODB_USERNAME": server.username, "MONGODB_PASSWORD": server.password, "AUDIT_ENABLED": "true"}
        yield Store("mongodb", lambda port: {"MONGODB_URL": f"mongodb://127.0.0.1:{port}", **access}, server.port)


def by_postgresql() -> Iterator[Store]:
    with run_postgresql() as server:
        access = {"DATABASE_USERNAME": server.username, "DATABASE_PASSWORD": server.password, "AUDIT_ENABLED": "true"}
        url = f"postgresql://127.0.0.1:{{}}/{server.database}"
        yield Store("database", lambda port: {"DATABASE_URL": url.format(port), **access}, server.port)


def by_milvus() -> Iterator[Store]:
    """Milvus itself for the full time; it takes long to start, and so Milvus Lite's server for seconds."""
    with run_milvus() if FULL else run_milvus_lite() as server:
        access = {"MILVUS_USERNAME": "root", "MILVUS_PASSWORD": "Milvus"} if FULL else {}
        yield Store("milvus", lambda port: {"MILVUS_URL": f"http://127.0.0.1:{port}", **access}, server.port)


STORES = {"redis": by_redis, "mongodb": by_mongodb, "postgresql": by_postgresql, "milvus": by_milvus}


@pytest.fixture(params=list(STORES))
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    yield from STORES[request.param]()


@dataclass
class Load:
    """Clients of all kinds, each going on until it is told to stop."""

    runtime: RuntimeProcess
    client: aiohttp.ClientSession
    statuses: Counter[int] = field(default_factory=Counter)
    kept: dict[str, set[str]] = field(default_factory=lambda: {"messages": set(), "keys": set(), "documents": set()})
    """What was acknowledged, by kind."""
    session: str = ""
    stopping: bool = False

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        headers = {"authorization": f"Bearer {ADMIN}", **{name.replace("_", "-"): it for name, it in headers.items()}}
        url = f"{self.runtime.url}{path}"
        async with self.client.request(method, url, json=body, headers=headers) as answer:
            self.statuses[answer.status] += 1
            text = await answer.text()
            assert answer.status in ANSWERS, f"{method} {path}: {answer.status} {text}"
            return answer.status, json.loads(text)

    async def write(self, kind: str, name: str) -> bool:
        """Try one write, noting it once it is acknowledged."""
        status, told = await self._writes[kind](self, name)
        if status in (409, 503) or told.get("status") == "reading":
            return False
        self.kept[kind].add(name)
        return True

    async def _append(self, name: str) -> tuple[int, Any]:
        body = {"messages": [{"role": "user", "content": name}, {"role": "assistant", "content": name}]}
        return await self.ask("POST", f"/v1/sessions/{self.session}/messages", body, idempotency_key=name)

    async def _key(self, name: str) -> tuple[int, Any]:
        return await self.ask("POST", "/v1/keys", {"name": name, "user": "ann"})

    async def _document(self, name: str) -> tuple[int, Any]:
        return await self.ask("POST", "/v1/documents", {"name": name, "text": name, "media_type": "text/plain"})

    _writes: ClassVar[dict[str, Callable[["Load", str], Awaitable[tuple[int, Any]]]]] = {
        "messages": _append,
        "keys": _key,
        "documents": _document,
    }

    async def writing(self, kind: str, writer: int) -> None:
        """Write one thing after the other, each until it is acknowledged, as a client does."""
        number = 0
        while not self.stopping:
            number += await self.write(kind, f"{kind}-{writer}-{number}")
            await asyncio.sleep(0.02)

    async def chatting(self, writer: int) -> None:
        number = 0
        while not self.stopping:
            number += 1
            asked = {**QUESTION, "user": f"{writer}-{number % 7}", "assistant": {"session": self.session}}
            await self.ask("POST", "/v1/chat/completions", asked if number % 2 and self.session else QUESTION)
            await asyncio.sleep(0.02)

    async def reading(self, *paths: str) -> None:
        while not self.stopping:
            for path in paths:
                await self.ask("GET", path)
            await asyncio.sleep(0.02)

    async def searching(self) -> None:
        while not self.stopping:
            await self.ask("POST", "/v1/search", {"query": "documents-0-0"})
            await asyncio.sleep(0.02)

    async def ready(self) -> dict[str, Any]:
        """Give what /ready says; the pod answers all the while."""
        async with self.client.get(f"{self.runtime.url}/ready") as answer:
            assert answer.status == 200, await answer.text()
            checks: dict[str, Any] = (await answer.json())["checks"]
            return checks


def clients(load: Load, check: str) -> list[Awaitable[None]]:
    """Give the load on a store: who writes, who reads, who chats."""
    if check == "milvus":
        writers = [load.writing("documents", writer) for writer in range(2)]
        return [*writers, load.searching(), load.reading("/v1/documents"), load.chatting(0)]
    mixed = [*(load.writing("messages", writer) for writer in range(3)), load.reading("/v1/sessions", "/v1/agents")]
    if check == "database":
        mixed += [load.writing("keys", 0), load.reading("/v1/keys", "/v1/usage")]
    return [*mixed, *(load.chatting(writer) for writer in range(3))]


def kind_of(check: str) -> str:
    return "documents" if check == "milvus" else "messages"


async def in_use(load: Load, check: str, attempts: Iterator[int]) -> bool:
    """Tell whether a store is up, and takes a write; a document, which takes seconds to read, is only looked for."""
    if (await load.ready())[check]["status"] != "up":
        return False
    if check == "milvus":
        return (await load.ask("POST", "/v1/search", {"query": "after"}))[0] == 200
    return await load.write("messages", f"after-{next(attempts)}")


async def weather(load: Load, proxy: ChaosProxy, check: str) -> tuple[list[float], list[str]]:
    """Let faults come, some together; gives how long the store took after each group of them, and what was too long."""
    chance, faults, attempts = random.Random(SEED), storm(SEED), iter(range(10**9))
    recoveries: list[float] = []
    slow: list[str] = []
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        group = [next(faults) for _ in range(chance.randint(1, 3))]
        for fault in group:
            await asyncio.to_thread(proxy.strike, fault)
            await asyncio.sleep(fault.seconds or chance.uniform(0.05, 0.5))
        await asyncio.to_thread(proxy.calm)
        calm = time.monotonic()
        await eventually(lambda: in_use(load, check, attempts))
        recoveries.append(time.monotonic() - calm)
        half_open = any(fault.kind == Kind.FORGET for fault in group)
        if recoveries[-1] > RECOVERY_SECONDS + UNNOTICED_SECONDS * half_open:
            slow.append(f"{check}: {recoveries[-1]:.1f} s after {[(str(each.kind), each.seconds) for each in group]}")
        await asyncio.sleep(chance.uniform(0.1, 0.8))
    return recoveries, slow


async def test_a_store_behind_a_network_that_breaks(upstream: Upstream, store: Store, tmp_path: Path) -> None:
    with chaos(store.target, SEED) as proxy:
        variables = {
            **store.variables(proxy.port),
            "OPENAI_COMPATIBLE_BASE_URL": upstream.url,
            "OPENAI_COMPATIBLE_DEFAULT_MODEL": MODEL,
            "EMBEDDING_PROVIDER": "provider",
            "EMBEDDING_MODEL": "embed",
            "API_KEYS": ADMIN,
            "SECRET_KEY": "s" * 32,
            "RATE_LIMIT_REQUESTS": "100000",
            "SESSION_MAX_MESSAGES": "1000000",
            "TOKEN_BUDGET_DAILY": "1000000000",
        }
        with run_process(tmp_path / "log", **variables) as runtime:
            await asyncio.to_thread(runtime.wait_for, "/ready", 200)
            async with aiohttp.ClientSession() as client:
                load = Load(runtime, client)
                recoveries, slow = await under_load(load, proxy, store.check)
                await nothing_is_lost(load, store.check)
                await no_task_ended(load)
        assert "unhandled_error" not in runtime.output
        report(store.check, load, recoveries)
    assert not (FULL and slow), slow


async def under_load(load: Load, proxy: ChaosProxy, check: str) -> tuple[list[float], list[str]]:
    await eventually(lambda: is_up(load, check))
    if check != "milvus":
        load.session = (await load.ask("POST", "/v1/sessions", {}))[1]["id"]
    await eventually(lambda: load.write(kind_of(check), "before"))  # which makes Milvus' collections
    working = [asyncio.ensure_future(each) for each in clients(load, check)]
    try:
        found = await weather(load, proxy, check)
    finally:
        load.stopping = True
        await asyncio.gather(*working)
    return found


async def is_up(load: Load, check: str) -> bool:
    return bool((await load.ready())[check]["status"] == "up")


async def nothing_is_lost(load: Load, check: str) -> None:
    """Whatever was acknowledged is there, once."""
    if check == "milvus":
        listed = (await load.ask("GET", "/v1/documents?limit=1000"))[1]["data"]
        found = Counter(each["name"] for each in listed)
        assert load.kept["documents"] <= set(found)
        assert set(found.values()) == {1}
        return
    appended = Counter(
        each["message"]["content"] for each in await pages(load, f"/v1/sessions/{load.session}/messages")
    )
    assert load.kept["messages"] <= set(appended)
    assert {appended[name] for name in load.kept["messages"]} == {2}, "a question and an answer each"
    if check == "database":
        assert load.kept["keys"] <= {each["name"] for each in await pages(load, "/v1/keys")}


async def pages(load: Load, path: str) -> list[dict[str, Any]]:
    """List everything, page by page."""
    found: list[dict[str, Any]] = []
    after: Any = ""
    while after is not None:
        page = (await load.ask("GET", f"{path}?limit=100" + (f"&after={after}" if after else "")))[1]
        found += page["data"]
        after = page["next"]
    return found


async def no_task_ended(load: Load) -> None:
    async with load.client.get(f"{load.runtime.url}/metrics") as answer:
        lines = (await answer.text()).splitlines()
    tasks = [line for line in lines if line.startswith("background_task_")]
    assert tasks
    ended = [line for line in tasks if line.startswith("background_task_restarts_total") and not line.endswith(" 0.0")]
    assert ended == []
    assert all(line.endswith(" 1.0") for line in tasks if line.startswith("background_task_up"))


def report(check: str, load: Load, recoveries: list[float]) -> None:
    kept = {kind: len(names) for kind, names in load.kept.items() if names}
    worst, median = max(recoveries), sorted(recoveries)[len(recoveries) // 2]
    tell(f"{check}: seed {SEED}, {SECONDS:.0f} s, {len(recoveries)} groups of faults")
    tell(f"  in use again after {median:.2f} s (median), {worst:.2f} s (longest)")
    tell(f"  answers {dict(load.statuses)}; acknowledged and found {kept}")


def tell(line: str) -> None:
    print(line)  # noqa: T201 - what `make chaos-runtime` is run for
