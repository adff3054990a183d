"""The runtime's clients against the servers themselves: SearXNG, embeddings over OpenAI's API, and a reranker.

Where these servers fail in ways that they can't be asked for, other tests have servers that are told what to answer.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.embeddings import EmbeddingServer, run_embeddings
from tests.support.milvus import MilvusLiteServer, run_milvus_lite
from tests.support.reranker import RerankerServer, run_reranker
from tests.support.runtime import Reply, Runtime, eventually, run_runtime
from tests.support.searxng import SearxngServer, run_searxng
from tests.support.tool_calls import calls, says
from tests.support.upstream import Upstream

PASSAGES = {
    "leave.md": "Parents may take twelve weeks of paid leave after a birth.",
    "travel.md": "Trains are booked by the travel desk.",
    "lunch.md": "The kitchen serves soup at noon.",
}
QUESTION = "How long may a mother stay at home with her baby?"


@pytest.fixture(scope="module")
def searxng() -> Iterator[SearxngServer]:
    with run_searxng() as server:
        yield server


@pytest.fixture(scope="module")
def reranker() -> Iterator[RerankerServer]:
    with run_reranker() as server:
        yield server


@pytest.fixture(scope="module")
def embeddings() -> Iterator[EmbeddingServer]:
    with run_embeddings() as server:
        yield server


@pytest.fixture(scope="module")
def milvus() -> Iterator[MilvusLiteServer]:
    with run_milvus_lite() as server:
        yield server


async def search_the_web(upstream: Upstream, runtime: Runtime, query: str) -> dict[str, Any]:
    """Let the model search; give what the client is told."""
    upstream.script = [calls(("call_1", "web_search", {"query": query})), says("Found.")]
    answer = await runtime.chat(messages=[{"role": "user", "content": query}], cache={"no-cache": True})
    told: dict[str, Any] = answer.json["assistant"]
    return told


async def post(runtime: Runtime, path: str, **body: Any) -> Reply:
    return await runtime.post(json.dumps(body), path=path)


async def keep_all(runtime: Runtime) -> None:
    for name, text in PASSAGES.items():
        kept = await post(runtime, "/v1/documents", name=name, text=text, source=f"https://docs.example.com/{name}")
        assert kept.status in {200, 201}, kept.body


async def test_the_model_searches_with_searxng_while_it_runs(upstream: Upstream, searxng: SearxngServer) -> None:
    async with run_runtime(upstream, searxng_url=searxng.url) as runtime:
        found = await search_the_web(upstream, runtime, "capital of France")
        assert found["sources"][0] == {
            "number": 1,
            "title": "Paris",
            "url": "https://example.org/paris",
            "snippet": "Paris is the capital of France.",
        }
        assert "Paris is the capital of France." in upstream.requests[1]["messages"][-1]["content"]
        nothing = await search_the_web(upstream, runtime, "zzz")
        assert (nothing["steps"][0]["status"], nothing["sources"]) == ("done", [])
        searxng.kill()
        failed = await search_the_web(upstream, runtime, "capital of Spain")
        assert (failed["steps"][0]["status"], failed["sources"]) == ("failed", [])
        searxng.start()
        assert (await search_the_web(upstream, runtime, "moon tides"))["sources"][0]["title"] == "Tides"


async def test_the_reranker_puts_what_the_web_gave_in_order(
    upstream: Upstream, searxng: SearxngServer, reranker: RerankerServer
) -> None:
    query = "What raises the sea twice a day?"
    async with run_runtime(upstream, searxng_url=searxng.url) as runtime:
        before = await search_the_web(upstream, runtime, query)
    async with run_runtime(upstream, searxng_url=searxng.url, **reranking(reranker)) as runtime:
        after = await search_the_web(upstream, runtime, query)
    assert {each["title"] for each in before["sources"]} == {each["title"] for each in after["sources"]}
    assert before["sources"][0]["title"] != "Tides"
    assert after["sources"][0]["title"] == "Tides"


async def test_a_search_of_documents_is_reranked_and_says_when_it_is_not(
    milvus: MilvusLiteServer, reranker: RerankerServer
) -> None:
    store = {"milvus_url": milvus.url, "milvus_collection": "reranked", "embedding_provider": "local"}
    store["secret_key"] = "0123456789abcdef0123"  # a client without a key stays the same one
    async with run_runtime(**store, **reranking(reranker)) as runtime:
        await eventually(lambda: has_documents(runtime))
        await keep_all(runtime)
        found = (await post(runtime, "/v1/search", query=QUESTION, limit=2)).json
        assert (found["reranked"], found.get("remark")) == (True, None)
        assert found["data"][0]["document"]["name"] == "leave.md"
        best = found["data"][0]
        assert PASSAGES["leave.md"][slice(*best["span"])] == best["text"]
        assert best["document"]["source"] == "https://docs.example.com/leave.md"
    async with run_runtime(**store, **reranking(reranker) | {"jina_reranker_api_key": "wrong-0123456789"}) as runtime:
        await eventually(lambda: has_documents(runtime))
        found = (await post(runtime, "/v1/search", query=QUESTION, limit=2)).json
        assert found["reranked"] is False
        assert "refused access" in found["remark"]
        assert len(found["data"]) == 2


async def test_rerank_asks_the_reranker(reranker: RerankerServer) -> None:
    async with run_runtime(**reranking(reranker)) as runtime:
        asked = {"query": QUESTION, "documents": [*PASSAGES.values()][::-1], "top_n": 2}
        answer = (await post(runtime, "/v1/rerank", **asked)).json
    assert (answer["method"], answer["model"]) == ("reranker", "multilingual-e5-small")
    assert answer["results"][0]["index"] == 2
    assert len(answer["results"]) == 2
    assert answer["usage"]["total_tokens"] > 0


async def test_documents_are_embedded_by_a_provider(milvus: MilvusLiteServer, embeddings: EmbeddingServer) -> None:
    provider = {"openai_compatible_base_url": embeddings.url, "openai_compatible_default_model": "none"}
    store = {"milvus_url": milvus.url, "milvus_collection": "provided", "embedding_model": embeddings.model}
    async with run_runtime(**provider, **store) as runtime:
        await eventually(lambda: has_documents(runtime))
        await keep_all(runtime)
        found = (await post(runtime, "/v1/search", query=QUESTION, limit=1)).json
        assert [each["document"]["name"] for each in found["data"]] == ["leave.md"]
        vectors = (await post(runtime, "/v1/embeddings", input=["one", "two"])).json
        assert [len(each["embedding"]) for each in vectors["data"]] == [384, 384]
        embeddings.kill()
        refused = await post(runtime, "/v1/search", query="another question")
        assert (refused.status, refused.error["code"]) == (502, "provider_unreachable")
        embeddings.start()

        async def works() -> bool:
            return (await post(runtime, "/v1/search", query="another question")).status == 200

        await eventually(works)


async def has_documents(runtime: Runtime) -> bool:
    return bool((await runtime.ready())["checks"]["milvus"]["status"] == "up")


def reranking(reranker: RerankerServer) -> dict[str, Any]:
    return {
        "jina_reranker_url": reranker.url,
        "jina_reranker_api_key": reranker.key,
        "jina_reranker_tool_enabled": True,
    }
