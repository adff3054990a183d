"""The command line, as a user types it."""

import asyncio
import socket
import subprocess
import sys
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.support.runtime import RuntimeProcess, clean_environment, eventually, run_process, run_runtime
from tests.support.server import free_port
from tests.support.upstream import WORDS, Upstream, die_mid_stream


async def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "assistant_runtime", *arguments],
        env=clean_environment() | variables,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("command", [[], ["serve"], ["chat"], ["healthcheck"]])
async def test_help_explains_itself(command: list[str]) -> None:
    ended = await run(*command, "--help")
    assert ended.returncode == 0
    assert "usage: assistant-runtime" in ended.stdout


async def test_the_version_is_the_projects() -> None:
    ended = await run("--version")
    assert (ended.returncode, ended.stdout) == (0, f"{version('ai-assistant-operator')}\n")


async def test_chat_prints_the_answer(upstream: Upstream) -> None:
    async with run_runtime(upstream, api_keys="one-key,two-key") as runtime:
        by_root = await run("chat", "--base-url", runtime.url, "Where?", API_KEY="two-key")
        by_list = await run(
            "chat",
            "--base-url",
            f"{runtime.url}/v1",
            "--api-key-env",
            "KEYS",
            "--model",
            "first/m",
            "Where?",
            KEYS="one-key,x",
        )
    for ended in (by_root, by_list):
        assert (ended.returncode, ended.stdout, ended.stderr) == (0, "".join(WORDS) + "\n", "")
    assert [request["model"] for request in upstream.requests] == ["fake-1", "m"]
    assert upstream.requests[0]["messages"] == [{"role": "user", "content": "Where?"}]


async def test_chat_says_why_there_is_no_answer(upstream: Upstream) -> None:
    async with run_runtime(upstream, api_keys="one-key") as runtime:
        refused = await run("chat", "--base-url", runtime.url, "Where?")
        upstream.script = [die_mid_stream]
        broken = await run("chat", "--base-url", runtime.url, "Where?", API_KEY="one-key")
    assert refused.returncode == broken.returncode == 1
    assert "401 No API key was given" in refused.stderr
    assert "truncated" in broken.stderr
    unreachable = await run("chat", "--base-url", f"http://127.0.0.1:{free_port()}", "Where?")
    assert unreachable.returncode == 1
    assert "Traceback" not in unreachable.stderr


async def test_healthcheck_follows_the_server(tmp_path: Path) -> None:
    with run_process(tmp_path / "log") as process:
        await asyncio.to_thread(process.wait_for, "/health", 200)
        assert (await run("healthcheck", PORT=str(process.port))).returncode == 0
    assert (await run("healthcheck", PORT=str(process.port))).returncode == 1


def has_ipv6() -> bool:
    with suppress(OSError), socket.create_server(("::1", 0), family=socket.AF_INET6):
        return True
    return False


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
async def test_healthcheck_asks_where_an_ipv6_server_listens(tmp_path: Path) -> None:
    with run_process(tmp_path / "log", HOST="::1") as process:
        await eventually(lambda: serving(process))
        assert (await run("healthcheck", HOST="::", PORT=str(process.port))).returncode == 0


def serving(process: RuntimeProcess) -> bool:
    with suppress(OSError), socket.create_connection(("::1", process.port), timeout=5):
        return True
    assert process.process.poll() is None, process.output
    return False


async def test_without_any_setting_it_serves_and_says_what_is_missing(tmp_path: Path) -> None:
    with run_process(tmp_path / "log") as process:
        await asyncio.to_thread(process.wait_for, "/ready", 503)
        assert await asyncio.to_thread(process.status, "/health") == 200


async def test_a_port_in_use_ends_with_a_message(tmp_path: Path) -> None:
    with run_process(tmp_path / "log") as process:
        await asyncio.to_thread(process.wait_for, "/health", 200)
        ended = await run("serve", "--host", "127.0.0.1", "--port", str(process.port))
    assert ended.returncode != 0
    assert "address already in use" in ended.stdout + ended.stderr
