"""SIGTERM, to a real process: not ready at once, still accepting, streams end whole, exit code 0."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support.runtime import PATIENCE_SECONDS, QUESTION, RuntimeProcess, eventually, run_process
from tests.support.upstream import MODEL, WORDS, Upstream, chunk, hang, paced, whole_stream


@pytest.fixture
async def process(upstream: Upstream, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[RuntimeProcess]:
    variables = {
        "OPENAI_COMPATIBLE_BASE_URL": upstream.url,
        "OPENAI_COMPATIBLE_DEFAULT_MODEL": MODEL,
        "DRAIN_DELAY_SECONDS": "0",
        "LOG_FORMAT": "json",
        **getattr(request, "param", {}),
    }
    with run_process(tmp_path / "log", **variables) as runtime:
        await asyncio.to_thread(runtime.wait_for, "/ready", 200)
        yield runtime


async def exit_code(process: RuntimeProcess) -> int:
    return await asyncio.to_thread(process.process.wait, PATIENCE_SECONDS)


def streaming(client: aiohttp.ClientSession, process: RuntimeProcess) -> aiohttp.client._RequestContextManager:
    return client.post(f"{process.url}/v1/chat/completions", json={**QUESTION, "stream": True})


@pytest.mark.parametrize("process", [{"DRAIN_DELAY_SECONDS": "600"}], indirect=True)
async def test_sigterm_says_not_ready_at_once_and_goes_on_accepting(process: RuntimeProcess) -> None:
    process.process.send_signal(signal.SIGTERM)
    await asyncio.to_thread(process.wait_for, "/ready", 503)
    assert await asyncio.to_thread(process.status, "/health") == 200
    async with (
        aiohttp.ClientSession() as client,
        client.post(f"{process.url}/v1/chat/completions", json=QUESTION) as late,
    ):
        assert late.status == 200, "requests are still routed here for seconds"
        assert late.headers["connection"] == "close"


async def test_sigterm_during_a_stream_loses_nothing(process: RuntimeProcess, upstream: Upstream) -> None:
    upstream.script = [paced]
    async with aiohttp.ClientSession() as client, streaming(client, process) as answer:
        assert await answer.content.readuntil(b"\n\n") == chunk(MODEL, WORDS[0])
        process.process.send_signal(signal.SIGTERM)
        await eventually(lambda: not_listening(process))
        upstream.release.set()
        assert await answer.read() == b"".join(whole_stream(MODEL)[1:])
    assert await exit_code(process) == 0


async def not_listening(process: RuntimeProcess) -> bool:
    return await asyncio.to_thread(process.refuses_connections)


@pytest.mark.parametrize("process", [{"SHUTDOWN_GRACE_SECONDS": "1"}], indirect=True)
async def test_a_stream_that_outlives_the_grace_ends_honestly(process: RuntimeProcess, upstream: Upstream) -> None:
    upstream.script = [paced]
    async with aiohttp.ClientSession() as client, streaming(client, process) as answer:
        await answer.content.readuntil(b"\n\n")
        process.process.send_signal(signal.SIGTERM)
        rest = await until_broken(answer)
    assert b'"code":"server_shutting_down"' in rest
    assert b"[DONE]" not in rest
    assert await exit_code(process) == 0
    assert "Traceback" not in process.output
    assert recorded(process) == [200]


@pytest.mark.parametrize("process", [{"SHUTDOWN_GRACE_SECONDS": "1"}], indirect=True)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_a_request_without_an_answer_at_the_end_of_the_grace_is_told_to_ask_again(
    process: RuntimeProcess, upstream: Upstream, stream: bool
) -> None:
    upstream.script = [hang]
    async with aiohttp.ClientSession() as client:
        asking = asyncio.create_task(ask(client, process, stream=stream))
        await asyncio.wait_for(upstream.started.wait(), PATIENCE_SECONDS)
        process.process.send_signal(signal.SIGTERM)
        status, retry_after, body = await asking
    assert (status, retry_after, body["error"]["code"]) == (503, "1", "server_shutting_down")
    assert await exit_code(process) == 0
    assert recorded(process) == [503]


def recorded(process: RuntimeProcess) -> list[int]:
    """Give the statuses that were logged of chats; any three digits may stand in a time or an id."""
    events = [json.loads(line) for line in process.output.splitlines() if line.startswith("{")]
    return [event["status_code"] for event in events if event.get("path") == "/v1/chat/completions"]


async def ask(client: aiohttp.ClientSession, process: RuntimeProcess, *, stream: bool) -> tuple[int, str | None, Any]:
    body = {**QUESTION, "stream": stream}
    async with client.post(f"{process.url}/v1/chat/completions", json=body) as answer:
        return answer.status, answer.headers.get("retry-after"), await answer.json()


async def until_broken(answer: aiohttp.ClientResponse) -> bytes:
    """Read a body that must not end as if it were whole."""
    rest = b""
    try:
        async for part in answer.content.iter_any():
            rest += part
    except aiohttp.ClientPayloadError:
        return rest
    raise AssertionError("the stream ended cleanly")


@pytest.mark.parametrize("process", [{"DRAIN_DELAY_SECONDS": "600"}], indirect=True)
@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_ends_at_once(
    process: RuntimeProcess, upstream: Upstream, second: signal.Signals
) -> None:
    upstream.script = [paced]
    async with aiohttp.ClientSession() as client, streaming(client, process) as answer:
        await answer.content.readuntil(b"\n\n")
        process.process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(process.wait_for, "/ready", 503)
        process.process.send_signal(second)
        assert await exit_code(process) == 1


@pytest.mark.parametrize("process", [{"DRAIN_DELAY_SECONDS": "600"}], indirect=True)
async def test_an_interrupt_has_no_drain_delay(process: RuntimeProcess) -> None:
    process.process.send_signal(signal.SIGINT)
    assert await exit_code(process) == 0
