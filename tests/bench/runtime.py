"""`make bench-runtime`: the runtime beside LiteLLM's proxy, a bare pass-through and no gateway at all, in one run.

Each contender is one process (one worker) in front of the same provider, which the bench brings along and which costs
almost nothing. The runtime has everything on that a request meets: API key, rate limit in Redis, metrics, request log.
Its cache is off, because the questions are all the same; hits are measured apart. Load comes from wrk, in rounds
in which the contenders take turns, so that whatever else the machine does meets them all. The best round counts, since
noise only ever slows down.
"""

import argparse
import asyncio
import json
import os
import platform
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from devcluster import packages
from devcluster.progress import Silent
from tests.bench.contenders import EVENTS, MODEL, STREAM
from tests.support.redis import run_redis
from tests.support.runtime import clean_environment
from tests.support.server import free_port

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/benchmarks.md"
BEGIN, END = "<!-- runtime:begin -->", "<!-- runtime:end -->"
LITELLM_LOCK = Path(__file__).parent / "litellm.txt"
LITELLM_VENV = ROOT / ".cache/bench/litellm"
KEY = "sk-bench-0123456789abcdef"
QUESTION = {
    "model": MODEL,
    "messages": [
        {"role": "system", "content": "Answer in one sentence, and say nothing that you do not know. " * 4},
        {"role": "user", "content": "What is the capital of France? " * 4},
    ],
}
START_SECONDS = 120.0
LEVELS = (1, 64)
SETTLED_REQUESTS = 20_000
"""After these a process has opened, cached and imported everything that it will."""


@dataclass
class Load:
    """What wrk saw in one round."""

    rate: float
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


def main() -> None:
    """Run everything, print it, and write it into docs/benchmarks.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="turns of each contender (default 3)")
    parser.add_argument("--seconds", type=int, default=4, help="seconds of each turn (default 4)")
    parser.add_argument(
        "--soak", type=int, default=200_000, help="requests of the memory run (default 200000; 0: none)"
    )
    parser.add_argument("--streams", type=int, default=10_000, help="streams that are compared byte by byte")
    parser.add_argument("--without-litellm", action="store_true", help="leave LiteLLM out (nothing is installed)")
    parser.add_argument("--dry-run", action="store_true", help="leave docs/benchmarks.md as it is")
    options = parser.parse_args()
    packages.ensure({"wrk": "wrk"}, Silent())
    report = run(options)
    print(report)
    if not options.dry_run:
        page = PAGE.read_text()
        before, after = page.partition(BEGIN)[0], page.partition(END)[2]
        PAGE.write_text(f"{before}{BEGIN}\n{report}\n{END}{after}")


def run(options: argparse.Namespace) -> str:
    """Start everything, measure, and give the report."""
    with ExitStack() as stack:
        redis = stack.enter_context(run_redis())
        upstream_port = free_port()
        provider = stack.enter_context(_program("tests.bench.contenders", "provider", str(upstream_port)))
        upstream = f"http://127.0.0.1:{upstream_port}/v1"
        _wait(f"{upstream}/models", provider)
        direct = Contender("provider, direct", upstream.removesuffix("/v1"), None)
        runtime = stack.enter_context(_runtime(upstream, redis.url))
        bare = stack.enter_context(_bare(upstream))
        contenders = [direct, runtime, bare]
        if not options.without_litellm:
            contenders.append(stack.enter_context(_litellm(upstream)))
        for _ in range(options.rounds):
            for contender in contenders:
                _round(contender, options.seconds)
        rows = _rows(contenders)
        checks = asyncio.run(_streams(runtime, options.streams))
        checks |= _close_latency(runtime, direct)
        checks |= _memory(runtime, options.soak)
        with _runtime(upstream, redis.url, REDIS_CACHE_ENABLED="true") as cached:
            checks |= _cache_hit(cached, options.seconds)
    return _report(options, contenders, rows, checks)


@contextmanager
def _program(module: str, *arguments: str, env: Mapping[str, str] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    with _started([sys.executable, "-m", module, *arguments], env or {}) as process:
        yield process


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


@contextmanager
def _runtime(upstream: str, redis: str, **variables: str) -> Iterator[Contender]:
    port = free_port()
    env = {
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "ENVIRONMENT": "production",
        "SECRET_KEY": "0123456789abcdef0123456789abcdef",
        "API_KEYS": KEY,
        "OPENAI_COMPATIBLE_BASE_URL": upstream,
        "OPENAI_COMPATIBLE_DEFAULT_MODEL": MODEL,
        "REDIS_URL": redis,
        "REDIS_CACHE_ENABLED": "false",
        "RATE_LIMIT_REQUESTS": "100000",
        "RATE_LIMIT_WINDOW": "1",
        "GRADIO_ENABLED": "false",
        **variables,
    }
    with _program("assistant_runtime", "serve", env=env) as process:
        yield _ready("this runtime", port, process)


@contextmanager
def _bare(upstream: str) -> Iterator[Contender]:
    port = free_port()
    with _program("tests.bench.contenders", "bare", str(port), upstream) as process:
        yield _ready("bare Starlette + aiohttp", port, process)


@contextmanager
def _litellm(upstream: str) -> Iterator[Contender]:
    _install_litellm()
    port = free_port()
    model = {
        "model_name": MODEL,
        "litellm_params": {"model": f"openai/{MODEL}", "api_base": upstream, "api_key": "none"},
    }
    config = {
        "model_list": [model],
        "general_settings": {"master_key": KEY},
        "litellm_settings": {"num_retries": 0, "callbacks": [], "telemetry": False},
    }
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        json.dump(config, file)
        file.flush()
        command = [str(LITELLM_VENV / "bin/litellm"), "--config", file.name, "--port", str(port), "--host", "127.0.0.1"]
        with _started(command, {"LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}) as process:
            yield _ready("LiteLLM proxy", port, process, "/health/liveliness")


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


def _round(contender: Contender, seconds: int) -> None:
    for level in LEVELS:
        contender.loads[level].append(_wrk(contender, level, seconds))
        contender.first_tokens[level].append(asyncio.run(_first_token(contender, level)))


def _wrk(contender: Contender, connections: int, seconds: int) -> Load:
    body = json.dumps(QUESTION)
    script = (
        f'wrk.method = "POST"\nwrk.body = [[{body}]]\nwrk.headers["Content-Type"] = "application/json"\n'
        f'wrk.headers["Authorization"] = "Bearer {KEY}"\n'
    )
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        file.write(script)
        file.flush()
        url = f"{contender.url}/v1/chat/completions"
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s", "--latency", "-s", file.name]
        before = _cpu_of(contender.process)
        told = subprocess.run([*command, url], check=True, capture_output=True, text=True).stdout
        spent = _cpu_of(contender.process) - before
    if "Non-2xx" in told or "Socket errors" in told:
        raise SystemExit(f"{contender.name}: requests failed:\n{told}")
    count = int(re.search(r"(\d+) requests in", told)[1])  # type: ignore[index]  # wrk's own words
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", told)[1])  # type: ignore[index]
    return Load(rate, _percentile(told, "50%"), _percentile(told, "99%"), spent / max(count, 1) * 1e6)


def _percentile(told: str, share: str) -> float:
    """Read one of wrk's latencies in milliseconds."""
    number, unit = re.search(rf"{share}\s+([\d.]+)(us|ms|s|m)\b", told).groups()  # type: ignore[union-attr]
    return float(number) * {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}[unit]


async def _first_token(contender: Contender, level: int) -> float:
    """Give the median milliseconds to the first event, with `level` streams at once that are paced as a model's are."""
    body = json.dumps({**QUESTION, "stream": True, "user": "paced"})

    async def one(client: aiohttp.ClientSession) -> list[float]:
        times = []
        for _ in range(5 if level == 1 else 2):
            began = time.perf_counter()
            async with client.post(f"{contender.url}/v1/chat/completions", data=body) as answer:
                await answer.content.readuntil(b"\n\n")
                times.append((time.perf_counter() - began) * 1000)
                await answer.read()
        return times

    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
    async with aiohttp.ClientSession(headers=headers, connector=aiohttp.TCPConnector(limit=0)) as client:
        if level == 1:
            await one(client)
        every = await asyncio.gather(*(one(client) for _ in range(level)))
    return statistics.median(value for times in every for value in times)


async def _streams(runtime: Contender, count: int) -> dict[str, str]:
    """Compare whole streams with what the provider said, and hold 500 at once."""
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
    url = f"{runtime.url}/v1/chat/completions"
    wrong = 0

    async def compare(client: aiohttp.ClientSession, times: int, fields: Mapping[str, object]) -> None:
        nonlocal wrong
        body = json.dumps({**QUESTION, "stream": True, **fields})
        for _ in range(times):
            async with client.post(url, data=body) as answer:
                wrong += await answer.read() != STREAM

    async with aiohttp.ClientSession(headers=headers, connector=aiohttp.TCPConnector(limit=0)) as client:
        await asyncio.gather(*(compare(client, count // 64, {}) for _ in range(64)))
        lost, wrong = wrong, 0
        await asyncio.gather(*(compare(client, 1, {"user": "paced"}) for _ in range(500)))
    return {
        f"streams that differ from the provider's, of {count // 64 * 64} with {len(EVENTS)} events each": str(lost),
        "streams that differ, of 500 at once": str(wrong),
    }


def _close_latency(runtime: Contender, direct: Contender) -> dict[str, str]:
    """Leave streams, and see when the provider's connection closed."""

    async def leave() -> float:
        headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
        body = json.dumps({**QUESTION, "stream": True, "user": "paced"})
        async with aiohttp.ClientSession(headers=headers) as client:
            answer = await client.post(f"{runtime.url}/v1/chat/completions", data=body)
            await answer.content.readuntil(b"\n\n")
            left = time.monotonic()
            answer.close()
        await asyncio.sleep(0.2)
        with urllib.request.urlopen(f"{direct.url}/closed", timeout=5) as told:  # noqa: ASYNC210 - nothing else runs
            return (float(json.load(told)["closed_at"]) - left) * 1000

    times = [asyncio.run(leave()) for _ in range(10)]
    return {"a client left, the provider's connection closed after, longest of 10": f"{max(times):.1f} ms"}


def _memory(runtime: Contender, requests: int) -> dict[str, str]:
    """Send many requests, and see what the process holds."""
    told = {"memory after start": f"{runtime.idle_memory:.0f} MB"}
    if not requests:
        return told
    sent, settled = 0.0, 0.0
    while sent < requests:
        sent += _wrk(runtime, 64, 10).rate * 10
        if not settled and sent >= SETTLED_REQUESTS:
            settled = _memory_of(runtime.process)
    after = _memory_of(runtime.process)
    told[f"memory after warm-up, and after {int(sent):,} requests more"] = f"{settled:.1f} and {after:.1f} MB"
    return told


def _cache_hit(cached: Contender, seconds: int) -> dict[str, str]:
    """Give the time that the server itself took for answers from the cache in Redis, one at a time."""
    load = _wrk(cached, 1, seconds)
    with urllib.request.urlopen(f"{cached.url}/metrics", timeout=5) as answer:
        told = answer.read().decode()
    labels = r'\{endpoint="/v1/chat/completions",method="POST"\}'
    total, count = (
        float(re.search(rf"http_request_duration_seconds_{end}{labels} (\S+)", told)[1])  # type: ignore[index]
        for end in ("sum", "count")
    )
    return {
        "cache hit, mean of the server's own time": f"{total / count * 1000:.2f} ms",
        "cache hit, p50 as the client sees it": f"{load.p50:.2f} ms",
    }


def _cpu_of(process: subprocess.Popen[bytes] | None) -> float:
    if process is None:
        return 0.0
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory_of(process: subprocess.Popen[bytes] | None) -> float:
    """Return a process's resident memory in MB."""
    if process is None:
        return 0.0
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1000


def _rows(contenders: list[Contender]) -> list[str]:
    direct = contenders[0]
    rows = []
    for it in contenders:
        one, many = it.best(1), it.best(64)
        added = [
            f"{it.first_token(level) - direct.first_token(level):.2f}" if it is not direct else "-" for level in LEVELS
        ]
        cpu = f"{many.cpu:.0f}" if it.process else "-"
        memory = f"{it.idle_memory:.0f}" if it.process else "-"
        start = f"{it.started:.1f}" if it.process else "-"
        rows.append(
            f"| {it.name} | {one.rate:,.0f} / {many.rate:,.0f} | {one.p50 - direct.best(1).p50:.2f} | "
            f"{many.p50:.1f} / {many.p99:.1f} | {cpu} | {added[0]} / {added[1]} | {memory} | {start} |"
        )
    return rows


def _report(
    options: argparse.Namespace, contenders: list[Contender], rows: list[str], checks: Mapping[str, str]
) -> str:
    rates = {it.name: it.best(64).rate for it in contenders}
    own = rates["this runtime"]
    ratios = {
        f"requests/s at 64 in flight / {name}": f"{own / rate:.2f}" for name, rate in rates.items() if rate != own
    }
    head = (
        "| server | requests/s at 1 / 64 in flight | added p50 ms at 1 | p50 / p99 ms at 64 | CPU us a request at 64 | "
        "added ms to first token at 1 / 64 | memory MB | start s |\n" + "| --- " * 8 + "|"
    )
    table = "\n".join(f"| {name} | {value} |" for name, value in (ratios | dict(checks)).items())
    return (
        f"Measured on {time.strftime('%Y-%m-%d')}: {os.cpu_count()} cores shared by provider, contender, load and "
        f"Redis, Python {platform.python_version()}, {options.rounds} rounds of {options.seconds} s, best of each.\n\n"
        f"{head}\n" + "\n".join(rows) + f"\n\n| what | figure |\n| --- | --- |\n{table}"
    )


if __name__ == "__main__":
    main()
