"""Documents over the API, with a real embedding model: the same on Milvus 2.3, Milvus Lite's server, and a file."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from assistant_runtime.api.documents import AT_ONCE_BYTES
from assistant_runtime.errors import ApiError, ToolError
from assistant_runtime.rag.collections import Collections, Scope
from assistant_runtime.rag.documents import Upload
from assistant_runtime.rag.library import library_of
from assistant_runtime.rag.local_embedder import LocalEmbedder
from assistant_runtime.security.accounts import Account
from assistant_runtime.security.principal import Principal
from assistant_runtime.security.spending import Budgets
from assistant_runtime.settings import Settings
from assistant_runtime.stores.budgets import MemoryBudgets
from assistant_runtime.tools.base import ToolCall
from assistant_runtime.tools.retrieval import SearchDocuments
from tests.support.milvus import MilvusLiteServer, MilvusServer, run_milvus, run_milvus_lite
from tests.support.runtime import Reply, Runtime, eventually, run_runtime
from tests.support.server import free_port

LEAVE = "# Leave\n\nParents may take twelve weeks of paid leave after a birth.\n"
ROOMS = LEAVE + "\n" * AT_ONCE_BYTES + "\n\n".join(f"Room {number} is on floor {number % 7}." for number in range(100))
"""Long, and yet of few passages: each takes the model about a second."""
TRAVEL = "# Travel\n\nTrains are booked by the travel desk; code TR-4711 is for night trains.\n"


@pytest.fixture(scope="module")
def milvus() -> Iterator[MilvusServer]:
    with run_milvus() as server:
        yield server


@pytest.fixture(scope="module")
def lite() -> Iterator[MilvusLiteServer]:
    with run_milvus_lite() as server:
        yield server


@pytest.fixture(params=["milvus", "lite", "file"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """Settings of a store of documents, empty for each test."""
    name = "test_" + request.node.name.replace("[", "_").replace("]", "").replace("-", "_")[-80:]
    if request.param == "file":
        return {"data_dir": str(tmp_path), "milvus_collection": name}
    return settings_of(request.getfixturevalue(request.param), name)


@pytest.fixture(params=["milvus", "lite"])
def server_store(request: pytest.FixtureRequest) -> tuple[Any, dict[str, Any]]:
    """A server that may be killed, and settings of a store on it."""
    server = request.getfixturevalue(request.param)
    return server, settings_of(server, "killed")


def settings_of(server: Any, collection: str) -> dict[str, Any]:
    settings = {"milvus_url": server.url, "milvus_collection": collection}
    if isinstance(server, MilvusServer):
        settings |= {"milvus_username": server.username, "milvus_password": server.password}
    return settings


@asynccontextmanager
async def serving(**settings: Any) -> AsyncIterator[Runtime]:
    async with run_runtime(rate_limit_enabled=False, **settings) as runtime:
        await eventually(lambda: milvus_is(runtime, "up", "embedded"))
        yield runtime


async def milvus_is(runtime: Runtime, *statuses: str) -> bool:
    return (await runtime.ready())["checks"]["milvus"]["status"] in statuses


async def send(runtime: Runtime, method: str, path: str, body: Any = None, key: str = "") -> Reply:
    headers = {"authorization": f"Bearer {key}"} if key else {}
    data = body if body is None or isinstance(body, aiohttp.FormData) else json.dumps(body)
    async with runtime.client.request(method, f"{runtime.url}{path}", data=data, headers=headers) as answer:
        return Reply(answer.status, dict(answer.headers), await answer.read())


def connections(port: int) -> int:
    """Count the open connections to a port."""
    opened = "01"
    # gRPC's are all of IPv6's family.
    rows = [line.split() for family in ("tcp", "tcp6") for line in Path("/proc/net", family).read_text().splitlines()]
    return sum(remote.endswith(f":{port:04X}") and state == opened for _, _, remote, state, *_ in rows)


async def keep(runtime: Runtime, name: str, text: str, key: str = "") -> Reply:
    body = {"name": name, "text": text, "media_type": "text/markdown", "source": f"https://docs.example.com/{name}"}
    return await send(runtime, "POST", "/v1/documents", body, key)


async def search(runtime: Runtime, query: str, key: str = "", **more: Any) -> Any:
    reply = await send(runtime, "POST", "/v1/search", {"query": query, **more}, key)
    assert reply.status == 200, reply.body
    return reply.json


async def test_a_document_is_found_with_its_source_and_span_until_it_is_deleted(store: dict[str, Any]) -> None:
    async with serving(**store) as runtime:
        kept = await keep(runtime, "leave.md", LEAVE)
        assert (kept.status, kept.json["status"], kept.json["title"]) == (201, "ready", "Leave")
        await keep(runtime, "travel.md", TRAVEL)
        answer = await search(runtime, "How long can a mother stay at home?", limit=1)
        [passage] = answer["data"]
        start, end = passage["span"]
        assert LEAVE[start:end] == passage["text"]
        assert passage["document"]["source"] == "https://docs.example.com/leave.md"
        assert answer["retrieval"] == ("dense" if store.get("milvus_username") else "hybrid")
        only = await search(runtime, "leave", documents=[(await keep(runtime, "travel.md", TRAVEL)).json["id"]])
        assert {each["document"]["name"] for each in only["data"]} == {"travel.md"}

        path = f"/v1/documents/{kept.json['id']}"
        assert (await runtime.get(path)).json["passages"] == 1
        assert (await send(runtime, "DELETE", path)).json["deleted"] is True
        assert (await runtime.get(path)).status == 404
        assert (await send(runtime, "DELETE", path)).status == 404
        left = await search(runtime, "leave")
        assert {each["document"]["name"] for each in left["data"]} == {"travel.md"}

        again = await keep(runtime, "leave.md", LEAVE)
        assert (again.status, again.json["id"]) == (201, kept.json["id"])
        back = await search(runtime, "How long can a mother stay at home?")
        assert [each["document"]["name"] for each in back["data"]] == ["leave.md", "travel.md"], "each is there once"


async def test_sending_again_changes_nothing_and_sending_other_content_replaces(store: dict[str, Any]) -> None:
    async with serving(**store) as runtime:
        assert [(await keep(runtime, "a", LEAVE)).status for _ in range(3)] == [201, 200, 200]
        assert len((await search(runtime, "leave"))["data"]) == 1
        replaced = await keep(runtime, "a", TRAVEL)
        assert replaced.status == 201
        assert [each["text"] for each in (await search(runtime, "leave"))["data"]] == [TRAVEL.strip()]
        listed = (await runtime.get("/v1/documents")).json
        assert [each["id"] for each in listed["data"]] == [replaced.json["id"]]


async def test_an_interrupted_upload_leaves_the_former_content_and_is_repaired_by_the_next(
    store: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(**store) as runtime:
        await keep(runtime, "a", LEAVE)
        for step in ("count", "put_record", "drop_passages"):
            with monkeypatch.context() as patch:
                patch.setattr(Collections, step, _crash)
                assert (await keep(runtime, "a", TRAVEL + step)).status == 500
            found = [each["text"] for each in (await search(runtime, "leave"))["data"]]
            assert len(found) == 1, f"after a crash at {step}"
            assert (await keep(runtime, "a", TRAVEL)).status in {200, 201}
            assert [each["text"] for each in (await search(runtime, "leave"))["data"]] == [TRAVEL.strip()]


async def _crash(*_: Any, **__: Any) -> None:
    raise RuntimeError("the process dies here")


async def test_a_clock_that_is_behind_takes_nothing_away(
    server_store: tuple[Any, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a replica that takes the second version soon after another took the first."""
    settings = {**server_store[1], "milvus_collection": "behind"}
    async with serving(**settings) as runtime:
        assert (await keep(runtime, "a", LEAVE)).status == 201
        behind = time.time_ns() - 60 * 10**9
        monkeypatch.setattr(time, "time_ns", lambda: behind)
        assert (await keep(runtime, "a", TRAVEL)).status == 201
        assert [each["text"] for each in (await search(runtime, "leave"))["data"]] == [TRAVEL.strip()]


async def test_of_two_replicas_that_take_one_document_at_once_neither_takes_away_what_counts(
    server_store: tuple[Any, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {**server_store[1], "milvus_collection": "at_once", "secret_key": "s" * 32}
    tidies, goes_on = asyncio.Event(), asyncio.Event()
    drop = Collections.drop_passages

    async def first_waits(*arguments: Any, **options: Any) -> None:
        if not tidies.is_set():
            tidies.set()
            await goes_on.wait()
        await drop(*arguments, **options)

    monkeypatch.setattr(Collections, "drop_passages", first_waits)
    async with serving(**settings) as one, serving(**settings) as other:
        first = asyncio.create_task(keep(one, "a", LEAVE))
        await tidies.wait()
        assert (await keep(other, "a", TRAVEL)).status == 201
        goes_on.set()
        assert (await first).status == 201
        for runtime in (one, other):
            assert [each["text"] for each in (await search(runtime, "leave"))["data"]] == [TRAVEL.strip()]


async def test_nobody_sees_another_tenants_documents(store: dict[str, Any]) -> None:
    async with serving(api_keys=("key-of-one", "key-of-two"), **store) as runtime:
        own = (await keep(runtime, "a", LEAVE, "key-of-one")).json["id"]
        other = (await keep(runtime, "a", TRAVEL, "key-of-two")).json["id"]
        assert own != other
        found = await search(runtime, TRAVEL[:500], "key-of-one")
        assert {each["document"]["id"] for each in found["data"]} == {own}
        assert (await search(runtime, "travel", "key-of-one", documents=[other]))["data"] == []
        for method in ("GET", "DELETE"):
            assert (await send(runtime, method, f"/v1/documents/{other}", key="key-of-one")).status == 404
        assert (await send(runtime, "GET", f"/v1/documents/{other}", key="key-of-two")).status == 200
        listed = (await send(runtime, "GET", "/v1/documents", key="key-of-one")).json["data"]
        assert [each["id"] for each in listed] == [own]


INJECTIONS = ('doc_" or tenant != "', '"] or tenant in ["', "doc_" + "0" * 32 + "\n", "%", "doc_" + "A" * 32, "")


@pytest.mark.parametrize("text", INJECTIONS)
def test_no_text_from_outside_gets_into_a_filter(text: str) -> None:
    with pytest.raises(ApiError) as refused:
        Scope("tenant", (text,))
    assert refused.value.status == 400
    assert text not in Scope(text or "x").expression.replace(Scope(text or "x").key, "") or not text.strip('%"')


async def test_hostile_names_and_queries_are_only_text(store: dict[str, Any]) -> None:
    async with serving(**store) as runtime:
        for name in ('" or 1==1 or "', "../../etc/passwd", "名前 😀", "a" * 500):
            assert (await keep(runtime, name, LEAVE)).status == 201
        for query in ('") or (tenant != "', "AND OR NOT +-*?:()[]{}^~\\/", "\u0000", "😀" * 1000):
            assert len((await search(runtime, query, limit=10))["data"]) == 4


async def test_a_long_document_is_read_in_the_background(store: dict[str, Any]) -> None:
    async with serving(**store) as runtime:
        begun = await keep(runtime, "rooms.md", ROOMS)
        assert (begun.status, begun.json["status"]) == (202, "processing")
        path = f"/v1/documents/{begun.json['id']}"

        async def ended() -> Any:
            record = (await runtime.get(path)).json
            return record if record["status"] != "processing" else None

        record = await eventually(ended)
        assert (record["status"], record["error"]) == ("ready", None)
        found = (await search(runtime, "Which floor?", limit=50))["data"]
        assert len(found) == record["passages"]
        assert all(ROOMS[each["span"][0] : each["span"][1]] == each["text"] for each in found)


async def test_the_first_documents_may_come_together(store: dict[str, Any]) -> None:
    """Nothing is open yet: neither client, nor collections, nor model."""
    async with serving(**store) as runtime:
        replies = await asyncio.gather(*(keep(runtime, f"{number}", f"{LEAVE}{number}") for number in range(4)))
        assert [reply.status for reply in replies] == [201] * 4
        assert len((await search(runtime, "leave"))["data"]) == 4
        replaced = (await keep(runtime, "0", f"{LEAVE} again")).json["id"]
        pages, after = [], ""
        while True:
            page = (await runtime.get(f"/v1/documents?limit=2&after={after}")).json
            pages.append([each["id"] for each in page["data"]])
            if not page["has_more"]:
                break
            after = pages[-1][-1]
        listed = [each["id"] for each in (await runtime.get("/v1/documents")).json["data"]]
        assert pages == [listed[:2], listed[2:]]
        assert (listed[0], set(listed)) == (replaced, {reply.json["id"] for reply in replies})


async def test_files_are_uploaded_as_forms(lite: MilvusLiteServer) -> None:
    async with serving(milvus_url=lite.url, milvus_collection="forms") as runtime:

        def form(name: str, content: bytes, **fields: str) -> aiohttp.FormData:
            made = aiohttp.FormData(fields)
            made.add_field("file", content, filename=name)
            return made

        sent = await send(runtime, "POST", "/v1/documents", form("leave.md", LEAVE.encode(), source="intranet"))
        assert (sent.status, sent.json["media_type"], sent.json["source"]) == (201, "text/markdown", "intranet")
        table = await send(runtime, "POST", "/v1/documents", form("leave.csv", b"parent,weeks\nany,12\n"))
        assert (table.status, table.json["media_type"]) == (201, "text/plain")
        broken = await send(runtime, "POST", "/v1/documents", form("a.pdf", b"%PDF-1.4 nothing"))
        assert (broken.status, broken.error["code"]) == (422, "unreadable_document")
        unknown = await send(runtime, "POST", "/v1/documents", form("a.exe", b"MZ\x90\0\3"))
        assert (unknown.status, unknown.error["code"]) == (415, "unsupported_document")
        nothing = await send(runtime, "POST", "/v1/documents", aiohttp.FormData({"name": "a"}))
        assert nothing.status in {400, 415}


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/v1/search", {"query": ""}, "query"),
        ("/v1/search", {"query": "a", "limit": 51}, "limit"),
        ("/v1/search", {"query": "a", "documents": ["x"]}, "documents"),
        ("/v1/search", {"query": "a", "filter": "1 == 1"}, "filter"),
        ("/v1/documents", {"name": "a"}, "text"),
        ("/v1/documents", {"name": "a", "text": "b", "media_type": "application/x-sh"}, "media_type"),
        ("/v1/rerank", {"query": "a", "documents": []}, "documents"),
        ("/v1/rerank", {"query": "a", "documents": [{"no": "text"}]}, "documents[0]"),
    ],
)
async def test_a_bad_request_names_its_field(path: str, body: Any, param: str, lite: MilvusLiteServer) -> None:
    async with serving(milvus_url=lite.url, milvus_collection="bad") as runtime:
        refused = await send(runtime, "POST", path, body)
    assert (refused.status, refused.error["param"]) == (400, param)


async def test_another_embedding_model_is_an_error_with_the_remedy(
    store: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(**store) as runtime:
        await keep(runtime, "a", LEAVE)
    monkeypatch.setattr("assistant_runtime.rag.local_embedder.LocalEmbedder.model", "local/other")
    async with serving(**store) as runtime:
        refused = await send(runtime, "POST", "/v1/search", {"query": "leave"})
    assert (refused.status, refused.error["code"]) == (409, "embedding_model_changed")
    assert "MILVUS_COLLECTION" in refused.error["message"]


async def test_documents_stay_when_the_runtime_starts_again(store: dict[str, Any]) -> None:
    settings = {"secret_key": "0123456789abcdef0123", **store}
    async with serving(**settings) as runtime:
        await keep(runtime, "a", LEAVE)
    async with serving(**settings) as runtime:
        assert len((await search(runtime, "leave"))["data"]) == 1


async def test_without_a_store_the_answer_says_what_to_set() -> None:
    async with run_runtime() as runtime:
        for method, path in (("POST", "/v1/search"), ("GET", "/v1/documents")):
            refused = await send(runtime, method, path, {"query": "a"} if method == "POST" else None)
            assert (refused.status, refused.error["code"]) == (501, "documents_not_configured")
            assert "MILVUS_URL" in refused.error["message"]
        assert "milvus" not in (await runtime.ready())["checks"]


async def test_rerank_by_the_embedding_model_says_so(lite: MilvusLiteServer) -> None:
    async with serving(milvus_url=lite.url) as runtime:
        asked = {"query": "capital of France", "documents": ["Rome is in Italy.", {"text": "Paris is in France."}]}
        answer = (await send(runtime, "POST", "/v1/rerank", {**asked, "top_n": 1})).json
    assert answer["method"] == "bi-encoder"
    assert [(each["index"], each["document"]["text"]) for each in answer["results"]] == [(1, "Paris is in France.")]


async def test_too_many_documents_are_refused(lite: MilvusLiteServer) -> None:
    async with serving(milvus_url=lite.url, milvus_collection="many", retrieval_max_documents=1) as runtime:
        assert (await keep(runtime, "a", LEAVE)).status == 201
        refused = await keep(runtime, "b", LEAVE)
        assert (refused.status, refused.error["code"]) == (409, "too_many_documents")
        assert (await keep(runtime, "a", TRAVEL)).status == 201


async def test_a_milvus_that_is_down_degrades_and_names_itself() -> None:
    async with run_runtime(
        milvus_url=f"http://127.0.0.1:{free_port()}", milvus_username="root", milvus_password="geheim"
    ) as runtime:
        await eventually(lambda: milvus_is(runtime, "down"))
        ready = await runtime.get("/ready")
        refused = await send(runtime, "POST", "/v1/search", {"query": "leave"})
    assert "milvus" in ready.json["degraded"]
    assert (refused.status, refused.error["code"]) == (503, "store_unavailable")
    assert b"geheim" not in ready.body + refused.body


async def test_a_runtime_that_ended_keeps_no_connection(server_store: tuple[Any, dict[str, Any]]) -> None:
    server, settings = server_store
    async with serving(**settings) as runtime:
        await keep(runtime, "leave.md", LEAVE)
        assert connections(server.port) > 0
    await eventually(lambda: connections(server.port) == 0)


async def test_a_milvus_killed_under_load_comes_back_with_everything(server_store: tuple[Any, dict[str, Any]]) -> None:
    server, settings = server_store
    async with serving(**settings) as runtime:
        for number in range(3):
            assert (await keep(runtime, f"{number}", f"{LEAVE} {number}")).status == 201
        statuses: list[int] = []
        stop = asyncio.Event()

        async def ask_on() -> None:
            while not stop.is_set():
                reply = await send(runtime, "POST", "/v1/search", {"query": "leave"})
                statuses.append(reply.status)
                assert (await runtime.get("/health")).status == 200

        asking = [asyncio.create_task(ask_on()) for _ in range(2)]
        await eventually(lambda: 200 in statuses)
        await asyncio.to_thread(server.kill)
        await eventually(lambda: milvus_is(runtime, "down"))
        await asyncio.to_thread(server.start)
        await eventually(lambda: milvus_is(runtime, "up"))
        before = len(statuses)
        await eventually(lambda: 200 in statuses[before:])
        stop.set()
        await asyncio.gather(*asking)
        assert set(statuses) <= {200, 503}
        assert len((await search(runtime, "leave"))["data"]) == 3
        assert (await keep(runtime, "0", f"{LEAVE} 0")).status == 200


async def test_an_upload_in_the_background_outlives_a_milvus_that_is_killed(
    server_store: tuple[Any, dict[str, Any]],
) -> None:
    server, settings = server_store
    settings = settings | {"milvus_collection": "uploads"}
    async with serving(**settings) as runtime:
        # The collections are made, and what embeds is loaded, before the server goes.
        await keep(runtime, "leave.md", LEAVE)
        begun = await keep(runtime, "rooms.md", ROOMS)
        assert (begun.status, begun.json["status"]) == (202, "processing")
        await asyncio.to_thread(server.kill)
        await eventually(lambda: milvus_is(runtime, "down"))
        await asyncio.to_thread(server.start)
        await eventually(lambda: milvus_is(runtime, "up"))
        path = f"/v1/documents/{begun.json['id']}"

        async def ready() -> Any:
            reply = await runtime.get(path)
            return reply.json if reply.status == 200 and reply.json["status"] != "processing" else None

        record = await eventually(ready)
        assert record["status"] == "ready", record
        only = await search(runtime, "Which floor?", limit=50, documents=[record["id"]])
        assert len(only["data"]) == record["passages"]


async def test_the_tool_gives_passages_with_their_sources(lite: MilvusLiteServer) -> None:
    settings = Settings.load(milvus_url=lite.url, milvus_collection="tool")
    embedder = LocalEmbedder()
    library, milvus = library_of(settings, embedder, None)
    assert library is not None
    assert milvus is not None
    tool = SearchDocuments(library, 2)
    budgets = Budgets(MemoryBudgets(), MemoryBudgets(), daily=0, monthly=0)
    account = Account(Principal("one", "one"), budgets, None)
    async with aclosing(embedder), library:
        await milvus.probe()
        await library.add("one", Upload("leave.md", "text/markdown", LEAVE.encode()), account, background=False)
        call = ToolCall("one", "req", account, 0.0, 10_000)
        result = await tool.run({"query": "parental leave"}, call)
        nobody = await tool.run({"query": "parental leave"}, ToolCall("two", "req", account, 0.0, 10_000))
        with pytest.raises(ToolError):
            await tool.run({"query": 7}, call)
    assert result.text.startswith("[[1]] Leave")
    assert result.sources[0].snippet in LEAVE
    assert result.sources[0].span is not None
    assert nobody.sources == ()
