"""Models and tools that a key is allowed, wherever it asks for them, and what it sees of its own usage."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from assistant_runtime.security import ledger
from tests.support.json_server import run_json_server
from tests.support.runtime import QUESTION, Reply, Runtime, eventually, run_runtime
from tests.support.upstream import MODEL, Upstream

ADMIN = "admin-0123456789"


@pytest.fixture
async def runtime(
    upstream: Upstream, second: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Runtime]:
    monkeypatch.setattr(ledger, "FLUSH_SECONDS", 0.1)
    upstream.models, second.models = (MODEL, "small"), (MODEL, "small", "large")
    agents = '[{"name": "poet", "prompt": "Rhyme.", "model": "large"}, {"name": "clerk", "prompt": "Write."}]'
    common = {"api_keys": ADMIN, "secret_key": "s" * 32, "data_dir": str(tmp_path), "agents": agents}
    async with run_json_server() as search:
        found: dict[str, Any] = {"results": [], "unresponsive_engines": []}
        search.answer("GET", "/search", found)
        more = {"searxng_url": search.url, "multi_writer_enabled": True, "redis_cache_enabled": False}
        async with run_runtime(upstream, second, **common, **more) as running:

            async def listed() -> bool:
                models = (await ask(running, ADMIN, "GET", "models")).json["data"]
                return "large" in str(models)

            await eventually(listed)
            yield running


async def ask(runtime: Runtime, key: str, method: str, path: str, body: Any = None) -> Reply:
    headers = {"authorization": f"Bearer {key}"}
    async with runtime.client.request(method, f"{runtime.url}/v1/{path}", json=body, headers=headers) as answer:
        return Reply(answer.status, dict(answer.headers), await answer.read())


async def make(runtime: Runtime, **wanted: Any) -> dict[str, Any]:
    made = await ask(runtime, ADMIN, "POST", "keys", {"name": "test", **wanted})
    assert made.status == 201, made.body
    found: dict[str, Any] = made.json
    return found


def forbidden(reply: Reply) -> bool:
    return (reply.status, reply.error["code"]) == (403, "model_not_found")


async def test_a_key_asks_the_models_that_it_is_allowed(runtime: Runtime, upstream: Upstream) -> None:
    key = (await make(runtime, models=["small"]))["key"]
    for name in ("small", "first/small", "second/small"):
        assert (await runtime.chat(key, model=name)).status == 200
    refused = ("large", "second/large", "default", "first/default", MODEL, "agent/poet", "agent/clerk", "invented")
    for name in refused:
        reply = await runtime.chat(key, model=name)
        assert forbidden(reply) or reply.error["code"] == "model_not_found", name
        assert forbidden(await runtime.chat(key, model=name, stream=True)) or name == "invented"
    assert forbidden(await runtime.chat(key)), "nor the default, by saying nothing"
    assert forbidden(await ask(runtime, key, "POST", "responses", {"input": "Hi", "model": "large"}))
    assert forbidden(await ask(runtime, key, "POST", "embeddings", {"input": "Hi", "model": "large"}))
    assert forbidden(
        await ask(runtime, key, "POST", "embeddings", {"input": "Hi", "model": "local/multilingual-e5-small"})
    )
    job = {"prompt": "Write.", "writers": ["large", "small"], "checkers": [], "max_revisions": 0}
    drafts = (await ask(runtime, key, "POST", "writers?wait=30", job)).json["drafts"]
    assert [
        "access to the model" in (draft["error"] or "") for draft in sorted(drafts, key=lambda it: it["writer"])
    ] == [
        True,
        False,
    ]
    assert {request["model"] for request in upstream.requests} == {"small"}


async def test_only_models_that_it_is_allowed_are_listed(runtime: Runtime) -> None:
    key = (await make(runtime, models=["small", "agent/poet"]))["key"]
    listed = {model["id"] for model in (await ask(runtime, key, "GET", "models")).json["data"]}
    assert {name.rpartition("/")[2] for name in listed} == {"small", "poet"}
    assert (await ask(runtime, key, "GET", f"models/{MODEL}")).status == 404
    for name in listed:
        assert (await runtime.chat(key, model=name)).status == 200, "what is listed can be asked"


async def test_models_of_a_key_are_changed(runtime: Runtime) -> None:
    made = await make(runtime, models=["small"])
    assert made["models"] == ["small"]
    assert (await ask(runtime, ADMIN, "PATCH", f"keys/{made['id']}", {"models": ["large"]})).json["models"] == ["large"]
    assert (await runtime.chat(made["key"], model="large")).status == 200
    assert (await ask(runtime, ADMIN, "PATCH", f"keys/{made['id']}", {"models": None})).json["models"] is None
    assert (await runtime.chat(made["key"])).status == 200
    for wrong in ([], [""], "small", ["x" * 300]):
        refused = await ask(runtime, ADMIN, "POST", "keys", {"name": "test", "models": wrong})
        assert (refused.status, refused.error["param"].partition("[")[0]) == (400, "models")


async def test_a_key_uses_the_tools_that_it_is_allowed(runtime: Runtime, upstream: Upstream) -> None:
    named = {**QUESTION, "assistant": {"tools": ["web_search"]}}
    for tools, offered in ((["web_search"], True), (["web_*"], True), (["desk_*"], False), (None, True)):
        key = (await make(runtime, tools=tools))["key"]
        assert (await runtime.chat(key)).status == 200
        names = [tool["function"]["name"] for tool in upstream.requests[-1].get("tools", ())]
        assert ("web_search" in names) is offered
        reply = await ask(runtime, key, "POST", "chat/completions", named)
        assert reply.status == (200 if offered else 403)
        if not offered:
            assert (reply.error["code"], reply.error["param"]) == ("tool_not_allowed", "assistant.tools")


async def test_a_key_reads_its_own_usage_alone(runtime: Runtime) -> None:
    own, other = [await make(runtime, user="carol") for _ in range(2)]
    for key in (own, other):
        assert (await runtime.chat(key["key"])).status == 200

    async def seen() -> bool:
        return {row["key_id"] for row in (await ask(runtime, ADMIN, "GET", "usage")).json["data"]} == {
            own["id"],
            other["id"],
        }

    await eventually(seen)
    for query in ("usage", f"usage?key_id={own['id']}"):
        rows = (await ask(runtime, own["key"], "GET", query)).json["data"]
        assert {row["key_id"] for row in rows} == {own["id"]}
    for query in (f"usage?key_id={other['id']}", "usage?user=carol", "usage?user=dave"):
        assert (await ask(runtime, own["key"], "GET", query)).error["code"] == "insufficient_scope"


async def test_an_agent_of_its_own_is_held_to_the_models_of_the_key(runtime: Runtime, second: Upstream) -> None:
    key = (await make(runtime, models=["agent/poet", "agent/clerk", "small"], scopes=["chat", "agents"]))["key"]
    assert (await runtime.chat(key, model="agent/poet")).status == 200, "a shared agent may have any model"
    asked = len(second.requests)
    for name, fields in (("poet", {"model": "large"}), ("clerk", {"model": "small", "handoffs": ["poet"]})):
        made = await ask(runtime, key, "PUT", f"agents/{name}", {"prompt": "Mine.", **fields})
        assert made.status in (200, 201), made.body
    assert forbidden(await runtime.chat(key, model="agent/poet")), "its own of the same name is its own choice"
    assert (await runtime.chat(key, model="agent/clerk")).status == 200
    assert len(second.requests) == asked


async def test_a_key_gets_no_answer_that_another_key_of_its_user_asked_for(runtime: Runtime) -> None:
    wide, narrow = [(await make(runtime, user="carol", models=models))["key"] for models in (["large"], ["small"])]
    body = {**QUESTION, "model": "large"}
    repeated = {"idempotency-key": "retry-1"}
    for key, status in ((wide, 200), (wide, 200), (narrow, 403)):
        headers = {"authorization": f"Bearer {key}"} | repeated
        async with runtime.client.post(f"{runtime.url}/v1/chat/completions", json=body, headers=headers) as answer:
            assert answer.status == status
