"""Every form that was found in providers' references and gateways' trackers, each one a row."""

import itertools
import json
import random
import re
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

import assistant_runtime
from assistant_runtime.providers.sse import EventReader
from tests.runtime.provider_forms.answers import ANSWERS
from tests.runtime.provider_forms.failures import FAILURES
from tests.runtime.provider_forms.form import Form, World
from tests.runtime.provider_forms.lists import LISTS
from tests.runtime.provider_forms.nonsense import nonsense
from tests.runtime.provider_forms.refusals import REFUSALS
from tests.support.runtime import QUESTION, Runtime, eventually, run_runtime
from tests.support.upstream import run_upstream

PIECES = [
    *(b"data: ", b"data:", b": ", b"event: error\n", b"\n\n", b"\r\n\r\n", b"\r", b"\n", b"[DONE]", b"{", b"}"),
    *(b'{"choices": [{"delta": {"content": "x"}}]}', b'{"choices": [{"delta": {}, "finish_reason": "stop"}]}'),
    *(b'{"error": {"message": "x"}}', b'{"choices": [], "usage": {"prompt_tokens": 1}}', b"null"),
]

TABLE: tuple[Form, ...] = (*REFUSALS, *FAILURES, *ANSWERS, *LISTS)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world() -> AsyncIterator[World]:
    """Serve two providers and two runtimes for all rows; each row asks for a model of its own."""
    settings: dict[str, Any] = {
        "provider_breaker_failures": 0,
        "redis_cache_enabled": False,
        "rate_limit_enabled": False,
        "openai_compatible_any_model": True,
    }
    async with (
        run_upstream("first") as first,
        run_upstream("second") as second,
        run_runtime(first, second, **settings) as plain,
        run_runtime(first, second, fetch_tool_enabled=True, **settings) as tooled,
    ):
        for runtime in (plain, tooled):
            await eventually(partial(all_up, runtime))
        yield World(first, second, plain, tooled)


async def all_up(runtime: Runtime) -> bool:
    providers = (await runtime.ready())["checks"]["provider"]["providers"]
    return all(each["status"] == "up" for each in providers.values())


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("form", TABLE, ids=lambda form: form.name)
async def test_a_form(world: World, form: Form) -> None:
    await form.check(world)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("seed", range(6))
async def test_nothing_that_a_provider_sends_is_an_internal_error(world: World, seed: int) -> None:
    chance = random.Random(seed)
    for behaviour, stream in itertools.islice(nonsense(chance), 40):
        world.begin(behaviour, behaviour)
        runtime = chance.choice([world.plain, world.tooled])
        chat = {**QUESTION, "temperature": 0.3, "stream": stream}
        response = {"input": "Hi", "stream": stream, "store": chance.random() < 0.3}
        path, body = chance.choice([("/v1/chat/completions", chat), ("/v1/responses", response)])
        reply = await runtime.post(json.dumps({**body, "model": "first/x"}), {"content-type": "application/json"}, path)
        assert reply.status != 500, reply.body
        assert b"internal_error" not in reply.body


@given(st.lists(st.sampled_from(PIECES), max_size=12), st.binary(max_size=30), st.booleans())
def test_no_bytes_break_the_reader_of_events(pieces: list[bytes], noise: bytes, hide: bool) -> None:
    reader = EventReader(hide_usage=hide)
    for piece in [*pieces, noise]:
        reader.feed(piece)
    reader.finish()
    assert reader.problem or reader.summary.done or reader.summary.finished


ELSEWHERE = ("tool_loop", "api/responses", "writers")
"""Rooms that, as turn.py does, leave providers' ways to their dialect."""

DIALECT = re.compile(
    r"max_completion_tokens|reasoning_content|reasoning_details|thinking_blocks|extra_forbidden|unsupported|jinja"
    r"|error\.message\.lower|in error\.message"
    r"|anthropic|azure|cerebras|dashscope|deepseek|gemini|groq|mistral|moonshot|ollama|openrouter|qwen|vllm",
    re.IGNORECASE,
)


def test_no_other_room_knows_a_providers_words() -> None:
    runtime = Path(assistant_runtime.__file__).parent
    files = [file for room in ELSEWHERE for file in runtime.glob(f"{room}/**/*.py")] + [runtime / "turn.py"]
    assert len(files) > 15
    found = {str(file): DIALECT.findall(file.read_text()) for file in files}
    assert {file: words for file, words in found.items() if words} == {}


def test_every_row_has_a_name_of_its_own_and_a_source() -> None:
    assert len({form.name for form in TABLE}) == len(TABLE)
    assert all(form.source for form in TABLE)
