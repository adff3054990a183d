"""OpenAI's own client, unchanged, as an independent judge of the wire format."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import openai
import pytest

from tests.support.runtime import run_runtime
from tests.support.upstream import MODEL, WORDS, Upstream, die_mid_stream, refuses

KEY = "client-0123456789"
MESSAGES: Any = [{"role": "user", "content": "What is the capital of France?"}]


@asynccontextmanager
async def openai_client(upstream: Upstream, key: str = KEY, **settings: Any) -> AsyncIterator[openai.AsyncOpenAI]:
    async with (
        run_runtime(upstream, api_keys=KEY, **settings) as runtime,
        openai.AsyncOpenAI(base_url=f"{runtime.url}/v1", api_key=key, max_retries=0) as client,
    ):
        yield client


async def test_an_answer(upstream: Upstream) -> None:
    async with openai_client(upstream) as client:
        answer = await client.chat.completions.create(model="default", messages=MESSAGES)
    assert answer.choices[0].message.content == "".join(WORDS)
    assert answer.usage is not None
    assert answer.usage.total_tokens == 20


async def test_a_stream(upstream: Upstream) -> None:
    async with openai_client(upstream) as client:
        stream = await client.chat.completions.create(model="default", messages=MESSAGES, stream=True)
        words = [event.choices[0].delta.content async for event in stream]
    assert words == [*WORDS, None]


async def test_the_models(upstream: Upstream) -> None:
    async with openai_client(upstream) as client:
        models = [model.id async for model in client.models.list()]
    assert models == ["default", MODEL]


async def test_errors_have_the_classes_that_clients_catch(upstream: Upstream) -> None:
    async with openai_client(upstream) as client:
        ask = client.chat.completions.create
        upstream.script = [refuses(404, "no such model"), refuses(500), refuses(429, headers={"retry-after": "7"})]
        with pytest.raises(openai.NotFoundError):
            await ask(model="first/nonsense", messages=MESSAGES)
        with pytest.raises(openai.InternalServerError):
            await ask(model="default", messages=MESSAGES)
        with pytest.raises(openai.RateLimitError) as limited:
            await ask(model="default", messages=MESSAGES)
        with pytest.raises(openai.BadRequestError) as bad:
            await ask(model="default", messages=MESSAGES, temperature=9)
    assert limited.value.response.headers["retry-after"] == "7"
    assert bad.value.param == "temperature"
    assert bad.value.request_id is not None


async def test_a_wrong_key(upstream: Upstream) -> None:
    async with openai_client(upstream, key="wrong") as client:
        with pytest.raises(openai.AuthenticationError) as refused:
            await client.chat.completions.create(model="default", messages=MESSAGES)
    assert refused.value.code == "invalid_api_key"


async def test_a_stream_that_breaks_raises(upstream: Upstream) -> None:
    upstream.script = [die_mid_stream]
    async with openai_client(upstream) as client:
        stream = await client.chat.completions.create(model="default", messages=MESSAGES, stream=True)
        assert [(await anext(stream)).choices[0].delta.content for _ in range(2)] == list(WORDS[:2])
        with pytest.raises(openai.APIError, match="truncated"):
            await anext(stream)
