"""The servers that the runtime's benchmark compares, each as one process that is started, watched and ended."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.contenders import MODEL
from tests.support.runtime import clean_environment
from tests.support.server import free_port

ROOT = Path(__file__).parents[2]
LITELLM_LOCK = Path(__file__).parent / "litellm.txt"
LITELLM_VENV = ROOT / ".cache/bench/litellm"
KEY = "sk-bench-0123456789abcdef"
LEVELS = (1, 64)
"""Requests in flight."""
START_SECONDS = 120.0
SETTLE_SECONDS = 10.0
"""Longest wait for a contender to finish what an earlier load left it with."""


@dataclass
class Load:
    """What wrk saw in one round."""

    rate: float
    """Answers with a 2xx, each second."""
    p50: float
    """Milliseconds."""
    p99: float
    cpu: float
    """CPU microseconds of the contender's process for each request."""


@dataclass
class Contender:
    """A server under test."""

    name: str
    url: str
    process: subprocess.Popen[bytes] | None
    started: float = 0.0
    """Seconds from its start until it was ready."""
    idle_memory: float = 0.0
    failures: int = 0
    """Requests and streams that were refused, broken off or reset."""
    loads: dict[int, list[Load]] = field(default_factory=lambda: {level: [] for level in LEVELS})
    first_tokens: dict[int, list[float]] = field(default_factory=lambda: {level: [] for level in LEVELS})
    """Milliseconds to the first event of a stream."""

    def best(self, level: int) -> Load:
        """Give the best of its rounds, figure by figure."""
        rounds = self.loads[level]
        return Load(
            max(each.rate for each in rounds), *(min(getattr(r, n) for r in rounds) for n in ("p50", "p99", "cpu"))
        )

    def first_token(self, level: int) -> float:
        """Give the median of the best round."""
        return min(self.first_tokens[level])

    def cpu(self) -> float:
        """Give the CPU seconds that it has used."""
        if self.process is None:
            return 0.0
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> float:
        """Give its resident memory in MB."""
        return _memory_of(self.process) if self.process else 0.0

    def settle(self) -> None:
        """Wait until it rests: what one load left behind must not count against the next."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while self.process is not None and time.monotonic() < deadline:
            before = self.cpu()
            time.sleep(0.2)
            if self.cpu() - before < 0.03:
                return


def say(text: str) -> None:
    """Tell a person who waits what is going on."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


@contextmanager
def program(module: str, *arguments: str, env: Mapping[str, str] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """Run a Python module."""
    with _started([sys.executable, "-m", module, *arguments], env or {}) as process:
        yield process


@contextmanager
def provider() -> Iterator[Contender]:
    """Run the provider; its URL is the root of its API without /v1."""
    port = free_port()
    with program("tests.bench.contenders", "provider", str(port)) as process:
        url = f"http://127.0.0.1:{port}"
        _wait(f"{url}/v1/models", process)
        yield Contender("provider, direct", url, None)


@contextmanager
def runtime(upstream: str, redis: str, **variables: str) -> Iterator[Contender]:
    """Run this runtime, with everything on that a request meets, and the cache off."""
    port = variables.pop("PORT", str(free_port()))
    env = {
        "HOST": "127.0.0.1",
        "PORT": port,
        "ENVIRONMENT": "production",
        "SECRET_KEY": "0123456789abcdef0123456789abcdef",
        "API_KEYS": KEY,
        "OPENAI_COMPATIBLE_BASE_URL": f"{upstream}/v1",
        "OPENAI_COMPATIBLE_DEFAULT_MODEL": MODEL,
        "REDIS_URL": redis,
        "REDIS_CACHE_ENABLED": "false",
        "RATE_LIMIT_REQUESTS": "100000",
        "RATE_LIMIT_WINDOW": "1",
        "GRADIO_ENABLED": "false",
        **variables,
    }
    with program("assistant_runtime", "serve", env=env) as process:
        yield _ready("this runtime", int(port), process)


@contextmanager
def bare(upstream: str) -> Iterator[Contender]:
    """Run the bare pass-through."""
    port = free_port()
    with program("tests.bench.contenders", "bare", str(port), f"{upstream}/v1") as process:
        yield _ready("bare Starlette + aiohttp", port, process)


@contextmanager
def litellm(upstream: str) -> Iterator[Contender]:
    """Run LiteLLM's proxy: one worker, one key, no database, and idle connections kept as long as ours."""
    _install_litellm()
    port = free_port()
    model = {
        "model_name": MODEL,
        "litellm_params": {"model": f"openai/{MODEL}", "api_base": f"{upstream}/v1", "api_key": "none"},
    }
    config = {
        "model_list": [model],
        "general_settings": {"master_key": KEY},
        "litellm_settings": {"num_retries": 0, "callbacks": [], "telemetry": False},
    }
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        json.dump(config, file)
        file.flush()
        command = [str(LITELLM_VENV / "bin/litellm"), "--config", file.name, "--host", "127.0.0.1", "--port", str(port)]
        command += ["--keepalive_timeout", "75"]
        with _started(command, {"LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}) as process:
            yield _ready("LiteLLM proxy", port, process, "/health/liveliness")


@contextmanager
def _started(command: list[str], env: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program whose log goes to a file, as it would to a container's log."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, cwd=ROOT, env=clean_environment() | env, stdout=log, stderr=log)
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _install_litellm() -> None:
    uv = os.environ.get("UV") or str(ROOT / ".cache/uv/bin/uv")
    python = LITELLM_VENV / "bin/python"
    if not python.exists():
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(LITELLM_VENV)], check=True)
    install = [uv, "pip", "install", "--quiet", "--python", str(python), "--require-hashes", "-r", str(LITELLM_LOCK)]
    subprocess.run(install, check=True)


def _ready(name: str, port: int, process: subprocess.Popen[bytes], path: str = "/ready") -> Contender:
    began = time.monotonic()
    url = f"http://127.0.0.1:{port}"
    _wait(f"{url}{path}", process)
    return Contender(name, url, process, time.monotonic() - began, _memory_of(process))


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise SystemExit(f"{process.args!r} ended with {process.returncode}")
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except OSError:
            time.sleep(0.02)
            continue
        return
    raise SystemExit(f"{url} never answered")


def _memory_of(process: subprocess.Popen[bytes]) -> float:
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1000
