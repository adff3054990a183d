"""The sessions API, as a client sees it: in this process, in a file, in MongoDB and in PostgreSQL."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.mongodb import MongoServer
from tests.support.runtime import Reply, Runtime, eventually, run_runtime
from tests.support.upstream import Upstream

ALICE, BOB = "alice-0123456789", "bob-0123456789"
QUESTION = {"role": "user", "content": "q"}


async def ask(runtime: Runtime, method: str, path: str, body: Any = None, key: str = ALICE, **headers: str) -> Reply:
    sent = {"authorization": f"Bearer {key}", **{name.replace("_", "-"): value for name, value in headers.items()}}
    async with runtime.client.request(method, f"{runtime.url}/v1/sessions{path}", json=body, headers=sent) as answer:
        return Reply(answer.status, dict(answer.headers), await answer.read())


async def walk_through(runtime: Runtime) -> None:
    """Everything that the API promises, once."""
    created = await ask(runtime, "POST", "", {"title": "one", "metadata": {"team": "blue"}})
    assert created.status == 201, created.body
    session = created.json["id"]
    first = await ask(runtime, "POST", f"/{session}/messages", {"messages": [QUESTION]}, idempotency_key="k1")
    again = await ask(runtime, "POST", f"/{session}/messages", {"messages": [QUESTION]}, idempotency_key="k1")
    assert (first.status, first.json["version"], first.json["replayed"]) == (201, 1, False)
    assert (again.json["version"], again.json["replayed"]) == (1, True)
    late = await ask(runtime, "POST", f"/{session}/messages", {"messages": [QUESTION], "expected_version": 0})
    assert (late.status, late.error["code"], late.headers["x-session-version"]) == (409, "version_conflict", "1")
    for index in range(3):
        answer = {"role": "assistant", "content": f"a{index}"}
        await ask(runtime, "POST", f"/{session}/messages", {"messages": [QUESTION, answer]})
    page = (await ask(runtime, "GET", f"/{session}/messages?limit=4")).json
    rest = (await ask(runtime, "GET", f"/{session}/messages?after={page['next']}")).json
    assert [each["sequence"] for each in (*page["data"], *rest["data"])] == [1, 2, 3, 4, 5, 6, 7]
    assert rest["next"] is None
    changed = await ask(runtime, "PATCH", f"/{session}", {"title": "two"})
    assert (changed.json["title"], changed.json["metadata"]) == ("two", {"team": "blue"})
    assert (changed.json["version"], changed.json["message_count"]) == (4, 7)
    await ask(runtime, "POST", "", {})
    listed = (await ask(runtime, "GET", "?limit=1")).json
    older = (await ask(runtime, "GET", f"?before={listed['next']}")).json
    assert [each["id"] for each in older["data"]] == [session]
    by_id = (await ask(runtime, "GET", f"?after={listed['data'][0]['id']}")).json
    assert (by_id["data"], listed["has_more"], by_id["has_more"]) == (older["data"], True, False)
    assert (await ask(runtime, "GET", "", key=BOB)).json["data"] == []
    assert (await ask(runtime, "GET", f"/{session}", key=BOB)).status == 404
    assert (await ask(runtime, "DELETE", f"/{session}")).json["deleted"] is True
    gone = await ask(runtime, "GET", f"/{session}/messages")
    assert (gone.status, gone.error["code"]) == (404, "session_not_found")


async def test_sessions_in_this_process(upstream: Upstream) -> None:
    async with run_runtime(upstream, api_keys=f"{ALICE}\n{BOB}") as runtime:
        await walk_through(runtime)
        assert (await runtime.ready())["checks"]["sessions"]["status"] == "embedded"


async def test_sessions_in_a_file_outlive_the_process(upstream: Upstream, tmp_path: Path) -> None:
    settings = {"api_keys": f"{ALICE}\n{BOB}", "data_dir": str(tmp_path / "made"), "secret_key": "s" * 32}
    async with run_runtime(upstream, **settings) as runtime:
        await walk_through(runtime)
        session = (await ask(runtime, "POST", "", {"title": "kept"})).json
    async with run_runtime(upstream, **settings) as runtime:
        assert (await ask(runtime, "GET", f"/{session['id']}")).json == session


async def test_sessions_in_mongodb(upstream: Upstream, mongodb: MongoServer) -> None:
    settings = {"mongodb_url": mongodb.url, "mongodb_username": mongodb.username, "mongodb_password": mongodb.password}
    async with run_runtime(upstream, api_keys=f"{ALICE}\n{BOB}", **settings) as runtime:
        await eventually(lambda: _is(runtime, "mongodb", "up"))
        await walk_through(runtime)


@pytest.mark.parametrize(
    ("method", "path", "body", "param"),
    [
        ("POST", "", {"title": "x" * 257}, "title"),
        ("POST", "", {"metadata": {"a": 1}}, "metadata.a"),
        ("POST", "", {"colour": "red"}, "colour"),
        ("GET", "?limit=0", None, "limit"),
        ("GET", "?before=yesterday", None, "before"),
        ("POST", "/sess_1/messages", {"messages": []}, "messages"),
        ("POST", "/sess_1/messages", {"messages": [{"role": "king"}]}, "messages[0].role"),
        ("GET", "/sess_1/messages?after=-1", None, "after"),
    ],
)
async def test_what_is_refused_is_named(upstream: Upstream, method: str, path: str, body: Any, param: str) -> None:
    async with run_runtime(upstream) as runtime:
        reply = await ask(runtime, method, path, body)
    assert (reply.status, reply.error["param"]) == (400, param), json.dumps(reply.json)


async def _is(runtime: Runtime, check: str, status: str) -> bool:
    return bool((await runtime.ready())["checks"][check]["status"] == status)


async def test_a_body_that_is_not_declared_as_json_is_told_how(upstream: Upstream) -> None:
    async with run_runtime(upstream) as runtime:
        sent = {"content-type": "application/x-www-form-urlencoded"}
        reply = await runtime.post('{"title": "curl without a header"}', sent, "/v1/sessions")
    assert (reply.status, reply.error["code"]) == (415, "unsupported_media_type")
    assert "Content-Type: application/json" in reply.error["message"]
