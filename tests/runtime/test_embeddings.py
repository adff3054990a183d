"""POST /v1/embeddings, and the vectors that the runtime computes for itself."""

import json
from typing import Any

import openai
import pytest

from assistant_runtime.errors import ApiError, ProviderError
from assistant_runtime.providers.embeddings import BATCH_TEXTS, Embeddings
from assistant_runtime.providers.health import ProviderWatch
from assistant_runtime.providers.openai_compatible import OpenAICompatibleProvider
from assistant_runtime.providers.routing import Routing
from assistant_runtime.rag.local_embedder import LOCAL_MODEL
from assistant_runtime.security.accounts import OwnExpense
from assistant_runtime.settings.providers import ProviderSettings
from tests.support.runtime import Reply, Runtime, run_runtime
from tests.support.upstream import MODEL, Upstream, answers, embeddings, refuses


async def embed(runtime: Runtime, **fields: Any) -> Reply:
    return await runtime.post(json.dumps(fields), path="/v1/embeddings")


async def test_the_answer_is_the_providers(upstream: Upstream) -> None:
    async with run_runtime(upstream) as runtime:
        reply = await embed(runtime, model="vectors", input=["one", "three"], dimensions=2, tomorrow=1)
    assert (reply.status, reply.json) == (200, embeddings("vectors", ["one", "three"]))
    assert reply.headers["x-provider"] == "first"
    assert upstream.requests == [{"model": "vectors", "input": ["one", "three"], "dimensions": 2, "tomorrow": 1}]


@pytest.mark.parametrize(
    ("asked", "default", "model"),
    [(None, "vectors", "vectors"), ("default", "first/vectors", "vectors"), ("first/big", "vectors", "big")],
)
async def test_models_are_named_as_for_chats(upstream: Upstream, asked: str | None, default: str, model: str) -> None:
    async with run_runtime(upstream, embedding_model=default) as runtime:
        assert (await embed(runtime, model=asked, input="text")).status == 200
    assert [request["model"] for request in upstream.requests] == [model]


async def test_without_a_default_the_model_must_be_named(upstream: Upstream) -> None:
    async with run_runtime(upstream, embedding_provider="provider") as runtime:
        reply = await embed(runtime, input="text")
    assert (reply.status, reply.error["param"]) == (400, "model")
    assert "EMBEDDING_MODEL" in reply.error["message"]


@pytest.mark.parametrize("model", ["default", LOCAL_MODEL])
async def test_where_no_provider_embeds_the_model_in_the_process_does(upstream: Upstream, model: str) -> None:
    texts = ["Wie lange dauert die Elternzeit?", "Parents may take twelve weeks of leave.", "Trains are late."]
    async with run_runtime(upstream) as runtime:
        async with openai.AsyncOpenAI(base_url=f"{runtime.url}/v1", api_key="none", max_retries=0) as client:
            found = await client.embeddings.create(model=model, input=texts)
            same = await client.embeddings.create(model=model, input=texts[0], encoding_format="float", dimensions=384)
            passage = await client.embeddings.create(model=model, input=texts[0], extra_body={"input_type": "passage"})
        reply = await embed(runtime, input="text")
        text = (await runtime.get("/metrics")).body.decode()
    leave, answer, trains = (each.embedding for each in found.data)
    assert [each.index for each in found.data] == [0, 1, 2]
    assert cosine(leave, answer) > cosine(leave, trains)
    assert same.data[0].embedding == pytest.approx(leave, abs=1e-6)
    assert passage.data[0].embedding != pytest.approx(leave, abs=1e-3)
    assert (found.model, found.usage.prompt_tokens) == (LOCAL_MODEL, found.usage.total_tokens)
    assert found.usage.prompt_tokens > same.usage.prompt_tokens > 5
    assert (reply.status, reply.headers["x-provider"], reply.json["model"]) == (200, "local", LOCAL_MODEL)
    assert f'gen_ai_request_model="{LOCAL_MODEL}"' in text
    assert upstream.requests == []


def cosine(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": [1, 2, 3]}, "input"),
        ({"input": ["a" * 300_000] * 2}, "input"),
        ({"input": "a", "dimensions": 256}, "dimensions"),
    ],
)
async def test_what_the_local_model_cant_do_is_refused(upstream: Upstream, fields: dict[str, Any], param: str) -> None:
    async with run_runtime(upstream) as runtime:
        reply = await embed(runtime, **fields)
    assert (reply.status, reply.error["param"]) == (400, param)
    assert LOCAL_MODEL in reply.error["message"]


async def test_a_providers_model_comes_before_the_local_one(upstream: Upstream) -> None:
    async with run_runtime(upstream, embedding_model="vectors", embedding_provider="local") as runtime:
        assert (await embed(runtime, input="text")).json["model"] == "vectors"
        assert (await embed(runtime, input="text", model=LOCAL_MODEL)).json["model"] == LOCAL_MODEL
    assert [request["model"] for request in upstream.requests] == ["vectors"]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({}, "input"),
        ({"input": []}, "input"),
        ({"input": ""}, "input"),
        ({"input": ["one", 2]}, "input"),
        ({"input": "x", "encoding_format": "hex"}, "encoding_format"),
        ({"input": "x", "dimensions": 0}, "dimensions"),
    ],
)
async def test_a_bad_field_is_named_and_costs_nothing(upstream: Upstream, fields: dict[str, Any], param: str) -> None:
    async with run_runtime(upstream) as runtime:
        reply = await embed(runtime, model="vectors", **fields)
    assert (reply.status, reply.error["param"].partition("[")[0]) == (400, param)
    assert upstream.requests == []


@pytest.mark.parametrize(
    ("behaviour", "status", "code"),
    [
        (refuses(404), 404, "model_not_found"),
        (refuses(429, headers={"retry-after": "7"}), 429, "provider_rate_limited"),
        (refuses(500), 502, "provider_error"),
        (answers("[]"), 502, "provider_bad_response"),
    ],
)
async def test_a_providers_failure_is_told_as_for_chats(
    upstream: Upstream, behaviour: Any, status: int, code: str
) -> None:
    upstream.script = [behaviour]
    async with run_runtime(upstream) as runtime:
        reply = await embed(runtime, model="vectors", input="x")
        scraped = (await runtime.get("/metrics")).body.decode()
    assert (reply.status, reply.error["code"]) == (status, code)
    assert f'error_type="{code}",gen_ai_operation_name="embeddings"' in scraped


async def test_another_providers_model_is_never_taken_instead(upstream: Upstream, second: Upstream) -> None:
    upstream.script = [refuses(500)]
    async with run_runtime(upstream, second) as runtime:
        assert (await embed(runtime, model="vectors", input="x")).status == 502
    assert second.requests == []


def embedder(provider: OpenAICompatibleProvider, model: str = "vectors") -> Embeddings:
    routing = Routing([provider], ProviderWatch([provider]), fallback=True)
    return Embeddings(routing, model, lambda *_: None)


def provider_at(upstream: Upstream) -> OpenAICompatibleProvider:
    return OpenAICompatibleProvider(ProviderSettings(name="first", base_url=upstream.url, default_model=MODEL))


async def test_vectors_come_in_the_order_of_the_texts(upstream: Upstream) -> None:
    texts = ["x" * (number + 1) for number in range(BATCH_TEXTS + 3)]
    async with provider_at(upstream) as provider:
        vectors = await embedder(provider).embed(texts, OwnExpense())
        assert await embedder(provider).embed([], OwnExpense()) == []
    assert [vector[0] for vector in vectors] == [float(len(text)) for text in texts]
    assert [len(request["input"]) for request in upstream.requests] == [BATCH_TEXTS, 3]


@pytest.mark.parametrize(
    "data", [None, [], [{"index": 0, "embedding": []}], [{"index": 1, "embedding": [1.0]}], [{"embedding": ["x"]}]]
)
async def test_something_else_than_vectors_is_a_failure(upstream: Upstream, data: Any) -> None:
    upstream.script = [answers(json.dumps({"data": data}))]
    async with provider_at(upstream) as provider:
        with pytest.raises(ProviderError, match="something else than 1 embeddings"):
            await embedder(provider).embed(["x"], OwnExpense())


async def test_a_vector_of_no_numbers_is_a_failure(upstream: Upstream) -> None:
    upstream.script = [answers('{"data": [{"index": 0, "embedding": [NaN, 1.0]}]}')]
    async with provider_at(upstream) as provider:
        with pytest.raises(ProviderError, match="something else than 1 embeddings"):
            await embedder(provider).embed(["x"], OwnExpense())


async def test_without_a_model_no_text_is_sent(upstream: Upstream) -> None:
    async with provider_at(upstream) as provider:
        with pytest.raises(ApiError, match="EMBEDDING_MODEL"):
            await embedder(provider, model="").embed(["x"], OwnExpense())
    assert upstream.requests == []
