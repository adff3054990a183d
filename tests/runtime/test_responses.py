"""POST /v1/responses, judged by OpenAI's own client."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import openai
import pytest

from tests.runtime.test_tool_loop import RESULTS, SEARCH
from tests.support.json_server import run_json_server
from tests.support.runtime import Reply, Runtime, cancelled, eventually, run_runtime
from tests.support.tool_calls import calls, says
from tests.support.upstream import (
    MODEL,
    WORDS,
    Upstream,
    answers,
    chunk,
    completion,
    die_mid_stream,
    hang,
    refuses,
    whole_stream,
    writes,
)

CLOCK: Any = {
    "type": "function",
    "name": "clock",
    "parameters": {"type": "object", "properties": {"zone": {"type": "string"}}},
    "strict": False,
}


@asynccontextmanager
async def serving(upstream: Upstream, **settings: Any) -> AsyncIterator[tuple[Runtime, openai.AsyncOpenAI]]:
    async with (
        run_runtime(upstream, **settings) as runtime,
        openai.AsyncOpenAI(base_url=f"{runtime.url}/v1", api_key="none", max_retries=0) as client,
    ):
        yield runtime, client


@pytest.mark.parametrize("number", ["1e400", "1" + "0" * 30, "-1"])
async def test_a_number_of_cached_tokens_that_is_none_counts_nothing(upstream: Upstream, number: str) -> None:
    counted = {"prompt_tokens": 5, "completion_tokens": 6, "prompt_tokens_details": {"cached_tokens": "?"}}
    upstream.script = [answers(json.dumps(completion(MODEL) | {"usage": counted}).replace('"?"', number))]
    async with run_runtime(upstream) as runtime:
        reply = await runtime.post(json.dumps({"input": "Hi"}), path="/v1/responses")
    assert reply.status == 200, reply.body
    assert reply.json["usage"]["input_tokens_details"]["cached_tokens"] == 0
    assert reply.json["usage"]["total_tokens"] == 11


async def post(runtime: Runtime, **body: Any) -> Reply:
    async with runtime.client.post(f"{runtime.url}/v1/responses", json=body) as answer:
        return Reply(answer.status, dict(answer.headers), await answer.read())


async def test_text_in_text_out(upstream: Upstream) -> None:
    async with serving(upstream) as (_, client):
        response = await client.responses.create(
            model="default", input="What is the capital of France?", instructions="Be brief.", max_output_tokens=9
        )
    assert response.output_text == "".join(WORDS)
    assert (response.status, response.model, response.object) == ("completed", MODEL, "response")
    assert response.usage is not None
    assert (response.usage.input_tokens, response.usage.output_tokens, response.usage.total_tokens) == (14, 6, 20)
    (request,) = upstream.requests
    assert request["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What is the capital of France?"},
    ]
    assert request["max_tokens"] == 9


async def test_the_streams_events(upstream: Upstream) -> None:
    async with serving(upstream) as (_, client):
        stream = await client.responses.create(model="default", input="hi", stream=True)
        events = [event async for event in stream]
    assert [event.type for event in events] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        *["response.output_text.delta"] * len(WORDS),
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[-1].type == "response.completed"
    assert events[-1].response.output_text == "".join(WORDS)


async def test_the_clients_streaming_helper(upstream: Upstream) -> None:
    upstream.script = [calls(("call_7", "clock", {"zone": "UTC"}))]
    async with (
        serving(upstream) as (_, client),
        client.responses.stream(model="default", input="What time is it?", tools=[CLOCK]) as stream,
    ):
        response = await stream.get_final_response()
    (call,) = [item for item in response.output if item.type == "function_call"]
    assert (call.call_id, call.name, json.loads(call.arguments)) == ("call_7", "clock", {"zone": "UTC"})


async def test_a_functions_result_goes_back(upstream: Upstream) -> None:
    upstream.script = [calls(("call_7", "clock", {"zone": "UTC"})), says("It is noon.")]
    async with serving(upstream) as (_, client):
        first = await client.responses.create(model="default", input="What time is it?", tools=[CLOCK])
        second = await client.responses.create(
            model="default",
            previous_response_id=first.id,
            input=[{"type": "function_call_output", "call_id": "call_7", "output": "12:00"}],
            tools=[CLOCK],
        )
    assert second.output_text == "It is noon."
    roles = [message["role"] for message in upstream.requests[1]["messages"]]
    assert roles == ["user", "assistant", "tool"]
    assert upstream.requests[1]["tools"][0]["function"]["name"] == "clock"


@pytest.mark.parametrize(
    ("part", "file"),
    [
        (
            {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBE"},
            {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBE"},
        ),
        ({"filename": "a.txt", "file_data": "YQ=="}, {"filename": "a.txt", "file_data": "data:text/plain;base64,YQ=="}),
        ({"file_data": "JVBE"}, {"file_data": "data:application/pdf;base64,JVBE"}),
        ({"file_id": "file_1", "filename": None}, {"file_id": "file_1"}),
    ],
)
async def test_a_file_becomes_the_chats_file(upstream: Upstream, part: dict[str, Any], file: dict[str, Any]) -> None:
    content = [{"type": "input_text", "text": "Sum it up."}, {"type": "input_file", **part}]
    async with serving(upstream) as (runtime, _):
        assert (await post(runtime, input=[{"role": "user", "content": content}])).status == 200
    assert upstream.requests[0]["messages"][0]["content"][1] == {"type": "file", "file": file}


async def test_sound_is_passed_on(upstream: Upstream) -> None:
    sound = {"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}}
    async with serving(upstream) as (runtime, _):
        assert (await post(runtime, input=[{"role": "user", "content": [sound]}])).status == 200
    assert upstream.requests[0]["messages"][0]["content"] == [sound]


@pytest.mark.parametrize("value", [0, -1])
async def test_no_limit_of_tokens_is_an_absent_field(upstream: Upstream, value: int) -> None:
    async with serving(upstream) as (runtime, _):
        assert (await post(runtime, input="hi", max_output_tokens=value)).status == 200
    assert "max_tokens" not in upstream.requests[0]


async def test_calls_stay_one_message_whatever_was_thought_between(upstream: Upstream) -> None:
    """A provider refuses a call whose result does not come next."""
    thought = {"type": "reasoning", "id": "rs_1", "summary": []}
    items: list[dict[str, Any]] = [{"role": "user", "content": "What time is it here and there?"}]
    for call in ("call_1", "call_2"):
        items += [thought, {"type": "function_call", "call_id": call, "name": "clock", "arguments": "{}"}]
    items += [{"type": "function_call_output", "call_id": call, "output": "12:00"} for call in ("call_1", "call_2")]
    async with serving(upstream) as (runtime, _):
        assert (await post(runtime, input=items)).status == 200
    (request,) = upstream.requests
    assert [message["role"] for message in request["messages"]] == ["user", "assistant", "tool", "tool"]
    assert [call["id"] for call in request["messages"][1]["tool_calls"]] == ["call_1", "call_2"]


async def test_a_response_follows_another_and_can_branch(upstream: Upstream) -> None:
    upstream.script = [says("one"), says("two"), says("other two"), says("three")]
    async with serving(upstream) as (_, client):
        create = client.responses.create
        first = await create(model="default", input="1")
        second = await create(model="default", input="2", previous_response_id=first.id)
        await create(model="default", input="2b", previous_response_id=first.id)
        await create(model="default", input="3", previous_response_id=second.id)
    said = [[message["content"] for message in request["messages"]] for request in upstream.requests]
    assert said == [["1"], ["1", "one", "2"], ["1", "one", "2b"], ["1", "one", "2", "two", "3"]]


async def test_a_streamed_response_can_be_followed(upstream: Upstream) -> None:
    async with serving(upstream) as (_, client):
        async with client.responses.stream(model="default", input="1", store=True) as stream:
            first = await stream.get_final_response()
        await client.responses.create(model="default", input="2", previous_response_id=first.id)
    assert [message["content"] for message in upstream.requests[1]["messages"]] == ["1", "".join(WORDS), "2"]


async def test_what_is_not_stored_can_not_be_followed(upstream: Upstream) -> None:
    async with serving(upstream) as (runtime, client):
        first = await client.responses.create(model="default", input="1", store=False)
        with pytest.raises(openai.NotFoundError) as refused:
            await client.responses.create(model="default", input="2", previous_response_id=first.id)
        sessions = (await runtime.get("/v1/sessions")).json["data"]
    assert refused.value.param == "previous_response_id"
    assert sessions == []


async def test_what_follows_and_is_not_stored_leaves_nothing(upstream: Upstream) -> None:
    upstream.script = [says("one"), calls(("call_7", "clock", {})), says("noon"), says("two")]
    async with serving(upstream) as (runtime, client):
        create = client.responses.create
        first = await create(model="default", input="1")
        second = await create(model="default", input="2", previous_response_id=first.id, tools=[CLOCK])
        result: Any = [{"type": "function_call_output", "call_id": "call_7", "output": "12:00"}]
        third = await create(model="default", input=result, previous_response_id=second.id, store=False)
        await create(model="default", input="2b", previous_response_id=first.id, store=False, instructions="Be kind.")
        sessions = (await runtime.get("/v1/sessions")).json["data"]
        with pytest.raises(openai.NotFoundError):
            await create(model="default", input="4", previous_response_id=third.id)
    assert not (third.model_extra or {})["store"]
    assert [(session["id"], session["message_count"]) for session in sessions] == [(sessions[0]["id"], 4)]
    said = [[message["content"] for message in request["messages"]] for request in upstream.requests[2:]]
    assert said == [["1", "one", "2", None, "12:00"], ["Be kind.", "1", "one", "2b"]]


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_that_does_not_come_leaves_no_session(upstream: Upstream, stream: bool) -> None:
    upstream.script = [refuses(500), hang]
    async with serving(upstream) as (runtime, _):
        assert (await post(runtime, input="hi", stream=stream)).status == 502
        leaving = asyncio.create_task(post(runtime, input="hi", stream=stream))
        await upstream.started.wait()
        await cancelled(leaving)

        async def forgotten() -> bool:
            return not (await runtime.get("/v1/sessions")).json["data"]

        await eventually(forgotten)


async def test_cache_control_is_heeded(upstream: Upstream) -> None:
    async with serving(upstream) as (runtime, _):
        results = []
        for directive in ("no-store", "max-age=60", "no-cache", "max-age=60"):
            body, headers = json.dumps({"input": "hi", "store": False}), {"cache-control": directive}
            results.append((await runtime.post(body, headers, "/v1/responses")).headers["x-cache"])
    assert results == ["bypass", "miss", "bypass", "hit"]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_refusal_is_one(upstream: Upstream, stream: bool) -> None:
    answer = completion(MODEL)
    answer["choices"][0]["message"] = {"role": "assistant", "content": None, "refusal": "I can't help."}
    deltas = [{"role": "assistant", "content": None, "refusal": "I can't "}, {"refusal": "help."}]
    chunks = [json.loads(chunk(MODEL, None)[6:]) for _ in deltas]
    for each, delta in zip(chunks, deltas, strict=True):
        each["choices"][0]["delta"] = delta
    written = [b"data: " + json.dumps(each).encode() + b"\n\n" for each in chunks]
    upstream.script = [writes(*written, *whole_stream(MODEL, ())) if stream else answers(json.dumps(answer))]
    response: Any
    async with serving(upstream) as (_, client):
        if stream:
            async with client.responses.stream(model="default", input="hi") as events:
                response = await events.get_final_response()
        else:
            response = await client.responses.create(model="default", input="hi")
    (message,) = response.output
    assert message.type == "message"
    (part,) = message.content
    assert (part.type == "refusal" and part.refusal, response.output_text) == ("I can't help.", "")


async def test_what_a_model_says_before_a_call_is_one_message_with_it(upstream: Upstream) -> None:
    upstream.script = [calls(("call_7", "clock", {}), text="Let me look."), says("noon")]
    async with serving(upstream) as (_, client):
        first = await client.responses.create(model="default", input="What time is it?", tools=[CLOCK], store=False)
        asked: Any = [{"role": "user", "content": "What time is it?"}, *(item.to_dict() for item in first.output)]
        asked += [{"type": "function_call_output", "call_id": "call_7", "output": "12:00"}]
        await client.responses.create(model="default", input=asked, tools=[CLOCK], store=False)
    messages = upstream.requests[1]["messages"]
    assert [(message["role"], message["content"]) for message in messages[1:]] == [
        ("assistant", "Let me look."),
        ("tool", "12:00"),
    ]
    assert messages[1]["tool_calls"][0]["id"] == "call_7"


async def test_another_tenants_response_can_not_be_followed(upstream: Upstream) -> None:
    async with run_runtime(upstream, api_keys="one-key,two-key") as runtime:
        url = f"{runtime.url}/v1"
        async with (
            openai.AsyncOpenAI(base_url=url, api_key="one-key") as one,
            openai.AsyncOpenAI(base_url=url, api_key="two-key") as two,
        ):
            first = await one.responses.create(model="default", input="1")
            with pytest.raises(openai.NotFoundError):
                await two.responses.create(model="default", input="2", previous_response_id=first.id)


@pytest.mark.parametrize("stream", [False, True])
async def test_the_servers_search_is_cited(upstream: Upstream, stream: bool) -> None:
    upstream.script = [calls(SEARCH), says("Paris [1].")]
    async with run_json_server() as searxng:
        searxng.answer("GET", "/search", RESULTS)
        async with serving(upstream, searxng_url=searxng.url) as (_, client):
            asked: Any = {"model": "default", "input": "capital?", "tools": [{"type": "web_search"}]}
            if stream:
                async with client.responses.stream(**asked) as events:
                    response: Any = await events.get_final_response()
            else:
                response = await client.responses.create(**asked)
    (citation,) = response.output[0].content[0].annotations
    assert (citation.type, citation.url, citation.start_index) == ("url_citation", "https://example.org/paris", 6)
    assert response.assistant["steps"][0]["status"] == "done"
    assert response.usage is not None
    assert response.usage.total_tokens == 40


async def test_an_answer_cut_by_its_limit_is_incomplete(upstream: Upstream) -> None:
    cut = completion(MODEL, "Par")
    cut["choices"][0]["finish_reason"] = "length"
    upstream.script = [answers(json.dumps(cut))]
    async with serving(upstream) as (_, client):
        response = await client.responses.create(model="default", input="hi")
    assert response.status == "incomplete"
    assert response.incomplete_details is not None
    assert response.incomplete_details.reason == "max_output_tokens"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("finish", "reason"), [("length", "max_output_tokens"), ("content_filter", "content_filter")])
async def test_an_answer_that_ended_early_says_so_in_its_item_too(
    upstream: Upstream, finish: str, reason: str, stream: bool
) -> None:
    whole = completion(MODEL)
    whole["choices"][0]["finish_reason"] = finish
    upstream.script = [
        writes(chunk(MODEL, "Paris"), chunk(MODEL, None, finish), b"data: [DONE]\n\n")
        if stream
        else answers(json.dumps(whole))
    ]
    async with serving(upstream) as (runtime, _):
        body = (await post(runtime, input="hi", stream=stream)).body
    last = json.loads(body.rpartition(b"data: ")[2])["response"] if stream else json.loads(body)
    assert (last["status"], last["incomplete_details"]) == ("incomplete", {"reason": reason})
    assert last["output"][0]["status"] == "incomplete"


async def test_a_stream_that_breaks_ends_with_failed(upstream: Upstream) -> None:
    upstream.script = [die_mid_stream]
    async with serving(upstream) as (_, client):
        stream = await client.responses.create(model="default", input="hi", stream=True)
        events = [event async for event in stream]
    assert events[-1].type == "response.failed"
    assert events[-1].response.error is not None
    assert "truncated" in events[-1].response.error.message


async def test_errors_have_the_classes_that_clients_catch(upstream: Upstream) -> None:
    upstream.script = [refuses(429, headers={"retry-after": "7"})]
    async with serving(upstream) as (_, client):
        with pytest.raises(openai.RateLimitError):
            await client.responses.create(model="default", input="hi")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "input"),
        ({"input": 5}, "input"),
        ({"input": []}, "input"),
        ({"input": [{"role": "king", "content": "hi"}]}, "input[0].role"),
        ({"input": [{"role": "user", "content": 5}]}, "input[0].content"),
        ({"input": [{"role": "user", "content": [{"type": "input_file"}]}]}, "input[0].content[0].file_data"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_file", "file_url": "https://example.org/a"}]}]},
            "input[0].content[0].file_data",
        ),
        ({"input": [{"type": "web_search_call", "id": "ws_1"}]}, "input"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "file_1"}]}]},
            "input[0].content[0].image_url",
        ),
        ({"input": [{"role": "user", "content": [{"type": "input_video"}]}]}, "input[0].content[0].type"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0].id"),
        ({"input": [{"type": "function_call_output", "output": "x"}]}, "input[0].call_id"),
        ({"input": "hi", "temperature": 3}, "temperature"),
        ({"input": "hi", "tool_choice": "maybe"}, "tool_choice"),
        ({"input": "hi", "background": True}, "background"),
        ({"input": "hi", "conversation": "conv_1"}, "conversation"),
        ({"input": [{"type": ["message"], "content": "hi"}]}, "input[0].type"),
        ({"input": [{"role": ["user"], "content": "hi"}]}, "input[0].role"),
        ({"input": [{"role": "user", "content": [{"type": {}}]}]}, "input[0].content[0].type"),
        ({"input": [{"role": "user", "content": ["hi"]}]}, "input[0].content[0]"),
        ({"input": "hi", "tools": [{"type": []}]}, "tools[0].type"),
        ({"input": "hi", "tools": [CLOCK], "tool_choice": {"type": [], "name": "clock"}}, "tool_choice.type"),
        ({"input": "hi", "prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"input": "hi", "metadata": {"a": 1}}, "metadata.a"),
        ({"input": "hi", "previous_response_id": "resp_x"}, "previous_response_id"),
    ],
)
async def test_a_bad_field_is_named_and_costs_nothing(upstream: Upstream, body: dict[str, Any], param: str) -> None:
    async with run_runtime(upstream) as runtime:
        reply = await post(runtime, **body)
    assert reply.status in {400, 404}
    assert reply.error["param"] == param
    assert upstream.requests == []


async def test_images_and_formats_are_translated(upstream: Upstream) -> None:
    image = {"type": "input_image", "image_url": "data:image/png;base64,AA==", "detail": "low"}
    text_format = {"type": "json_schema", "name": "city", "schema": {"type": "object"}, "strict": True}
    async with run_runtime(upstream) as runtime:
        reply = await post(
            runtime,
            input=[{"role": "user", "content": [{"type": "input_text", "text": "what?"}, image]}],
            text={"format": text_format},
            reasoning={"effort": "low"},
        )
    assert reply.status == 200
    (request,) = upstream.requests
    assert request["messages"][0]["content"][1] == {
        "type": "image_url",
        "image_url": {"url": "data:image/png;base64,AA==", "detail": "low"},
    }
    assert request["response_format"]["json_schema"] == {"name": "city", "schema": {"type": "object"}, "strict": True}
    assert request["reasoning_effort"] == "low"


@pytest.mark.parametrize("stream", [False, True])
async def test_log_probabilities_come_where_they_are_asked_for(upstream: Upstream, stream: bool) -> None:
    likely = {"token": "Paris", "logprob": -0.1, "bytes": [80, 97, 114, 105, 115]}
    chosen = likely | {"top_logprobs": [likely, {"token": "Rome", "logprob": -3.0}]}
    choice = {"index": 0, "finish_reason": "stop", "logprobs": {"content": [chosen]}}
    if stream:
        event = completion(MODEL) | {"choices": [choice | {"delta": {"content": "Paris"}}]}
        upstream.script = [writes(b"data: " + json.dumps(event).encode() + b"\n\n", b"data: [DONE]\n\n")]
    else:
        whole = completion(MODEL) | {"choices": [choice | {"message": {"role": "assistant", "content": "Paris"}}]}
        upstream.script = [answers(json.dumps(whole))]
    async with serving(upstream) as (_, client):
        asked: Any = {"model": "default", "input": "capital?", "top_logprobs": 2}
        asked["include"] = ["message.output_text.logprobs"]
        if stream:
            events: Any = await client.responses.create(stream=True, **asked)
            found = [event async for event in events]
            (delta,) = [event for event in found if event.type == "response.output_text.delta"]
            assert delta.logprobs[0].top_logprobs[1].token == "Rome"
            response = found[-1].response
        else:
            response = await client.responses.create(**asked)
    assert (upstream.requests[0]["logprobs"], upstream.requests[0]["top_logprobs"]) == (True, 2)
    (token,) = response.output[0].content[0].logprobs
    assert (token.token, token.logprob, token.bytes) == ("Paris", -0.1, likely["bytes"])
    assert [(each.token, each.bytes) for each in token.top_logprobs][1] == ("Rome", [82, 111, 109, 101])


@pytest.mark.parametrize(
    ("body", "param"),
    [({"top_logprobs": 21}, "top_logprobs"), ({"include": "all"}, "include"), ({"include": [1]}, "include")],
)
async def test_what_is_to_be_included_must_be_well_formed(upstream: Upstream, body: Any, param: str) -> None:
    async with serving(upstream) as (runtime, _):
        reply = await post(runtime, input="hi", **body)
    assert (reply.status, reply.error["param"].partition("[")[0]) == (400, param)
