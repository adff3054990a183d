"""Metrics: Prometheus's usual HTTP names, and OpenTelemetry's names for generative AI.

Each application has a registry of its own, so that two in one process (as in tests) count apart. Labels come from
closed sets, such as route templates and models that a provider is known to have: a label that a client can invent
makes a time series for each invention.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
    start_http_server,
)
from prometheus_client.multiprocess import MultiProcessCollector

from assistant_runtime import tallies
from assistant_runtime.providers.base import Usage
from assistant_runtime.tracing import NoTracing, Tracing

HTTP_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
"""From a cache hit to a long stream."""

GENAI_SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
"""The buckets that OpenTelemetry's conventions recommend for durations."""

GENAI_TOKENS = tuple(4**power for power in range(14))
"""The buckets that OpenTelemetry's conventions recommend for token counts: 1, 4, 16 ... 67108864."""

LAG_INTERVAL_SECONDS = 0.5
"""Often enough to see a blocked loop between two scrapes, at no measurable cost."""

OTHER_MODEL = "other"
"""Stands for a model that no provider lists: its name is the client's invention."""

SHARED_DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"
"""prometheus_client's variable: the folder in which several workers count, each in files of its own."""

UNMATCHED = "unmatched"
"""Stands for every path without a route."""


@dataclass(slots=True)
class ModelCall:
    """Labels of one call to a provider."""

    provider: str
    request_model: str
    response_model: str = ""
    error_type: str = ""
    operation: str = "chat"


class Labelled(dict[tuple[str, ...], Any]):
    """One metric's children by their labels: prometheus_client's own look-up takes a lock and copies, each time."""

    def __init__(self, metric: Any) -> None:
        super().__init__()
        self._metric = metric

    def __missing__(self, labels: tuple[str, ...]) -> Any:
        child = self[labels] = self._metric.labels(*labels)
        return child


class Metrics:
    """Every metric of one application.

    Parameters
    ----------
    enabled
        Whether anything is collected.
    tracing
        Told of the same calls, for traces.
    shared
        Whether this is one of several workers, which count in SHARED_DIRECTORY and tell the sum.
    """

    def __init__(self, *, enabled: bool, tracing: Tracing | None = None, shared: bool = False) -> None:
        self._enabled = enabled
        self._shared = shared
        self.tracing = tracing or NoTracing()
        self._traced = tracing is not None
        self.registry = CollectorRegistry()
        if enabled:
            ProcessCollector(registry=self.registry)
            PlatformCollector(registry=self.registry)
        self._define_http()
        self._define_genai()

    def _define_http(self) -> None:
        registry = self.registry
        self._requests = self._counter("http_requests_total", "Requests answered.", ["method", "endpoint", "status"])
        self._duration = self._histogram(
            "http_request_duration_seconds",
            "Time from a request's headers to its last byte.",
            ["method", "endpoint"],
            HTTP_SECONDS,
        )
        self._in_flight = self._number("http_requests_in_flight", "Requests being answered.")
        self._cache = self._counter("response_cache_requests_total", "Chat requests by cache result.", ["result"])
        self._limited = self._counter("rate_limit_decisions_total", "Requests by rate limit decision.", ["decision"])
        self._refused = self._counter(
            "refused_records_total", "Records of usage and audit that a store refused to keep.", ["kind"]
        )
        self._task_restarts = Labelled(
            Counter(
                "background_task_restarts_total",
                "Failures of background tasks, each of which is restarted.",
                ["task"],
                registry=registry,
            )
        )
        self._task_up = Labelled(
            Gauge(
                "background_task_up",
                "Whether a background task runs; 0 between a failure and its restart.",
                ["task"],
                registry=registry,
                multiprocess_mode="livemin",
            )
        )
        self._lag = Gauge(
            "event_loop_lag_seconds",
            "How late the event loop ran a timer, last measured.",
            registry=registry,
            multiprocess_mode="livemax",
        )

    def _define_genai(self) -> None:
        labels = [
            "gen_ai_operation_name",
            "gen_ai_provider_name",
            "gen_ai_request_model",
            "gen_ai_response_model",
        ]
        self._operation = self._histogram(
            "gen_ai_client_operation_duration_seconds",
            "Time that a provider took for an answer.",
            [*labels, "error_type"],
            GENAI_SECONDS,
        )
        self._first_chunk = self._histogram(
            "gen_ai_client_operation_time_to_first_chunk_seconds",
            "Time until a provider's first chunk of a stream.",
            labels,
            GENAI_SECONDS,
        )
        self._tokens = self._histogram(
            "gen_ai_client_token_usage",
            "Tokens of an answer, as the provider counted them.",
            [*labels, "gen_ai_token_type"],
            GENAI_TOKENS,
        )
        self._tools = self._histogram(
            "gen_ai_execute_tool_duration_seconds",
            "Time that a tool took for a call.",
            ["gen_ai_tool_name", "error_type"],
            GENAI_SECONDS,
        )

    def _counter(self, name: str, text: str, labels: Sequence[str]) -> Any:
        """Define a counter; of several workers in files that they share."""
        if self._shared:
            return Labelled(Counter(name, text, labels, registry=self.registry))
        return tallies.counter(self.registry, name, text, labels)

    def _histogram(self, name: str, text: str, labels: Sequence[str], bounds: Sequence[float]) -> Any:
        """Define a histogram, as `_counter` does."""
        if self._shared:
            return Labelled(Histogram(name, text, labels, buckets=bounds, registry=self.registry))
        return tallies.histogram(self.registry, name, text, labels, bounds)

    def _number(self, name: str, text: str) -> Any:
        """Define a number that goes up and down, as `_counter` does."""
        gauge = Gauge(name, text, registry=self.registry, multiprocess_mode="livesum")
        if self._shared:
            return gauge
        number = tallies.Count()
        gauge.set_function(lambda: number.value)
        return number

    def task_started(self, task: str) -> None:
        """Note that a background task runs."""
        if self._enabled:
            self._task_restarts[(task,)]  # so that it is there before the first failure
            self._task_up[(task,)].set(1)

    def task_failed(self, task: str) -> None:
        """Count a failure of a background task."""
        if self._enabled:
            self._task_restarts[(task,)].inc()
            self._task_up[(task,)].set(0)

    def request_started(self) -> None:
        """Count a request as in flight."""
        if self._enabled:
            self._in_flight.inc()

    def request_finished(self, method: str, endpoint: str, status: int, seconds: float) -> None:
        """Record an answered request."""
        if self._enabled:
            self._in_flight.dec()
            self._requests[method, endpoint, str(status)].inc()
            self._duration[method, endpoint].observe(seconds)

    def cache_result(self, result: str) -> None:
        """Count `hit`, `miss` or `bypass`."""
        if self._enabled:
            self._cache[(result,)].inc()

    def rate_limit_decision(self, decision: str) -> None:
        """Count `admitted` or `refused`."""
        if self._enabled:
            self._limited[(decision,)].inc()

    def record_refused(self, kind: str) -> None:
        """Count a record that a store can't keep: of `usage`, or of the `audit` log."""
        if self._enabled:
            self._refused[(kind,)].inc()

    def first_chunk(self, call: ModelCall, seconds: float) -> None:
        """Record the time to a stream's first chunk."""
        if self._enabled:
            self._first_chunk[call.operation, call.provider, call.request_model, call.response_model].observe(seconds)

    def operation(self, call: ModelCall, seconds: float, usage: Usage | None) -> None:
        """Record a provider's answer, or its failure."""
        if self._traced:
            self.tracing.call_finished(
                f"{call.operation} {call.request_model}", seconds, _span_attributes(call, usage), call.error_type
            )
        if not self._enabled:
            return
        labels = (call.operation, call.provider, call.request_model, call.response_model)
        self._operation[*labels, call.error_type].observe(seconds)
        if usage is not None:
            self._tokens[*labels, "input"].observe(usage.input_tokens)
            self._tokens[*labels, "output"].observe(usage.output_tokens)

    def tool_executed(self, tool: str, seconds: float, error_type: str) -> None:
        """Record a tool's call; `error_type` is empty where it worked."""
        attributes = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": tool}
        self.tracing.call_finished(f"execute_tool {tool}", seconds, attributes, error_type)
        if self._enabled:
            self._tools[tool, error_type].observe(seconds)

    async def watch_event_loop(self, note: Callable[[float], None]) -> None:
        """Measure the event loop's lag until cancelled, and tell `note` the seconds."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LAG_INTERVAL_SECONDS
            await asyncio.sleep(LAG_INTERVAL_SECONDS)
            lag = max(0.0, loop.time() - due)
            note(lag)
            self._lag.set(lag)

    def exposition(self) -> bytes:
        """Give every metric in Prometheus's text format."""
        return generate_latest(sum_of_workers(os.environ[SHARED_DIRECTORY]) if self._shared else self.registry)


def sum_of_workers(directory: str) -> CollectorRegistry:
    """Give what all workers have counted in a folder; workers that ended count on, but for what they had in hand."""
    registry = CollectorRegistry(support_collectors_without_names=True)
    MultiProcessCollector(registry, directory)
    return registry


def _span_attributes(call: ModelCall, usage: Usage | None) -> dict[str, Any]:
    counted = {} if usage is None else {"input": usage.input_tokens, "output": usage.output_tokens}
    return {
        "gen_ai.operation.name": call.operation,
        "gen_ai.provider.name": call.provider,
        "gen_ai.request.model": call.request_model,
        "gen_ai.response.model": call.response_model,
        **{f"gen_ai.usage.{kind}_tokens": count for kind, count in counted.items()},
    }


@asynccontextmanager
async def metrics_server(metrics: Metrics, host: str, port: int) -> AsyncIterator[None]:
    """Serve the metrics on a port of their own, in a thread: scrapes keep off the loop."""
    server, thread = start_http_server(port, host, metrics.registry)
    try:
        yield
    finally:
        await asyncio.to_thread(server.shutdown)
        server.server_close()
        thread.join()
