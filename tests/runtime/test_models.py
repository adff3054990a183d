"""Which models there are, and what becomes of a request for one that there is not."""

import json
from typing import Any

import pytest

from assistant_runtime.agents.directory import Directory
from assistant_runtime.errors import StoreUnavailableError
from assistant_runtime.security.principal import Principal
from assistant_runtime.settings.agents import Agent
from assistant_runtime.stores.agents_memory import MemoryAgents
from tests.support.runtime import QUESTION, Reply, Runtime, eventually, run_runtime
from tests.support.upstream import MODEL, Upstream

UNKNOWN = {
    "message": "The model 'nonsense' does not exist. GET /v1/models lists those that there are.",
    "type": "invalid_request_error",
    "param": "model",
    "code": "model_not_found",
}
AGENT = {"name": "poet", "prompt": "You rhyme.", "model": "verse"}


async def listed(runtime: Runtime, model: str = MODEL) -> bool:
    """Whether the runtime has heard that the provider has the model."""
    return model in {each["id"] for each in (await runtime.get("/v1/models")).json["data"]}


async def ask(runtime: Runtime, path: str, **fields: Any) -> Reply:
    return await runtime.post(json.dumps(fields), path=f"/v1/{path}")


@pytest.fixture
def with_list(upstream: Upstream) -> Upstream:
    """Give the provider a model by which the runtime is seen to know the list."""
    upstream.models = (MODEL, "vectors", "seen")
    return upstream


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("chat/completions", QUESTION),
        ("chat/completions", {**QUESTION, "stream": True}),
        ("responses", {"input": "hi"}),
        ("responses", {"input": "hi", "stream": True}),
        ("embeddings", {"input": "hi"}),
    ],
)
async def test_a_model_that_nobody_has_is_not_found(
    with_list: Upstream, second: Upstream, path: str, fields: dict[str, Any]
) -> None:
    async with run_runtime(with_list, second, embedding_model="vectors") as runtime:
        await eventually(lambda: listed(runtime, "seen"))
        await eventually(lambda: listed(runtime, f"second/{MODEL}"))
        reply = await ask(runtime, path, model="nonsense", **fields)
    assert (reply.status, reply.error) == (404, UNKNOWN)
    assert reply.headers["x-request-id"].startswith("req_")
    assert with_list.requests == second.requests == [], "many servers answer to any name"


async def test_a_sole_provider_and_one_that_is_set_so_decide_themselves(with_list: Upstream, second: Upstream) -> None:
    async with run_runtime(with_list) as runtime:
        await eventually(lambda: listed(runtime, "seen"))
        assert (await runtime.chat(model="my-deployment")).status == 200
    async with run_runtime(with_list, second, openai_compatible_any_model=True) as runtime:
        await eventually(lambda: listed(runtime, f"second/{MODEL}"))
        assert (await runtime.chat(model="my-deployment")).headers["x-provider"] == "first"
    assert [request["model"] for request in with_list.requests] == ["my-deployment"] * 2


async def test_a_provider_without_a_list_decides_itself(upstream: Upstream, second: Upstream) -> None:
    second.models_status = 404
    upstream.models = (MODEL, "seen")
    async with run_runtime(upstream, second) as runtime:
        await eventually(lambda: listed(runtime, "seen"))
        assert (await runtime.chat(model="nonsense")).headers["x-provider"] == "second"
    assert [request["model"] for request in second.requests] == ["nonsense"]


async def test_a_list_without_the_embedding_model_says_nothing_of_embeddings(upstream: Upstream) -> None:
    upstream.models = (MODEL, "seen")
    async with run_runtime(upstream, embedding_model="vectors") as runtime:
        await eventually(lambda: listed(runtime, "seen"))
        for model in (None, "vectors", "others"):
            assert (await ask(runtime, "embeddings", model=model, input="hi")).status == 200
    assert [request["model"] for request in upstream.requests] == ["vectors", "vectors", "others"]


@pytest.mark.parametrize(
    "model",
    ["seen:online", "tagged", "first/unlisted", "verse", "dated", "dated-2025-01-01", "models/seen", "alias-latest"],
)
async def test_what_lists_leave_open_is_asked_for(upstream: Upstream, second: Upstream, model: str) -> None:
    upstream.models = (MODEL, "seen", "tagged:latest", "dated-2024-08-06", "alias")
    async with run_runtime(upstream, second, agents=[AGENT]) as runtime:
        await eventually(lambda: listed(runtime, "seen"))
        await eventually(lambda: listed(runtime, f"second/{MODEL}"))
        assert (await runtime.chat(model="other")).status == 404
        assert (await runtime.chat(model=model)).status == 200
    assert [request["model"] for request in upstream.requests] == [model.removeprefix("first/")]


async def test_a_model_that_has_just_come_is_found_in_a_moment(with_list: Upstream, second: Upstream) -> None:
    async with run_runtime(with_list, second) as runtime:
        await eventually(lambda: listed(runtime, "seen"))
        await eventually(lambda: listed(runtime, f"second/{MODEL}"))
        assert (await runtime.chat(model="new")).status == 404
        with_list.models = (*with_list.models, "new")

        async def found() -> bool:
            return (await runtime.chat(model="new")).status == 200

        await eventually(found)


async def test_everything_that_can_be_asked_is_listed(upstream: Upstream) -> None:
    upstream.models = (MODEL, "vendor/big")
    async with run_runtime(upstream, agents=[AGENT]) as runtime:
        await eventually(lambda: listed(runtime, "vendor/big"))
        own = {"prompt": "You count."}
        async with runtime.client.put(f"{runtime.url}/v1/agents/counter", json=own) as made:
            assert made.status == 201
        models = (await runtime.get("/v1/models")).json["data"]
        assert [model["id"] for model in models] == ["default", "agent/counter", "agent/poet", MODEL, "vendor/big"]
        assert [model["owned_by"] for model in models] == ["assistant"] * 3 + ["first"] * 2
        for model in models:
            assert (await runtime.get(f"/v1/models/{model['id']}")).json == model
        assert (await runtime.get("/v1/models/nonsense")).error == UNKNOWN


async def test_nothing_is_listed_without_a_provider() -> None:
    async with run_runtime() as runtime:
        assert (await runtime.get("/v1/models")).json == {"object": "list", "data": []}


async def test_shared_agents_are_listed_while_the_store_is_down() -> None:
    class Down(MemoryAgents):
        async def names(self, tenant: str) -> Any:
            raise StoreUnavailableError("down")

    agents = Directory({"poet": Agent.model_validate(AGENT)}, Down())
    assert await agents.names(Principal("tenant", "tenant")) == ["poet"]


async def test_models_are_listed_without_the_prompts_of_agents() -> None:
    class NoPrompts(MemoryAgents):
        async def list(self, tenant: str, limit: int, after: str = "") -> Any:
            raise AssertionError("a list of names reads no agent")

    store = NoPrompts()
    await store.put("tenant", Agent.model_validate({**AGENT, "name": "own"}))
    agents = Directory({"poet": Agent.model_validate(AGENT)}, store)
    assert await agents.names(Principal("tenant", "tenant")) == ["own", "poet"]
