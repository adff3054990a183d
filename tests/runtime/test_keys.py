"""Keys that administrators make: what they open, what they may spend, and how they end."""

from pathlib import Path
from typing import Any

import pytest

from assistant_runtime.security import managed_keys
from tests.support.postgresql import PostgresServer
from tests.support.runtime import Reply, Runtime, eventually, run_runtime
from tests.support.upstream import MODEL, Upstream

ADMIN = "admin-0123456789"


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    common = {"api_keys": ADMIN, "secret_key": "s" * 32}
    if request.param == "sqlite":
        return {**common, "data_dir": str(tmp_path)}
    server: PostgresServer = request.getfixturevalue("postgresql")
    credentials = {"database_username": server.username, "database_password": server.password}
    return {**common, "database_url": server.url, **credentials}


async def ask(runtime: Runtime, method: str, path: str, key: str = ADMIN, body: Any = None) -> Reply:
    headers = {"authorization": f"Bearer {key}"}
    async with runtime.client.request(method, f"{runtime.url}/v1/{path}", json=body, headers=headers) as answer:
        return Reply(answer.status, dict(answer.headers), await answer.read())


async def make(runtime: Runtime, **wanted: Any) -> dict[str, Any]:
    reply = await ask(runtime, "POST", "keys", body={"name": "test", **wanted})
    assert reply.status == 201, reply.body
    made: dict[str, Any] = reply.json
    return made


async def test_a_key_lives_until_it_is_revoked(
    upstream: Upstream, database: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with run_runtime(upstream, **database) as runtime:
        made = await make(runtime)
        assert (await runtime.chat(made["key"])).status == 200
        listed = await ask(runtime, "GET", "keys")
        assert made["key"].encode() not in listed.body, "the secret is told once"
        assert [key["id"] for key in listed.json["data"]] == [made["id"]]
        assert (await ask(runtime, "DELETE", f"keys/{made['id']}")).json["revoked"] is not None
        assert (await runtime.chat(made["key"])).status == 401
        assert (await ask(runtime, "DELETE", "keys/key_unknown")).error["code"] == "key_not_found"


async def test_another_replica_refuses_a_revoked_key(
    upstream: Upstream, database: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(managed_keys, "FRESH_SECONDS", 0.2)
    async with run_runtime(upstream, **database) as one, run_runtime(upstream, **database) as other:
        made = await make(one)
        assert (await other.chat(made["key"])).status == 200
        await ask(one, "DELETE", f"keys/{made['id']}")

        async def refused() -> bool:
            return (await other.chat(made["key"])).status == 401

        await eventually(refused)


async def test_a_key_opens_what_its_scopes_say(upstream: Upstream, database: dict[str, Any]) -> None:
    async with run_runtime(upstream, **database) as runtime:
        key = (await make(runtime, scopes=["sessions"]))["key"]
        assert (await ask(runtime, "GET", "sessions", key)).status == 200
        for method, path in (("GET", "models"), ("GET", "keys"), ("GET", "usage"), ("POST", "keys")):
            refused = await ask(runtime, method, path, key)
            assert (refused.status, refused.error["code"]) == (403, "insufficient_scope")


async def test_keys_of_one_user_share_their_sessions(upstream: Upstream, database: dict[str, Any]) -> None:
    async with run_runtime(upstream, **database) as runtime:
        first, second = [(await make(runtime, user="carol"))["key"] for _ in range(2)]
        stranger = (await make(runtime, user="dave"))["key"]
        session = (await ask(runtime, "POST", "sessions", first, {})).json["id"]
        assert (await ask(runtime, "GET", f"sessions/{session}", second)).status == 200
        assert (await ask(runtime, "GET", f"sessions/{session}", stranger)).status == 404


async def test_a_key_has_a_limit_of_its_own(upstream: Upstream, database: dict[str, Any]) -> None:
    async with run_runtime(upstream, **database) as runtime:
        key = (await make(runtime, rate_limit={"requests": 1, "window": 60}))["key"]
        replies = [await runtime.chat(key) for _ in range(2)]
        assert [reply.status for reply in replies] == [200, 429]
        assert replies[0].headers["x-ratelimit-limit-requests"] == "1"
        assert (await runtime.chat(ADMIN)).headers["x-ratelimit-limit-requests"] == "100"


async def test_a_budget_ends(upstream: Upstream, database: dict[str, Any]) -> None:
    async with run_runtime(upstream, **database) as runtime:
        key = (await make(runtime, token_budget_daily=1))["key"]
        assert (await runtime.chat(key)).status == 200
        over = await runtime.chat(key, user="other")
        assert (over.status, over.error["code"]) == (429, "token_budget_exceeded")
        assert 1 <= int(over.headers["retry-after"]) <= 86_400
        assert over.headers["x-ratelimit-remaining-tokens"] == "0"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_learns_how_its_budget_stands(
    upstream: Upstream, database: dict[str, Any], stream: bool
) -> None:
    async with run_runtime(upstream, **database) as runtime:
        key = (await make(runtime, token_budget_daily=5000, token_budget_monthly=100_000))["key"]
        replies = [await runtime.chat(key, user=str(number), stream=stream) for number in range(2)]
        assert "x-ratelimit-limit-tokens" not in (await runtime.chat(ADMIN)).headers
    assert [reply.headers["x-ratelimit-limit-tokens"] for reply in replies] == ["5000", "5000"]
    first, second = (int(reply.headers["x-ratelimit-remaining-tokens"]) for reply in replies)
    assert first - second == 20, "what the first answer took, streamed or not, in place of what was held for it"
    assert replies[0].headers["x-ratelimit-reset-tokens"].endswith("s")


async def test_usage_is_kept_by_key_model_and_day(upstream: Upstream, database: dict[str, Any]) -> None:
    async with run_runtime(upstream, **database) as runtime:
        made = await make(runtime)
        for index in range(3):
            await runtime.chat(made["key"], user=str(index))
    async with run_runtime(upstream, **database) as runtime:
        rows = (await ask(runtime, "GET", f"usage?key_id={made['id']}")).json["data"]
    assert [(row["model"], row["requests"]) for row in rows] == [(MODEL, 3)]
    assert rows[0]["input_tokens"] > 0
    assert rows[0]["output_tokens"] > 0


async def test_keys_that_were_seen_go_on_without_the_database(
    upstream: Upstream, postgresql: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(managed_keys, "FRESH_SECONDS", 0.0)
    credentials = {"database_username": postgresql.username, "database_password": postgresql.password}
    async with run_runtime(upstream, api_keys=ADMIN, database_url=postgresql.url, **credentials) as runtime:
        key = (await make(runtime))["key"]
        assert (await runtime.chat(key)).status == 200
        postgresql.kill()
        assert (await runtime.chat(key)).status == 200
        unknown = await runtime.chat("ak-never-seen")
        assert (unknown.status, unknown.error["code"]) == (503, "store_unavailable")
        assert (await runtime.chat(ADMIN)).status == 200
        ready = await runtime.ready()
        assert (ready["status"], ready["degraded"]) == ("degraded", ["database"])
        postgresql.start()

        async def back() -> bool:
            return (await ask(runtime, "GET", "keys")).status == 200

        await eventually(back)


async def test_nobody_is_an_administrator_without_keys(upstream: Upstream, tmp_path: Path) -> None:
    async with run_runtime(upstream, data_dir=str(tmp_path)) as runtime:
        assert (await ask(runtime, "GET", "keys")).error["code"] == "insufficient_scope"
