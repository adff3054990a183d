"""Stored responses by id, judged by OpenAI's own client: the response, its input, its items, and that they go."""

import json
from typing import Any

import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assistant_runtime.api.responses.ids import given_id, response_id
from assistant_runtime.api.responses.stored import MAX_REFERENCES, StoredResponses
from assistant_runtime.stores.conversation_memory import MemoryConversationLog
from assistant_runtime.stores.conversations import RESPONSES_METADATA, Conversations, Session
from assistant_runtime.stores.history import History
from tests.runtime.test_responses import CLOCK, post, serving
from tests.runtime.test_responses_tools import AGENTS
from tests.runtime.test_tool_loop import RESULTS, SEARCH
from tests.support.json_server import run_json_server
from tests.support.runtime import Runtime, run_runtime
from tests.support.tool_calls import calls, says
from tests.support.upstream import MODEL, Upstream, answers, completion, die_mid_stream, writes


async def answered(client: openai.AsyncOpenAI, *, stream: bool = False, **asked: Any) -> Any:
    if not stream:
        return await client.responses.create(model="default", **asked)
    events: Any = await client.responses.create(model="default", stream=True, **asked)
    *_, last = [event async for event in events]
    return last.response


async def status_of(runtime: Runtime, method: str, path: str) -> int:
    async with runtime.client.request(method, f"{runtime.url}{path}") as answer:
        await answer.read()
        return answer.status


@pytest.mark.parametrize("stream", [False, True])
async def test_a_response_is_given_by_id_as_it_was_answered(upstream: Upstream, stream: bool) -> None:
    upstream.script = [calls(SEARCH), calls(("call_1", "agents__spawn", {}), ("call_2", "clock", {}), text="See [1].")]
    async with run_json_server() as searxng:
        searxng.answer("GET", "/search", RESULTS)
        async with serving(upstream, searxng_url=searxng.url) as (_, client):
            asked: Any = {"instructions": "Be brief.", "tools": [AGENTS, CLOCK, {"type": "web_search"}], "top_p": 0.5}
            first = await answered(client, stream=stream, input="capital?", metadata={"a": "b"}, **asked)
            again: Any = await client.responses.retrieve(first.id)
    expected = first.to_dict() | {"completed_at": again.completed_at}
    assert again.to_dict() == expected
    assert [item.type for item in again.output] == ["message", "function_call", "function_call"]
    assert again.output[0].content[0].annotations[0].url == "https://example.org/paris"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("said", "finish"),
    [
        ({"content": "Paris.", "reasoning_content": "Let me think."}, "stop"),
        ({"content": None, "refusal": "No."}, "stop"),
        ({"content": "Par"}, "length"),
    ],
)
async def test_whatever_a_model_says_is_given_again(
    upstream: Upstream, said: dict[str, Any], finish: str, stream: bool
) -> None:
    answer = completion(MODEL)
    choice = {"index": 0, "finish_reason": finish}
    if stream:
        event = json.dumps(answer | {"choices": [choice | {"delta": said}]}).encode()
        upstream.script = [writes(b"data: " + event + b"\n\n", b"data: [DONE]\n\n")]
    else:
        upstream.script = [answers(json.dumps(answer | {"choices": [choice | {"message": said}]}))]
    async with serving(upstream) as (_, client):
        first = await answered(client, stream=stream, input="hi")
        again = await client.responses.retrieve(first.id)
        await answered(client, input="Sure?", previous_response_id=first.id)
    assert again.to_dict() == first.to_dict() | {"completed_at": again.completed_at}
    assert upstream.requests[1]["messages"][1]["content"] == (said["content"] or said["refusal"])


async def test_an_answer_that_broke_off_has_failed(upstream: Upstream) -> None:
    upstream.script = [die_mid_stream]
    async with serving(upstream) as (_, client):
        stream = await client.responses.create(model="default", input="hi", stream=True)
        created, *_, last = [event async for event in stream]
        response = await client.responses.retrieve(created.response.id)  # type: ignore[union-attr]
    assert last.type == "response.failed"
    assert (response.status, response.output_text) == ("failed", "Paris is ")
    assert response.error is not None
    assert response.error.code == "server_error"


async def test_input_is_listed_in_pages_both_ways(upstream: Upstream) -> None:
    upstream.script = [calls(("call_1", "agents__spawn", {}), ("call_2", "clock", {}), text="Wait."), says("Done.")]
    async with serving(upstream) as (_, client):
        first = await answered(client, input=[{"role": "user", "content": "one"}], tools=[AGENTS, CLOCK])
        picture = {"type": "input_image", "image_url": "data:image/png;base64,AA", "detail": "low"}
        items: Any = [
            {"type": "function_call_output", "call_id": "call_1", "output": "1"},
            {"type": "function_call_output", "call_id": "call_2", "output": "2"},
            {"role": "user", "content": [{"type": "input_text", "text": "two"}, picture]},
        ]
        second = await answered(client, input=items, previous_response_id=first.id, tools=[AGENTS, CLOCK])
        whole = await client.responses.input_items.list(second.id, order="asc")
        by_twos = [each async for each in client.responses.input_items.list(second.id, order="asc", limit=2)]
        backwards = [each async for each in client.responses.input_items.list(second.id, limit=1)]
        of_first = (await client.responses.input_items.list(first.id)).data
    assert [item.type for item in whole.data] == [
        "message",
        "message",
        "function_call",
        "function_call",
        "function_call_output",
        "function_call_output",
        "message",
    ]
    assert not whole.has_more
    assert by_twos == whole.data
    assert backwards == whole.data[::-1]
    assert of_first == whole.data[:1]
    call, last = whole.data[2], whole.data[-1]
    assert (getattr(call, "namespace", None), getattr(call, "name", None)) == ("agents", "spawn")
    assert [part.to_dict() for part in getattr(last, "content", ())] == [{"type": "input_text", "text": "two"}, picture]


async def test_items_of_stored_responses_are_found_by_id(upstream: Upstream) -> None:
    """The second turn of Vercel's SDK."""
    upstream.script = [calls(("call_1", "clock", {"zone": "UTC"}), text="Let me look."), says("Noon."), says("Yes.")]
    async with serving(upstream) as (_, client):
        first = await answered(client, input="time?", tools=[CLOCK])
        references: list[Any] = [{"type": "item_reference", "id": item.id} for item in first.output]
        result = {"type": "function_call_output", "call_id": "call_1", "output": "12:00"}
        turn: Any = [{"role": "user", "content": "time?"}, *references, result]
        second = await answered(client, input=turn, tools=[CLOCK])
        given = (await client.responses.input_items.list(second.id, order="asc")).data
        more: Any = [
            {"type": "item_reference", "id": given[0].id},
            {"type": "item_reference", "id": second.output[0].id},
        ]
        await answered(client, input=[*more, {"role": "user", "content": "sure?"}])
    asked = [[(each["role"], each["content"]) for each in request["messages"]] for request in upstream.requests]
    assert asked[1] == [("user", "time?"), ("assistant", "Let me look."), ("tool", "12:00")]
    assert upstream.requests[1]["messages"][1]["tool_calls"][0]["id"] == "call_1"
    assert asked[2] == [("user", "time?"), ("assistant", "Noon."), ("user", "sure?")]


@pytest.mark.parametrize("place", ["unstored", "x", "msg_" + "0" * 50, "msg_" + "0" * 42])
async def test_an_item_that_is_not_stored_is_named(upstream: Upstream, place: str) -> None:
    async with serving(upstream) as (runtime, client):
        if place == "unstored":
            place = (await answered(client, input="hi", store=False)).output[0].id
        reply = await post(runtime, input=[{"role": "user", "content": "hi"}, {"type": "item_reference", "id": place}])
    assert (reply.status, reply.error["param"]) == (404, "input[1].id")
    assert "send the item itself" in reply.error["message"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("named", [("call_\ud800", "web_search"), ("call_1", "clock\ud800")], ids=["id", "name"])
async def test_half_a_character_in_a_call_keeps_no_response_from_being_stored(
    upstream: Upstream, named: tuple[str, str], stream: bool
) -> None:
    upstream.script = [calls((*named, {"query": "capital"})), says("Paris.")]
    async with run_json_server() as searxng:
        searxng.answer("GET", "/search", RESULTS)
        async with serving(upstream, searxng_url=searxng.url) as (runtime, _):
            reply = await post(runtime, input="capital?", tools=[{"type": "web_search"}], stream=stream)
    assert reply.status == 200, reply.body
    assert b"not kept" not in reply.body


async def test_a_request_refers_to_so_many_items_at_most(upstream: Upstream) -> None:
    named = [{"type": "item_reference", "id": f"msg_{place:042x}"} for place in range(MAX_REFERENCES + 1)]
    async with serving(upstream) as (runtime, _):
        reply = await post(runtime, input=named)
        fewer = await post(runtime, input=named[1:] * 2)
    assert (reply.status, reply.error["param"]) == (400, "input")
    assert "previous_response_id" in reply.error["message"]
    assert fewer.status == 404, "what is named twice counts once"


async def test_items_of_one_session_are_looked_up_together(monkeypatch: pytest.MonkeyPatch) -> None:
    log = MemoryConversationLog()
    conversations = Conversations(log, max_messages=100, max_sessions=1)
    session = await conversations.create("t", metadata=RESPONSES_METADATA)
    for turn in range(10):
        said = [{"role": "user", "content": f"{turn}, {part}"} for part in range(3)]
        await conversations.append("t", session.id, said, f"turn {turn}")
    looked: list[str] = []

    async def counted(tenant: str, session_id: str) -> Session | None:
        looked.append(session_id)
        return await MemoryConversationLog.session(log, tenant, session_id)

    monkeypatch.setattr(log, "session", counted)
    named = [given_id(session.id, sequence, "msg", 0) for sequence in (29, 1, 2, 3, 17, 30)]
    stored = StoredResponses(conversations, History(conversations, None, 100))
    found = await stored.resolved("t", [{"type": "item_reference", "id": name} for name in named])
    assert [item["id"] for item in found] == named
    assert [item["content"][0]["text"] for item in found] == ["9, 1", "0, 0", "0, 1", "0, 2", "5, 1", "9, 2"]
    assert len(looked) == 1


async def test_a_deleted_response_is_gone_and_those_that_follow_stay(upstream: Upstream) -> None:
    async with serving(upstream) as (runtime, client):
        first = await answered(client, input="one")
        second = await answered(client, input="two", previous_response_id=first.id)
        await client.responses.delete(first.id)
        assert await status_of(runtime, "GET", f"/v1/responses/{first.id}") == 404
        assert await status_of(runtime, "DELETE", f"/v1/responses/{first.id}") == 404
        assert (await post(runtime, input="x", previous_response_id=first.id)).status == 404
        third = await answered(client, input="three", previous_response_id=second.id)
        assert upstream.requests[-1]["messages"][0]["content"] == "one"
        assert third.id
        sessions = (await runtime.get("/v1/sessions")).json["data"]
        assert len(sessions) == 1
        await client.responses.delete(second.id)
        await client.responses.delete(third.id)
        assert (await runtime.get("/v1/sessions")).json["data"] == []


@pytest.mark.parametrize("path", ["", "/input_items"])
async def test_what_is_not_stored_or_another_tenants_is_not_found(upstream: Upstream, path: str) -> None:
    alice, bob = "alice-0123456789abcdef", "bob-0123456789abcdef"
    async with run_runtime(upstream, api_keys=f"{alice}\n{bob}") as runtime:
        headers = {"authorization": f"Bearer {alice}"}
        stored, unstored = [
            (await runtime.post(json.dumps({"input": "hi", "store": store}), headers, "/v1/responses")).json["id"]
            for store in (True, False)
        ]
        assert (await runtime.get(f"/v1/responses/{stored}{path}", headers)).status == 200
        headers = {"authorization": f"Bearer {bob}"}
        for response in (stored, unstored, "resp_x", "resp_" + "0" * 48):
            reply = await runtime.get(f"/v1/responses/{response}{path}", headers)
            assert (reply.status, reply.error["code"]) == (404, "not_found")


async def test_a_stored_response_is_no_stream(upstream: Upstream) -> None:
    async with serving(upstream) as (runtime, client):
        response = await answered(client, input="hi")
        whole = await runtime.get(f"/v1/responses/{response.id}?stream=false")
        stream = await runtime.get(f"/v1/responses/{response.id}?stream=true")
    assert (whole.status, stream.status, stream.error["param"]) == (200, 400, "stream")


@pytest.mark.parametrize(
    ("query", "param"), [("limit=0", "limit"), ("limit=101", "limit"), ("order=up", "order"), ("after=msg_1", "after")]
)
async def test_a_bad_page_is_named(upstream: Upstream, query: str, param: str) -> None:
    async with serving(upstream) as (runtime, client):
        response = await answered(client, input="hi")
        reply = await runtime.get(f"/v1/responses/{response.id}/input_items?{query}")
    assert (reply.status, reply.error["param"]) == (400, param)


TURNS = st.lists(
    st.tuples(
        st.lists(st.sampled_from(["hi", "there", ""]), min_size=1, max_size=3),
        st.integers(0, 3),
        st.sampled_from(["", "Wait."]),
    ),
    min_size=1,
    max_size=4,
)
"""Each turn: what the user says, how many calls the model makes of that, and what it says beside them."""


@settings(max_examples=25)
@given(turns=TURNS, limit=st.integers(1, 5))
async def test_pages_of_any_size_are_the_whole_list_both_ways(
    turns: list[tuple[list[str], int, str]], limit: int
) -> None:
    conversations = Conversations(MemoryConversationLog(), max_messages=1000, max_sessions=10)
    stored = StoredResponses(conversations, History(conversations, None, 100))
    session = await conversations.create("alice", "", RESPONSES_METADATA)
    waiting: list[str] = []
    for place, (texts, count, said) in enumerate(turns):
        results = [{"role": "tool", "tool_call_id": call, "content": "done"} for call in waiting]
        waiting = [f"call_{place}_{number}" for number in range(count)]
        calls = [{"id": call, "type": "function", "function": {"name": "f", "arguments": "{}"}} for call in waiting]
        answer: dict[str, Any] = {"role": "assistant", "content": said or None}
        answer |= {"tool_calls": calls} if calls else {}
        asked = [*results, *({"role": "user", "content": text} for text in texts)]
        key = response_id(session.id)
        about = {"response": {"tools": []}, "made": 1}
        await conversations.append("alice", session.id, [*asked, answer], key, about=about)

    async def pages(*, newest_first: bool, size: int) -> list[str]:
        found: list[str] = []
        while True:
            after = found[-1] if found else ""
            page, more = await stored.input_items("alice", key, limit=size, newest_first=newest_first, after=after)
            found += [item["id"] for item in page]
            assert len(page) == size or not more
            if not more:
                return found

    whole = await pages(newest_first=False, size=100)
    assert len(whole) == len(set(whole)) > 0
    assert await pages(newest_first=False, size=limit) == whole
    assert await pages(newest_first=True, size=limit) == whole[::-1]
