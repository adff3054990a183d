"""The servers that the runtime's benchmark compares, and the provider behind each of them."""

import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from devcluster import venvs
from tests.bench.contender import Contender, contender
from tests.bench.envoy import configuration
from tests.bench.provider import MODEL
from tests.support.server import free_port

LOCKS = Path(__file__).parent / "locks"
"""Of the servers that are no part of this project."""
KEY = "sk-bench-0123456789abcdef"
RATE = 100_000
"""Requests that a limit lets through each second: more than any server answers, so that it only counts."""


def provider() -> AbstractContextManager[Contender]:
    """Run the provider; its URL is the root of its API without /v1."""
    port = free_port()
    return contender(
        "provider, direct", port, [sys.executable, "-m", "tests.bench.provider", str(port)], ready="/v1/models"
    )


def runtime(upstream: str, redis: str, **variables: str) -> AbstractContextManager[Contender]:
    """Run this runtime, with everything on that a request meets, and the cache off."""
    port = free_port()
    env = {
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "ENVIRONMENT": "production",
        "SECRET_KEY": "0123456789abcdef0123456789abcdef",
        "API_KEYS": KEY,
        "OPENAI_COMPATIBLE_BASE_URL": f"{upstream}/v1",
        "OPENAI_COMPATIBLE_DEFAULT_MODEL": MODEL,
        "REDIS_URL": redis,
        "REDIS_CACHE_ENABLED": "false",
        "RATE_LIMIT_REQUESTS": str(RATE),
        "RATE_LIMIT_WINDOW": "1",
        "GRADIO_ENABLED": "false",
        **variables,
    }
    return contender("this runtime", port, [sys.executable, "-m", "assistant_runtime", "serve"], env)


def bare(upstream: str) -> AbstractContextManager[Contender]:
    """Run the bare pass-through."""
    port = free_port()
    return contender(
        "bare Starlette + aiohttp",
        port,
        [sys.executable, "-m", "tests.bench.pass_through", str(port), f"{upstream}/v1"],
    )


@contextmanager
def runtime_of_workers(upstream: str, redis: str, workers: int) -> Iterator[Contender]:
    """Run this runtime with several workers on its port."""
    with tempfile.TemporaryDirectory() as folder:
        database = {"DATABASE_URL": f"sqlite:///{folder}/assistant.db"}
        with runtime(upstream, redis, WORKERS=str(workers), **database) as it:
            yield it


@contextmanager
def envoy(upstream: str, workers: int = 1) -> Iterator[Contender]:
    """Run Envoy, and on what it has of what the runtime does."""
    port = free_port()
    # The package's own program is Python, and would count into the start.
    (program,) = venvs.ensure(LOCKS / "envoy/requirements.txt").glob("lib/python*/site-packages/envoy/_bin/envoy")
    upstream_port = int(upstream.rpartition(":")[2])
    with _file(configuration(port, upstream_port, KEY, RATE)) as path:
        # Without a base of its own, two of them on one machine would fight for the same shared memory.
        command = [str(program), "--config-path", path, "--concurrency", str(workers), "--use-dynamic-base-id"]
        with contender("Envoy", port, [*command, "--log-level", "error"]) as it:
            yield it


@contextmanager
def litellm(upstream: str) -> Iterator[Contender]:
    """Run LiteLLM's proxy: one worker, one key, no database, and idle connections kept as long as ours."""
    port = free_port()
    program = venvs.ensure(LOCKS / "litellm/requirements.txt") / "bin/litellm"
    model = {
        "model_name": MODEL,
        "litellm_params": {"model": f"openai/{MODEL}", "api_base": f"{upstream}/v1", "api_key": "none"},
    }
    config = {
        "model_list": [model],
        "general_settings": {"master_key": KEY},
        "litellm_settings": {"num_retries": 0, "callbacks": [], "telemetry": False},
    }
    env = {"LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    with _file(config) as path:
        command = [str(program), "--config", path, "--host", "127.0.0.1", "--port", str(port)]
        with contender(
            "LiteLLM proxy", port, [*command, "--keepalive_timeout", "75"], env, ready="/health/liveliness"
        ) as it:
            yield it


@contextmanager
def _file(configuration: object) -> Iterator[str]:
    """Give the path of a file of JSON, which is YAML as well."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        json.dump(configuration, file)
        file.flush()
        yield file.name
