"""What a key without a scope can't reach: by its path, by a field of a chat, by a tool, or by an agent."""

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from assistant_runtime.app import create_app
from assistant_runtime.security.principal import scopes_for
from assistant_runtime.settings import Settings
from tests.support.runtime import QUESTION, Reply, Runtime, run_runtime
from tests.support.upstream import Upstream

ADMIN = "admin-0123456789"
AGENT = {"description": "Answers.", "prompt": "Be brief."}
SHARED = json.dumps([{"name": "poet", "prompt": "Rhyme."}])


async def ask(runtime: Runtime, key: str, method: str, path: str, body: Any = None, **headers: str) -> Reply:
    sent = {"authorization": f"Bearer {key}", **headers}
    async with runtime.client.request(method, f"{runtime.url}{path}", json=body, headers=sent) as answer:
        return Reply(answer.status, dict(answer.headers), await answer.read())


async def key_with(runtime: Runtime, *scopes: str) -> str:
    """Make a key of the one user of these tests."""
    made = await ask(runtime, ADMIN, "POST", "/v1/keys", {"name": "test", "user": "carol", "scopes": scopes})
    assert made.status == 201
    return str(made.json["key"])


@asynccontextmanager
async def running(upstream: Upstream, folder: Path, **settings: Any) -> AsyncIterator[Runtime]:
    common = {"api_keys": ADMIN, "secret_key": "s" * 32, "data_dir": str(folder)}
    async with run_runtime(upstream, **common, **settings) as runtime:
        yield runtime


def refused(reply: Reply) -> bool:
    return (reply.status, reply.error["code"]) == (403, "insufficient_scope")


def test_every_route_of_the_api_says_its_scope(tmp_path: Path) -> None:
    app = create_app(
        Settings.load(api_keys=ADMIN, secret_key="s" * 32, data_dir=str(tmp_path), multi_writer_enabled=True)
    )
    paths = [path for path in app.openapi()["paths"] if path.startswith("/v1/")]
    assert {"/v1/chat/completions", "/v1/writers/{job_id}", "/v1/usage", "/v1/users"} <= set(paths)
    assert [path for path in paths if not scopes_for(path)] == []


async def test_a_route_without_a_scope_is_an_administrators(upstream: Upstream, tmp_path: Path) -> None:
    async with running(upstream, tmp_path) as runtime:
        app: Any = runtime.server.config.app
        assert isinstance(app, FastAPI)

        @app.get("/v1/new")
        async def new() -> str:
            return "answered"

        user = await key_with(runtime, "chat", "sessions", "documents", "agents", "writers")
        assert refused(await ask(runtime, user, "GET", "/v1/new"))
        assert (await ask(runtime, ADMIN, "GET", "/v1/new")).status == 200
        for key in (user, ADMIN):
            assert (await ask(runtime, key, "GET", "/v1/nothing")).error["code"] == "not_found"


async def test_each_scope_opens_its_paths_alone(upstream: Upstream, tmp_path: Path) -> None:
    opened = {
        "chat": {"chat", "completions", "embeddings", "models", "rerank", "responses", "usage"},
        "sessions": {"sessions"},
        "documents": {"documents", "search"},
        "agents": {"agents"},
        "writers": {"writers"},
        "admin": {"keys", "usage", "users"},
    }
    async with running(upstream, tmp_path, multi_writer_enabled=True, rate_limit_enabled=False) as runtime:
        described = (await ask(runtime, ADMIN, "GET", "/openapi.json")).json["paths"]
        routes = [(path, method) for path, methods in described.items() for method in methods if "/v1/" in path]
        for scope, roots in opened.items():
            key = await key_with(runtime, scope)
            found = set()
            for path, method in routes:
                reply = await ask(runtime, key, method.upper(), re.sub(r"\{[^}]*\}", "x", path), {})
                if reply.status != 403:
                    found.add(path.split("/")[2])
            assert found == roots


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses"])
async def test_a_session_is_used_with_its_scope_alone(upstream: Upstream, tmp_path: Path, path: str) -> None:
    body = QUESTION if "chat" in path else {"input": "What is the capital of France?", "model": "default"}
    async with running(upstream, tmp_path) as runtime:
        chat, both = await key_with(runtime, "chat"), await key_with(runtime, "chat", "sessions")
        session = (await ask(runtime, both, "POST", "/v1/sessions", {})).json["id"]
        named = {**body, "assistant": {"session": session}}
        for reply in (
            await ask(runtime, chat, "POST", path, named),
            await ask(runtime, chat, "POST", path, named | {"stream": True}),
            await ask(runtime, chat, "POST", path, body, **{"x-session-id": session}),
        ):
            assert refused(reply)
            assert reply.error["param"] == "assistant.session"
        assert (await ask(runtime, both, "GET", f"/v1/sessions/{session}")).json["message_count"] == 0
        assert (await ask(runtime, both, "POST", path, named)).status == 200
        assert (await ask(runtime, both, "GET", f"/v1/sessions/{session}")).json["message_count"] == 2


async def test_stored_responses_need_no_scope_of_sessions(upstream: Upstream, tmp_path: Path) -> None:
    async with running(upstream, tmp_path) as runtime:
        key = await key_with(runtime, "chat")
        first = await ask(runtime, key, "POST", "/v1/responses", {"input": "Hello", "model": "default"})
        followed = {"input": "And now?", "model": "default", "previous_response_id": first.json["id"]}
        assert (await ask(runtime, key, "POST", "/v1/responses", followed)).status == 200
        session = first.json["id"].split("_")[1]
        stolen = {**QUESTION, "assistant": {"session": f"sess_{session}"}}
        assert refused(await ask(runtime, key, "POST", "/v1/chat/completions", stolen))


async def test_items_of_responses_are_no_way_into_other_sessions(upstream: Upstream, tmp_path: Path) -> None:
    async with running(upstream, tmp_path) as runtime:
        key, both = await key_with(runtime, "chat"), await key_with(runtime, "chat", "sessions")
        session = (await ask(runtime, both, "POST", "/v1/sessions", {})).json["id"]
        kept = {"messages": [{"role": "user", "content": "secret"}]}
        assert (await ask(runtime, both, "POST", f"/v1/sessions/{session}/messages", kept)).status == 201
        reference = {"type": "item_reference", "id": f"msg_{session.removeprefix('sess_')}0000000100"}
        for each in (key, both):
            reply = await ask(runtime, each, "POST", "/v1/responses", {"input": [reference]})
            assert (reply.status, reply.error["param"]) == (404, "input[0].id")


async def test_documents_are_searched_with_their_scope_alone(upstream: Upstream, tmp_path: Path) -> None:
    # Nobody is there: what is asked is whether the model is offered the tool.
    async with running(upstream, tmp_path, milvus_url="http://127.0.0.1:9", embedding_model="vectors") as runtime:
        chat, both = await key_with(runtime, "chat"), await key_with(runtime, "chat", "documents")
        named = {**QUESTION, "assistant": {"tools": ["search_documents"]}}
        reply = await ask(runtime, chat, "POST", "/v1/chat/completions", named)
        assert refused(reply)
        assert reply.error["param"] == "assistant.tools"
        assert (await ask(runtime, chat, "POST", "/v1/chat/completions", QUESTION)).status == 200
        assert (await ask(runtime, both, "POST", "/v1/chat/completions", named)).status == 200
    without, with_it = upstream.requests
    assert "tools" not in without
    assert [tool["function"]["name"] for tool in with_it["tools"]] == ["search_documents"]


async def test_agents_of_the_tenants_own_are_asked_with_their_scope_alone(upstream: Upstream, tmp_path: Path) -> None:
    async with running(upstream, tmp_path, agents=SHARED) as runtime:
        chat, both = await key_with(runtime, "chat"), await key_with(runtime, "chat", "agents")
        assert (await ask(runtime, both, "PUT", "/v1/agents/helper", AGENT)).status == 201

        async def asked(key: str, name: str) -> int:
            body = {**QUESTION, "model": f"agent/{name}"}
            return (await ask(runtime, key, "POST", "/v1/chat/completions", body)).status

        async def listed(key: str) -> set[str]:
            models = (await ask(runtime, key, "GET", "/v1/models")).json["data"]
            return {model["id"] for model in models if model["id"].startswith("agent/")}

        assert [await asked(chat, name) for name in ("poet", "helper")] == [200, 404]
        assert [await asked(both, name) for name in ("poet", "helper")] == [200, 200]
        assert await listed(chat) == {"agent/poet"}
        assert await listed(both) == {"agent/poet", "agent/helper"}
