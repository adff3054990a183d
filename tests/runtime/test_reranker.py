"""The reranker's client, against a server with Jina's API."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import SecretStr

from assistant_runtime.errors import ProviderError
from assistant_runtime.providers.json_client import JsonClient
from assistant_runtime.providers.reranker import Reranker
from assistant_runtime.security.accounts import OwnExpense
from tests.support.json_server import JsonServer, run_json_server

RESULTS = {"model": "m", "usage": {"total_tokens": 9}, "results": [{"index": 0, "relevance_score": 0.1}]}
KEY = "jina-0123456789"


@pytest.fixture
async def server() -> AsyncIterator[JsonServer]:
    async with run_json_server() as running:
        yield running


def reranker(url: str) -> Reranker:
    return Reranker(
        JsonClient("the reranker", url, key=SecretStr(KEY), ca_setting="JINA_RERANKER_CA_FILE", timeout=30), "m"
    )


async def test_the_best_document_comes_first(server: JsonServer) -> None:
    scores = [{"index": 0, "relevance_score": 0.1}, {"index": 1, "relevance_score": 0.9}]
    server.answer("POST", "/v1/rerank", RESULTS | {"results": scores})
    async with reranker(server.url) as client:
        ranking = await client.rerank("capital?", ["Berlin", "Paris"], OwnExpense(), top_n=2)
    assert [result.index for result in ranking.results] == [1, 0]
    assert (ranking.model, ranking.total_tokens) == ("m", 9)
    (asked,) = server.requests
    assert asked.headers["authorization"] == f"Bearer {KEY}"
    assert asked.json == {
        "model": "m",
        "query": "capital?",
        "documents": ["Berlin", "Paris"],
        "top_n": 2,
        "return_documents": False,
    }


@pytest.mark.parametrize("path", ["", "/v1", "/v1/rerank"])
async def test_the_url_may_be_the_root_the_version_or_the_whole(server: JsonServer, path: str) -> None:
    server.answer("POST", "/v1/rerank", RESULTS)
    async with reranker(server.url + path) as client:
        await client.rerank("q", ["d"], OwnExpense())


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"results": "none"}, 200, "provider_bad_response"),
        ({"results": [{"index": 5, "relevance_score": 1}]}, 200, "provider_bad_response"),
        ({"detail": f"bad key {KEY}"}, 401, "provider_auth_error"),
        ({"detail": f"no model for {KEY}"}, 422, "provider_error"),
        ("no JSON", 200, "provider_bad_response"),
    ],
)
async def test_failures_are_told_without_the_key(server: JsonServer, body: Any, status: int, code: str) -> None:
    server.answer("POST", "/v1/rerank", body, status=status)
    async with reranker(server.url) as client:
        with pytest.raises(ProviderError) as failed:
            await client.rerank("q", ["d"], OwnExpense())
    assert failed.value.code == code
    assert KEY not in failed.value.message


async def test_a_server_that_is_down_is_named() -> None:
    async with reranker("http://127.0.0.1:9") as client:
        with pytest.raises(ProviderError, match="the reranker can't be reached"):
            await client.rerank("q", ["d"], OwnExpense())
