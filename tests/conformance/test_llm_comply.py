"""llm-comply: the forms of our answers, judged by the schemas of OpenAI's chats and of Open Responses.

The provider behind the runtime does all that is asked, and writes every field that a chat's schema has.
"""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from devcluster import venvs
from devcluster.errors import DevclusterError
from tests.support.runtime import run_process
from tests.support.tool_calls import calls
from tests.support.upstream import Upstream, chunk, completion, run_upstream, sse, usage_chunk

MODEL = "gpt-5-mini"
"""By its name the suite asks it for its thoughts."""

LOCK = Path(__file__).parent / "locks" / "llm-comply" / "requirements.txt"

BY_DESIGN = {
    "error-handling": "It leaves out the model, which is optional here: the default model answers.",
    "chat-error-handling": "It leaves out the model, which is optional here: the default model answers.",
}
"""What does not pass, and why."""


async def capable(upstream: Upstream, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    """Call the tool that is offered, think where that is asked for, and answer with every field."""
    if tools := body.get("tools"):
        call = ("call_1", tools[0]["function"]["name"], {"location": "Paris"})
        if body.get("stream"):
            return await calls(call)(upstream, request, body)
    if not body.get("stream"):
        answer = completion(body["model"])
        choice = answer["choices"][0]
        choice |= {"logprobs": None}
        choice["message"] |= {"refusal": None}
        if body.get("reasoning_effort"):
            choice["message"]["reasoning_content"] = "15 times 37 is 555."
        if tools:
            function = {"name": call[1], "arguments": json.dumps(call[2])}
            choice["message"] |= {
                "content": None,
                "tool_calls": [{"id": call[0], "type": "function", "function": function}],
            }
            choice["finish_reason"] = "tool_calls"
        return web.json_response(answer)
    response = await sse(request)
    for event in (chunk(body["model"], "555"), chunk(body["model"], None, "stop"), usage_chunk(body["model"])):
        await response.write(event)
    await response.write(b"data: [DONE]\n\n")
    return response


async def judged(url: str, form: str) -> dict[str, Any]:
    """Run the suite; gives each test's errors, None where it was left out."""
    try:
        folder = await asyncio.to_thread(venvs.ensure, LOCK)
    except DevclusterError as error:
        pytest.fail(f"llm-comply can't be installed: {error}")
    process = await asyncio.create_subprocess_exec(
        folder / "bin" / "llm-comply",
        *("--format", form, "-u", f"{url}/v1", "-k", "none", "-m", MODEL, "--json"),
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    results = json.loads(output)["results"]
    return {each["id"]: None if each["status"] == "skipped" else each.get("errors") or [] for each in results}


@pytest.mark.parametrize(("form", "tests"), [("open-responses", 13), ("openai-chat", 9)])
async def test_answers_have_the_forms_that_clients_expect(form: str, tests: int, tmp_path: Path) -> None:
    async with run_upstream() as upstream:
        upstream.default, upstream.models = capable, (MODEL,)
        variables = {
            "OPENAI_COMPATIBLE_BASE_URL": upstream.url,
            "OPENAI_COMPATIBLE_DEFAULT_MODEL": MODEL,
            "REDIS_CACHE_ENABLED": "false",
        }
        with run_process(tmp_path / "log", **variables) as process:
            await asyncio.to_thread(process.wait_for, "/ready", 200)
            errors = await judged(process.url, form)
    assert len(errors) == tests
    assert {name: found for name, found in errors.items() if found != [] and name not in BY_DESIGN} == {}
    assert [name for name, found in errors.items() if found] == [name for name in errors if name in BY_DESIGN]
