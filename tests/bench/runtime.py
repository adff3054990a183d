"""`make bench-runtime`: the runtime beside Envoy, LiteLLM's proxy, a bare pass-through and no gateway, in one run.

Each contender is one process (one worker) in front of the same provider, which the bench brings along and which costs
almost nothing. The runtime has everything on that a request meets: API key, rate limit in Redis, metrics, request log.
Its cache is off, because the questions are all the same; hits are measured apart. Load comes from wrk, in rounds
in which the contenders take turns, so that whatever else the machine does meets them all. The best round counts, since
noise only ever slows down. With what is given by default it takes some eight minutes.
"""

import argparse
import math
import os
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack

from devcluster import packages
from devcluster.progress import Silent
from tests.bench import checks, report, servers
from tests.bench.contender import LEVELS, Contender
from tests.bench.figure import Figure
from tests.bench.load import first_token, wrk
from tests.bench.report import say
from tests.bench.rolling import rolling_update
from tests.support.redis import run_redis

LEAST_SHARE = {"bare": 1.0, "litellm": 20}
"""Of the requests that another answers, by its name: what is aimed at."""
BESIDE = {"bare": servers.bare, "envoy": servers.envoy, "litellm": servers.litellm}


def main() -> None:
    """Run everything, print it, and write it into docs/benchmarks.md."""
    parser = report.parser(__doc__)
    count = report.at_least(1)
    parser.add_argument("--rounds", type=count, default=3, help="turns of each contender (default 3)")
    parser.add_argument("--seconds", type=count, default=4, help="seconds of each turn (default 4)")
    parser.add_argument(
        "--soak",
        type=report.at_least(0),
        default=200_000,
        help="requests of the memory run (default 200000; 0: none)",
    )
    parser.add_argument(
        "--streams",
        type=report.at_least(checks.AT_ONCE),
        default=10_000,
        help="streams that are compared byte by byte (default 10000)",
    )
    parser.add_argument("--workers", type=count, default=4, help="workers of the run with several (default 4; 1: none)")
    parser.add_argument(
        "--beside", nargs="*", choices=BESIDE, default=list(BESIDE), help="what it is compared with (default: all)"
    )
    options = report.parse(parser)
    packages.ensure({"wrk": "wrk"}, Silent())
    report.publish("runtime", run(options), write=not options.no_write)


def run(options: argparse.Namespace) -> str:
    """Start everything, measure, and give the report."""
    with ExitStack() as stack:
        redis = stack.enter_context(run_redis()).url
        direct = stack.enter_context(servers.provider())
        say("the contenders start")
        runtime = stack.enter_context(servers.runtime(direct.url, redis))
        others = {name: stack.enter_context(BESIDE[name](direct.url)) for name in options.beside}
        for number in range(options.rounds):
            for contender in (direct, runtime, *others.values()):
                say(f"round {number + 1} of {options.rounds}: {contender.name}")
                _round(contender, options.seconds)
        rows = [_row(it, direct) for it in (direct, runtime, *others.values())]
        figures = [*_compared(direct, runtime, others), *_alone(options, runtime, direct, redis)]
    return _report(options, rows, figures)


def _alone(options: argparse.Namespace, runtime: Contender, direct: Contender, redis: str) -> Iterator[Figure]:
    """Look at the runtime alone."""
    say(f"{options.streams:,} streams, and 500 at once")
    yield from checks.whole_streams(runtime, options.streams)
    yield checks.close_latency(runtime, direct)
    say(f"memory over {options.soak:,} requests")
    yield from checks.memory(runtime, options.soak)
    say("answers from the cache")
    with servers.runtime(direct.url, redis, REDIS_CACHE_ENABLED="true") as cached:
        yield from checks.cache_hit(cached, options.seconds)
    if options.workers > 1:
        say(f"{options.workers} workers")
        yield from _workers(options, runtime, direct, redis)
    say("a rolling update")
    yield rolling_update(lambda: servers.runtime(direct.url, redis, DRAIN_DELAY_SECONDS="2"))


def _workers(options: argparse.Namespace, alone: Contender, direct: Contender, redis: str) -> Iterator[Figure]:
    """Compare several workers on one port with one, and with as many of Envoy's; all share the machine's cores."""
    count = options.workers
    with ExitStack() as stack:
        several = [stack.enter_context(servers.runtime_of_workers(direct.url, redis, count))]
        if "envoy" in options.beside:
            several.append(stack.enter_context(servers.envoy(direct.url, count)))
        for _ in range(options.rounds):
            for it in several:
                it.settle()
                it.loads[64].append(wrk(it, 64, options.seconds))
        own, *others = (it.best(64) for it in several)
    cores = f"{count} workers on {os.cpu_count()} cores that all share"
    yield Figure(f"requests/s at 64 in flight, {cores} / one worker", own.rate / alone.best(64).rate, digits=2)
    yield Figure(f"CPU of a request at 64 in flight, {cores}", own.cpu, "us", 0)
    for other in others:
        yield Figure(f"requests/s at 64 in flight, {cores} / Envoy with as many", own.rate / other.rate, digits=2)


def _round(contender: Contender, seconds: int) -> None:
    for level in LEVELS:
        contender.settle()
        contender.loads[level].append(wrk(contender, level, seconds))
        contender.settle()
        contender.first_tokens[level].append(first_token(contender, level))


COLUMNS = (
    "server",
    "requests/s at 1 / 64 in flight",
    "added p50 ms at 1",
    "p50 / p99 ms at 64",
    "CPU us a request at 64",
    "added ms to first token at 1 / 64",
    "memory MB",
    "start s",
    "failures",
)


def _row(it: Contender, direct: Contender) -> Sequence[str]:
    one, many = it.best(1), it.best(64)
    rates, times = f"{one.rate:,.0f} / {many.rate:,.0f}", f"{many.p50:.1f} / {many.p99:.1f}"
    if it is direct:
        return (it.name, rates, "-", times, "-", "-", "-", "-", str(it.failures))
    added = " / ".join(f"{it.first_token(level) - direct.first_token(level):.2f}" for level in LEVELS)
    return (
        it.name,
        rates,
        f"{one.p50 - direct.best(1).p50:.2f}",
        times,
        f"{many.cpu:.0f}",
        added,
        f"{it.idle_memory:.0f}",
        f"{it.started:.1f}",
        str(it.failures),
    )


def _compared(direct: Contender, runtime: Contender, others: Mapping[str, Contender]) -> Iterator[Figure]:
    """Give the runtime's figures beside the others'."""
    own = runtime.best(64)
    for name, it in {"direct": direct, **others}.items():
        rate = it.best(64).rate
        share = own.rate / rate if rate else math.inf
        yield Figure(f"requests/s at 64 in flight / {it.name}", share, digits=2, at_least=LEAST_SHARE.get(name))
    if "envoy" in others:
        share = own.cpu / others["envoy"].best(64).cpu
        yield Figure("CPU of a request at 64 in flight / Envoy", share, digits=1, at_most=2.5)
    yield Figure("added to the median at 1 in flight", runtime.best(1).p50 - direct.best(1).p50, "ms", 2, at_most=1)
    for level, most in ((1, 0.8), (64, 0.7)):
        added = runtime.first_token(level) - direct.first_token(level)
        yield Figure(f"added to the first token at {level} in flight", added, "ms", 2, at_most=most)
    yield Figure("from start to ready", runtime.started, "s", 1, at_most=2)


def _report(options: argparse.Namespace, rows: Sequence[Sequence[str]], figures: Sequence[Figure]) -> str:
    return (
        f"Measured on {time.strftime('%Y-%m-%d')}: {os.cpu_count()} cores shared by provider, contender, load and "
        f"Redis, Python {platform.python_version()}, {options.rounds} rounds of {options.seconds} s, best of each.\n\n"
        f"{report.table(COLUMNS, rows)}\n\n"
        f"{report.table(('this runtime', 'figure', 'aimed at'), [figure.row for figure in figures])}"
    )


if __name__ == "__main__":
    main()
