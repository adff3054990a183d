"""`make bench-runtime`: the runtime beside LiteLLM's proxy, a bare pass-through and no gateway at all, in one run.

Each contender is one process (one worker) in front of the same provider, which the bench brings along and which costs
almost nothing. The runtime has everything on that a request meets: API key, rate limit in Redis, metrics, request log.
Its cache is off, because the questions are all the same; hits are measured apart. Load comes from wrk, in rounds
in which the contenders take turns, so that whatever else the machine does meets them all. The best round counts, since
noise only ever slows down. With what is given by default it takes some eight minutes.
"""

import argparse
import os
import platform
import time
from collections.abc import Mapping
from contextlib import ExitStack

from devcluster import packages
from devcluster.progress import Silent
from tests.bench import checks, servers
from tests.bench.load import first_token, wrk
from tests.bench.rolling import rolling_update
from tests.bench.servers import LEVELS, ROOT, Contender, say
from tests.support.redis import run_redis

PAGE = ROOT / "docs/benchmarks.md"
BEGIN, END = "<!-- runtime:begin -->", "<!-- runtime:end -->"


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
        redis = stack.enter_context(run_redis()).url
        direct = stack.enter_context(servers.provider())
        say("the contenders start")
        runtime = stack.enter_context(servers.runtime(direct.url, redis))
        contenders = [direct, runtime, stack.enter_context(servers.bare(direct.url))]
        if not options.without_litellm:
            contenders.append(stack.enter_context(servers.litellm(direct.url)))
        for number in range(options.rounds):
            for contender in contenders:
                say(f"round {number + 1} of {options.rounds}: {contender.name}")
                _round(contender, options.seconds)
        rows = _rows(contenders)
        found: dict[str, str] = {}
        say(f"{options.streams:,} streams, and 500 at once")
        found |= checks.whole_streams(runtime, options.streams)
        found |= checks.close_latency(runtime, direct)
        say(f"memory over {options.soak:,} requests")
        found |= checks.memory(runtime, options.soak)
        say("answers from the cache")
        with servers.runtime(direct.url, redis, REDIS_CACHE_ENABLED="true") as cached:
            found |= checks.cache_hit(cached, options.seconds)
        say("a rolling update")
        found |= rolling_update(lambda: servers.runtime(direct.url, redis, DRAIN_DELAY_SECONDS="2"))
    return _report(options, contenders, rows, found)


def _round(contender: Contender, seconds: int) -> None:
    for level in LEVELS:
        contender.settle()
        contender.loads[level].append(wrk(contender, level, seconds))
        contender.settle()
        contender.first_tokens[level].append(first_token(contender, level))


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
            f"{many.p50:.1f} / {many.p99:.1f} | {cpu} | {added[0]} / {added[1]} | {memory} | {start} | {it.failures} |"
        )
    return rows


def _report(options: argparse.Namespace, contenders: list[Contender], rows: list[str], found: Mapping[str, str]) -> str:
    rates = {it.name: it.best(64).rate for it in contenders}
    own = rates["this runtime"]
    ratios = {
        f"requests/s at 64 in flight / {name}": f"{own / rate:.2f}" if rate else "nothing was answered"
        for name, rate in rates.items()
        if name != "this runtime"
    }
    head = (
        "| server | requests/s at 1 / 64 in flight | added p50 ms at 1 | p50 / p99 ms at 64 | CPU us a request at 64 | "
        "added ms to first token at 1 / 64 | memory MB | start s | failures |\n" + "| --- " * 9 + "|"
    )
    table = "\n".join(f"| {name} | {value} |" for name, value in (ratios | dict(found)).items())
    return (
        f"Measured on {time.strftime('%Y-%m-%d')}: {os.cpu_count()} cores shared by provider, contender, load and "
        f"Redis, Python {platform.python_version()}, {options.rounds} rounds of {options.seconds} s, best of each.\n\n"
        f"{head}\n" + "\n".join(rows) + f"\n\n| what | figure |\n| --- | --- |\n{table}"
    )


if __name__ == "__main__":
    main()
