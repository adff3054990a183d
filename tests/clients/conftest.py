"""One runtime process for all of these tests, and a model behind it that each test tells what to do."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.clients.support import Answers, Client
from tests.support.runtime import run_process
from tests.support.upstream import MODEL, Upstream, run_upstream

OTHER_MODEL = "gpt-5.5"
"""A model's name that coding agents know, and give other tools."""


@pytest_asyncio.fixture(loop_scope="package", scope="package")
async def provider() -> AsyncIterator[Upstream]:
    async with run_upstream() as upstream:
        upstream.models = (MODEL, OTHER_MODEL)
        yield upstream


@pytest_asyncio.fixture(loop_scope="package", scope="package")
async def runtime(provider: Upstream, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """Serve as a user starts it; gives the URL."""
    variables = {
        "OPENAI_COMPATIBLE_BASE_URL": provider.url,
        "OPENAI_COMPATIBLE_DEFAULT_MODEL": MODEL,
        # Clients ask the same, and each is to be answered by the model.
        "REDIS_CACHE_ENABLED": "false",
        "RATE_LIMIT_ENABLED": "false",
    }
    with run_process(tmp_path_factory.mktemp("runtime") / "log", **variables) as process:
        await asyncio.to_thread(process.wait_for, "/ready", 200)
        yield process.url


@pytest_asyncio.fixture(loop_scope="package")
async def client(provider: Upstream, runtime: str, tmp_path: Path) -> Client:
    provider.requests.clear()
    answers = provider.default = Answers()
    return Client(f"{runtime}/v1", tmp_path, provider, answers)
