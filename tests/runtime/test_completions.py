"""POST /v1/completions: passed to providers that complete texts, judged by OpenAI's own client."""

import json
from typing import Any

import openai
import pytest

from tests.support.runtime import QUESTION, run_runtime
from tests.support.upstream import MODEL, WORDS, Upstream, answers, refuses, text_completion, writes

PROMPTS: Any = ["The capital of France is", ["one", "two"], [1, 2, 3], [[1, 2], [3]], ""]


@pytest.mark.parametrize("prompt", PROMPTS)
async def test_a_text_is_completed(upstream: Upstream, prompt: Any) -> None:
    async with (
        run_runtime(upstream) as runtime,
        openai.AsyncOpenAI(base_url=f"{runtime.url}/v1", api_key="-") as client,
    ):
        answer = await client.completions.create(
            model="default", prompt=prompt, suffix="!", echo=True, max_tokens=9, extra_body={"min_p": 0.1}
        )
    assert answer.choices[0].text == "".join(WORDS)
    assert answer.usage is not None
    assert answer.usage.total_tokens == 20
    fields = {"model": MODEL, "prompt": prompt, "suffix": "!", "echo": True, "max_tokens": 9, "min_p": 0.1}
    assert upstream.requests == [fields]


async def test_a_text_is_completed_as_a_stream(upstream: Upstream) -> None:
    async with (
        run_runtime(upstream) as runtime,
        openai.AsyncOpenAI(base_url=f"{runtime.url}/v1", api_key="-") as client,
    ):
        stream = await client.completions.create(model="default", prompt="The capital", stream=True)
        texts = [chunk.choices[0].text async for chunk in stream]
    assert "".join(texts) == "".join(WORDS)


async def test_nothing_to_fill_in_is_an_answer(upstream: Upstream) -> None:
    upstream.script = [answers(json.dumps(text_completion(MODEL, "")))]
    async with run_runtime(upstream) as runtime:
        reply = await runtime.post(json.dumps({"prompt": "a", "suffix": "b"}), path="/v1/completions")
    assert (reply.status, reply.json["choices"][0]["text"]) == (200, "")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", [404, 405, 501])
async def test_a_provider_that_completes_no_texts_is_named_and_another_asked(
    upstream: Upstream, second: Upstream, status: int, stream: bool
) -> None:
    upstream.script = [refuses(status, "Not Found")] * 2
    body = json.dumps({"prompt": "a", "stream": stream})
    async with run_runtime(upstream) as runtime:
        alone = await runtime.post(body, path="/v1/completions")
    assert (alone.status, alone.error["code"]) == (501, "completions_not_offered")
    assert "/v1/chat/completions" in alone.error["message"]
    async with run_runtime(upstream, second) as runtime:
        reply = await runtime.post(body, path="/v1/completions")
    assert (reply.status, reply.headers["x-provider"]) == (200, "second")


async def test_a_model_that_the_provider_lacks_is_404(upstream: Upstream) -> None:
    upstream.script = [refuses(404, "The model does not exist", code="model_not_found")]
    async with run_runtime(upstream) as runtime:
        reply = await runtime.post(json.dumps({"prompt": "a"}), path="/v1/completions")
    assert (reply.status, reply.error["code"]) == (404, "model_not_found")


async def test_a_provider_that_fails_is_followed_by_another(upstream: Upstream, second: Upstream) -> None:
    upstream.script = [refuses(500, "out of memory")]
    async with run_runtime(upstream, second) as runtime:
        reply = await runtime.post(json.dumps({"prompt": "a"}), path="/v1/completions")
    assert (reply.status, reply.headers["x-provider"]) == (200, "second")


async def test_a_stream_that_breaks_says_so(upstream: Upstream) -> None:
    event = text_completion(MODEL, "Par", None)
    upstream.script = [writes(b"data: " + json.dumps(event).encode() + b"\n\n")]
    async with run_runtime(upstream) as runtime:
        reply = await runtime.post(json.dumps({"prompt": "a", "stream": True}), path="/v1/completions")
    last = json.loads(reply.body.strip().rpartition(b"data: ")[2])
    assert last["error"]["truncated"] is True


async def test_what_is_for_the_assistant_does_not_reach_the_provider(upstream: Upstream) -> None:
    body = json.dumps({"prompt": "a", "assistant": {"cache": False}})
    async with run_runtime(upstream) as runtime:
        replies = [await runtime.post(body, path="/v1/completions") for _ in range(2)]
    assert [reply.headers["x-cache"] for reply in replies] == ["bypass", "bypass"]
    assert [set(request) for request in upstream.requests] == [{"prompt", "model"}] * 2


async def test_the_same_is_answered_from_the_cache(upstream: Upstream) -> None:
    async with run_runtime(upstream) as runtime:
        found = [
            (await runtime.post(json.dumps({"prompt": "a"}), path="/v1/completions")).headers["x-cache"]
            for _ in range(2)
        ]
    assert found == ["miss", "hit"]


async def test_a_chat_with_a_prompt_and_a_text_with_messages_are_different_requests(upstream: Upstream) -> None:
    body = json.dumps({**QUESTION, "prompt": "a"})
    async with run_runtime(upstream) as runtime:
        paths = ("/v1/chat/completions", "/v1/completions")
        answers = [(await runtime.post(body, path=path)).json["object"] for path in paths * 2]
    assert answers == ["chat.completion", "text_completion"] * 2
    assert len(upstream.requests) == 2


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "prompt"),
        ({"prompt": None}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": [1, "a"]}, "prompt[1]"),
        ({"prompt": "a", "echo": "yes"}, "echo"),
        ({"prompt": "a", "max_tokens": -2}, "max_tokens"),
        ({"prompt": "a", "suffix": 1}, "suffix"),
        ({"prompt": "a", "model": "agent/helper"}, "model"),
        ({"prompt": "a", "assistant": {"session": "sess_1"}}, "assistant.session"),
    ],
)
async def test_a_bad_field_is_named_and_costs_nothing(upstream: Upstream, body: Any, param: str) -> None:
    async with run_runtime(upstream) as runtime:
        reply = await runtime.post(json.dumps(body), path="/v1/completions")
    assert (reply.status, reply.error["param"].partition("[")[0]) == (
        404 if param == "model" else 400,
        param.partition("[")[0],
    )
    assert upstream.requests == []
