"""Logs and metrics of the operator."""

import logging
import sys
from collections.abc import Iterator, Mapping
from typing import Protocol

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from assistant_operator.settings import Settings

_PASS_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


def configure_logging(settings: Settings) -> None:
    """Send structlog's and the libraries' records to standard error in the configured format."""
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: structlog.types.Processor = (
        structlog.processors.JSONRenderer() if settings.log_format == "json" else structlog.dev.ConsoleRenderer()
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.basicConfig(handlers=[handler], level=settings.log_level, force=True)
    # kopf tells of every event it delivers; ours are the ones that count.
    logging.getLogger("kopf").setLevel(max(logging.WARNING, logging.getLevelName(settings.log_level)))


class Metrics:
    """The operator's Prometheus metrics, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self.passes = Counter(
            "assistant_operator_reconcile_total",
            "Passes over an AIAssistant by result: ok, stalled, waiting, transient or gone.",
            ["result"],
            registry=self.registry,
        )
        self.pass_seconds = Histogram(
            "assistant_operator_reconcile_duration_seconds",
            "Duration of a pass.",
            buckets=_PASS_SECONDS,
            registry=self.registry,
        )
        self.writes = Counter(
            "assistant_operator_writes_total",
            "Writes that a pass needed, by what was written: secret, object, deletion, status or event.",
            ["what"],
            registry=self.registry,
        )
        self.watch_failures = Counter(
            "assistant_operator_watch_failures_total",
            "Failures of a watch by what failed, a status of HTTP or an exception; each is followed by a retry.",
            ["watch", "failure"],
            registry=self.registry,
        )
        self.unreadable = Counter(
            "assistant_operator_unreadable_total",
            "Objects and events of a watch that could not be read and were left out, by plural of their kind.",
            ["kind"],
            registry=self.registry,
        )
        self.leader = Gauge(
            "assistant_operator_leader",
            "1 where this operator writes, 0 where it stands by.",
            registry=self.registry,
        )
        self.lease_holder = Gauge(
            "assistant_operator_lease_holder",
            "1 for whoever held the Lease when this operator last saw it.",
            ["holder"],
            registry=self.registry,
        )
        self.lease_failures = Counter(
            "assistant_operator_lease_failures_total",
            "Failures to read or renew the Lease by what failed, a status of HTTP or an exception.",
            ["failure"],
            registry=self.registry,
        )

    def observe_engine(self, engine: "Observed") -> None:
        """Read the gauges of the engine's state from it when they are scraped."""
        self.registry.register(_EngineCollector(engine))


class Observed(Protocol):
    """What an engine tells of its state."""

    def queue_depth(self) -> int:
        """Return how many AIAssistants wait for a pass."""

    def phases(self) -> Mapping[str, int]:
        """Count the AIAssistants by phase."""

    def watch_ages(self) -> Mapping[str, float]:
        """Return for how many seconds each watch has had no sign of life."""

    def refused_watches(self) -> Mapping[str, str]:
        """Return the watches that are refused, with the reason."""


class _EngineCollector(Collector):
    def __init__(self, engine: Observed) -> None:
        self._engine = engine

    def collect(self) -> Iterator[Metric]:
        depth = GaugeMetricFamily("assistant_operator_queue_depth", "AIAssistants that wait for a pass.")
        depth.add_metric([], self._engine.queue_depth())
        yield depth
        yield _family("assistants", "AIAssistants by phase.", "phase", self._engine.phases())
        ages = self._engine.watch_ages()
        yield _family("watch_silence_seconds", "Time since the last sign of life of a watch.", "watch", ages)
        refused = dict.fromkeys(self._engine.refused_watches(), 1)
        yield _family("watch_refused", "1 for a watch that the API server refuses.", "watch", refused)


def _family(name: str, documentation: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(f"assistant_operator_{name}", documentation, labels=[label])
    for value, amount in values.items():
        family.add_metric([value], amount)
    return family
