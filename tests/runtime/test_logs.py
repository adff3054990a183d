"""Logs of a real process: one JSON line a request, and no secret in any."""

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import structlog

from assistant_runtime.logs import as_json, warn_of_risks
from assistant_runtime.settings import Settings
from tests.support.redis import RedisServer
from tests.support.runtime import QUESTION, RuntimeProcess, eventually, run_process
from tests.support.upstream import MODEL, Upstream, die_mid_stream, refuses

SECRETS = {
    "API_KEYS": "client-key-0123456789",
    "SECRET_KEY": "hmac-key-0123456789abcdef",
    "OPENAI_COMPATIBLE_API_KEY": "provider-key-0123456789",
}
PROMPT = "a very private prompt"


def lines(process: RuntimeProcess) -> list[dict[str, Any]]:
    """Give the lines that are complete."""
    return [json.loads(line) for line in process.output.splitlines(keepends=True) if line.endswith("\n")]


def api_requests(process: RuntimeProcess, count: int) -> list[dict[str, Any]] | None:
    """Give the API's log lines once there are `count`: a line is written after its answer was sent."""
    found = [
        line for line in lines(process) if line["event"] == "request_processed" and line["path"].startswith("/v1/")
    ]
    return found if len(found) == count else None


async def ask(process: RuntimeProcess, **fields: Any) -> None:
    headers = {"authorization": f"Bearer {SECRETS['API_KEYS']}", "x-request-id": "trace-1"}
    body = {"messages": [{"role": "user", "content": PROMPT}], **fields}
    async with (
        aiohttp.ClientSession() as client,
        client.post(f"{process.url}/v1/chat/completions", json=body, headers=headers) as answer,
    ):
        await answer.read()


async def test_every_line_is_json_and_none_holds_a_secret(
    upstream: Upstream, redis: RedisServer, tmp_path: Path
) -> None:
    redis.command("CONFIG", "SET", "requirepass", "redis-password")
    variables = {
        **SECRETS,
        "OPENAI_COMPATIBLE_BASE_URL": upstream.url,
        "OPENAI_COMPATIBLE_DEFAULT_MODEL": MODEL,
        "OPENAI_COMPATIBLE_RETRIES": "0",  # so that each failure shows
        "REDIS_URL": redis.url.replace("redis://", "redis://:redis-password@"),
        "ENVIRONMENT": "production",
        "LOG_LEVEL": "DEBUG",
    }
    key = SECRETS["OPENAI_COMPATIBLE_API_KEY"]
    upstream.script = [refuses(401, f"bad {key}"), refuses(500, f"bad {key}"), die_mid_stream]
    with run_process(tmp_path / "log", **variables) as process:
        await asyncio.to_thread(process.wait_for, "/ready", 200)
        await ask(process)
        await ask(process, temperature="hot")
        await ask(process)
        await ask(process, stream=True)
        await ask(process)
        redis.kill()
        await ask(process, user="another question")
        requests = await eventually(lambda: api_requests(process, 6))
        seen = lines(process)
    assert [line["status_code"] for line in requests] == [502, 400, 502, 200, 200, 200]
    assert requests[3]["truncated"] is True
    first = requests[0]
    assert (first["method"], first["path"], first["request_id"]) == ("POST", "/v1/chat/completions", "trace-1")
    assert first["process_time"] > 0
    assert len(first["tenant"]) == 16
    assert first["level"] == "info"
    for secret in (*SECRETS.values(), PROMPT, "redis-password", "Paris"):
        assert secret not in process.output
    assert any(line.get("logger") == "uvicorn.error" for line in seen), "uvicorn speaks through the same renderer"


async def test_requests_are_not_logged_above_info(upstream: Upstream, tmp_path: Path) -> None:
    variables = {
        "OPENAI_COMPATIBLE_BASE_URL": upstream.url,
        "OPENAI_COMPATIBLE_DEFAULT_MODEL": MODEL,
        "LOG_LEVEL": "WARNING",
    }
    with run_process(tmp_path / "log", **variables) as process:
        await asyncio.to_thread(process.wait_for, "/ready", 200)
        async with aiohttp.ClientSession() as client:
            for _ in range(2):  # on one connection: what the first one logs is written before the second is answered
                async with client.post(f"{process.url}/v1/chat/completions", json=QUESTION) as answer:
                    assert answer.status == 200
        assert "request_processed" not in process.output


@pytest.mark.parametrize("value", ["\ud83d", 2**70, b"\xff", float("nan"), {1: {2}}, {"a": {3}, "b": "\ud83d"}])
def test_no_value_fails_the_line_that_has_it(value: Any) -> None:
    line = as_json(None, "info", {"event": "found", "value": value})
    assert json.loads(line)["event"] == "found"
    line.encode()


def warnings_for(**settings: Any) -> set[str]:
    with structlog.testing.capture_logs() as events:
        warn_of_risks(Settings.load(**settings))
    return {event["event"] for event in events}


def test_settings_that_are_rarely_meant_are_warned_of() -> None:
    redis_url = "redis://r/0"
    assert warnings_for(api_keys="key") == set()
    assert warnings_for() == {"no_authentication"}
    assert warnings_for(host="127.0.0.1") == set(), "nobody else reaches it"
    assert warnings_for(oidc_issuer="https://login.example.com", oidc_audience="a") == set(), "tokens are asked for"
    assert warnings_for(api_keys="key", redis_url=redis_url) == {"secret_key_random"}
    assert warnings_for(api_keys="key", redis_url=redis_url, secret_key="s" * 16) == set()
