"""Nothing that a visitor without a key can read holds a secret."""

import re
import urllib.request
from pathlib import Path

import pytest

from assistant_runtime.settings.ui import PageSettings, page_environment
from tests.support.runtime import PATIENCE_SECONDS, eventually, run_process
from tests.support.server import free_port
from tests.support.upstream import MODEL, Upstream

SECRET = "f00dfacef00dfacef00dfacef00dface"

START_SECONDS = 4 * PATIENCE_SECONDS
"""Gradio takes seconds of processor time to import, and a busy machine gives few of them."""


def read(url: str) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE_SECONDS) as answer:
            found: bytes = answer.read()
            return found
    except OSError:
        return b""


def environment_of(pid: str) -> bytes:
    return Path("/proc", pid, "environ").read_bytes()


@pytest.mark.timeout(600)
async def test_the_chat_page_has_no_secret_to_give(upstream: Upstream, tmp_path: Path) -> None:
    port = free_port()
    variables = {
        "OPENAI_COMPATIBLE_BASE_URL": upstream.url,
        "OPENAI_COMPATIBLE_DEFAULT_MODEL": MODEL,
        "SECRET_KEY": SECRET,
        "API_KEYS": SECRET,
        "GRADIO_ENABLED": "true",
        "GRADIO_HOST": "127.0.0.1",
        "GRADIO_PORT": str(port),
        "SOMEBODY_ELSES_TOKEN": SECRET,
    }
    with run_process(tmp_path / "log", **variables) as runtime:
        await eventually(lambda: read(f"http://127.0.0.1:{port}/config"), seconds=START_SECONDS)
        pages = [read(f"http://127.0.0.1:{port}/{path}") for path in ("", "config", "gradio_api/info")]
        started = re.search(r"chat_page.*pid[^\d]+(\d+)", runtime.output)
        assert started
        process = environment_of(started[1])
    assert b"GRADIO_PORT" in process
    for where in (*pages, process):
        assert where
        assert SECRET.encode() not in where
        assert SECRET.encode().hex().encode() not in where


def test_the_page_is_given_its_own_settings_alone() -> None:
    given = page_environment(PageSettings(gradio_port=7000, assistant_url="http://a.example/v1"))
    assert given["GRADIO_PORT"] == "7000"
    assert given["ASSISTANT_URL"] == "http://a.example/v1"
    assert not any("SECRET" in name or "KEY" in name for name in given)
