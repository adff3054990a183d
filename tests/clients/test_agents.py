"""Coding agents: a task with tools from question to answer, and the files that it changes."""

import json
from typing import Any

import pytest

from tests.clients.conftest import OTHER_MODEL
from tests.clients.support import TEXT, Client
from tests.support.upstream import MODEL

pytestmark = pytest.mark.asyncio(loop_scope="package")

PATCH = """*** Begin Patch
*** Update File: greeting.txt
@@
-hello
+hello, world
*** End Patch
"""


def codex_config(client: Client) -> None:
    folder = client.home / ".codex"
    folder.mkdir()
    (folder / "config.toml").write_text(f"""
model_provider = "assistant"
check_for_update_on_startup = false
[model_providers.assistant]
name = "assistant"
base_url = "{client.url}"
wire_api = "responses"
env_key = "OPENAI_API_KEY"
request_max_retries = 0
stream_max_retries = 0
[analytics]
enabled = false
""")


async def codex(client: Client, model: str, *arguments: str) -> list[Any]:
    """Run a task; gives what Codex tells of it, event by event."""
    if not (client.home / ".codex").exists():
        codex_config(client)
    program = await client.npm() / ".bin" / "codex"
    work = client.home / "work"
    work.mkdir(exist_ok=True)
    # Its sandbox needs rights that a container does not give.
    options = ("--json", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox", "--model", model)
    output = await client.run(program, "exec", *options, *arguments, cwd=work)
    return [json.loads(line) for line in output.splitlines() if line.startswith("{")]


def messages(events: list[Any]) -> list[str]:
    return [
        event["item"]["text"]
        for event in events
        if event["type"] == "item.completed" and event["item"]["type"] == "agent_message"
    ]


def left_out(client: Client) -> set[str]:
    return {tool["type"] for request in client.provider.requests for tool in request["tools"]} - {"function"}


async def test_codex_runs_a_command_and_goes_on_from_there(client: Client) -> None:
    client.answers.calls = [("call_1", "exec_command", {"cmd": "echo hello > greeting.txt && cat greeting.txt"})]
    events = await codex(client, MODEL, "Write a greeting.")
    assert (client.home / "work" / "greeting.txt").read_text() == "hello\n"
    (said,) = messages(events)
    assert said.startswith("The tool said: ")
    assert "hello" in said
    await codex(client, MODEL, "resume", "--last", "And now?")
    roles = [message["role"] for message in client.provider.requests[-1]["messages"] if message["role"] != "system"]
    assert roles[-4:] == ["assistant", "tool", "assistant", "user"]
    names = {tool["function"]["name"] for tool in client.provider.requests[0]["tools"]}
    assert "multi_agent_v1__spawn_agent" in names
    assert left_out(client) == set()


async def test_codex_applies_a_patch(client: Client) -> None:
    """By its custom tool, whose text has a grammar."""
    work = client.home / "work"
    work.mkdir()
    (work / "greeting.txt").write_text("hello\n")
    client.answers.calls = [("call_1", "apply_patch", {"input": PATCH})]
    events = await codex(client, OTHER_MODEL, "Greet the world.")
    assert (work / "greeting.txt").read_text() == "hello, world\n"
    changed = [event["item"] for event in events if event.get("item", {}).get("type") == "file_change"]
    assert changed[-1]["status"] == "completed"
    assert left_out(client) == set()


async def test_codex_calls_a_tool_of_a_namespace(client: Client) -> None:
    client.answers.calls = [("call_1", "multi_agent_v1__close_agent", {"target": "nobody"})]
    (said,) = messages(await codex(client, MODEL, "Close the agent."))
    assert "nobody" in said
    assert "unsupported" not in said


def opencode_config(client: Client) -> None:
    config = {
        "$schema": "https://opencode.ai/config.json",
        "autoupdate": False,
        "share": "disabled",
        "model": f"assistant/{MODEL}",
        "small_model": f"assistant/{MODEL}",
        "permission": {"edit": "allow", "bash": "allow"},
        "provider": {
            "assistant": {
                "npm": "@ai-sdk/openai-compatible",
                "name": "Assistant",
                "options": {"baseURL": client.url, "apiKey": "none"},
                "models": {MODEL: {"name": "Model", "limit": {"context": 100000, "output": 8000}}},
            }
        },
    }
    folder = client.home / ".config" / "opencode"
    folder.mkdir(parents=True)
    (folder / "opencode.json").write_text(json.dumps(config))


async def opencode(client: Client, *arguments: str) -> list[Any]:
    """Run a task; gives what OpenCode tells of it, event by event."""
    program = await client.npm() / "opencode-linux-x64-baseline" / "bin" / "opencode"
    if not program.exists():
        pytest.skip("OpenCode is locked for x86-64 alone")
    work = client.home / "work"
    work.mkdir(exist_ok=True)
    off = ("AUTOUPDATE", "MODELS_FETCH", "LSP_DOWNLOAD", "DEFAULT_PLUGINS", "SHARE")
    variables = {f"OPENCODE_DISABLE_{name}": "true" for name in off}
    output = await client.run(program, "run", "--format", "json", *arguments, cwd=work, **variables)
    return [json.loads(line) for line in output.splitlines() if line.startswith("{")]


def texts(events: list[Any]) -> list[str]:
    return [event["part"]["text"] for event in events if event["type"] == "text"]


async def test_opencode_edits_a_file_and_goes_on_from_there(client: Client) -> None:
    opencode_config(client)
    file = client.home / "work" / "greeting.txt"
    client.answers.calls = [("call_1", "write", {"filePath": str(file), "content": "hello\n"})]
    events = await opencode(client, "Write a greeting.")
    assert file.read_text() == "hello\n"
    assert texts(events)[-1].startswith("The tool said: ")
    assert texts(await opencode(client, "--continue", "And now?"))[-1] == TEXT
    roles = [message["role"] for message in client.provider.requests[-1]["messages"] if message["role"] != "system"]
    assert roles[-4:] == ["assistant", "tool", "assistant", "user"]
