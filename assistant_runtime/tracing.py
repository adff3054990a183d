"""OpenTelemetry traces: a span a request, and within it one a model call and one a tool call, by the GenAI names.

The SDK is imported only where an endpoint is set. Spans wait in a bounded queue and are sent by a thread; what a dead
collector can't take is dropped, and never holds up a request or the end of the process.
"""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Protocol

FLUSH_SECONDS = 3.0
"""How long the end of the process waits for the last spans; the grace period is for answers."""

QUEUE_SPANS = 2048
"""About 2 MB: what is sent while a collector restarts."""

NANOSECONDS = 1_000_000_000


class Tracing(Protocol):
    """Takes what happened; each call must cost next to nothing."""

    def request_started(self, method: str, headers: list[tuple[bytes, bytes]]) -> Any:
        """Begin a request's span; calls that the same task reports later are within it."""

    def request_finished(self, span: Any, endpoint: str, status: int, facts: Mapping[str, Any]) -> None:
        """End a request's span."""

    def call_finished(self, name: str, seconds: float, attributes: Mapping[str, Any], error_type: str) -> None:
        """Record a call that took until now."""


class NoTracing:
    """Without an endpoint: nothing is recorded, and no SDK is imported."""

    def request_started(self, method: str, headers: list[tuple[bytes, bytes]]) -> Any:
        """Begin nothing."""

    def request_finished(self, span: Any, endpoint: str, status: int, facts: Mapping[str, Any]) -> None:
        """End nothing."""

    def call_finished(self, name: str, seconds: float, attributes: Mapping[str, Any], error_type: str) -> None:
        """Record nothing."""


class OpenTelemetryTracing:
    """Spans, sent to an OTLP endpoint over HTTP.

    Parameters
    ----------
    endpoint
        The collector's root; spans go to its /v1/traces.
    service
        Name of this service.
    headers
        What each request to the collector carries, as OTEL_EXPORTER_OTLP_HEADERS writes it.
    ca_file
        Certificates to trust for the collector, in place of the system's.
    """

    def __init__(self, endpoint: str, service: str, headers: str = "", ca_file: str | None = None) -> None:
        from opentelemetry import context, trace  # noqa: PLC0415 - the SDK is imported only where it is used
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415

        from assistant_runtime.span_exporter import span_exporter  # noqa: PLC0415

        self._context, self._trace = context, trace
        self._propagator = TraceContextTextMapPropagator()
        # Not at exit: `running` ends it, within its bound.
        self._provider = TracerProvider(resource=Resource.create({"service.name": service}), shutdown_on_exit=False)
        exporter = span_exporter(endpoint, headers, ca_file)
        self._provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=QUEUE_SPANS))
        self._tracer = self._provider.get_tracer("assistant_runtime")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Send the last spans in the end, as far as the collector takes them in time."""
        try:
            yield
        finally:
            ending = threading.Thread(target=self._provider.shutdown, daemon=True)
            ending.start()
            await asyncio.to_thread(ending.join, FLUSH_SECONDS)

    def request_started(self, method: str, headers: list[tuple[bytes, bytes]]) -> Any:
        """Begin a request's span, within the caller's trace if it names one."""
        parent = None
        for name, value in headers:
            if name == b"traceparent":
                parent = self._propagator.extract({"traceparent": value.decode("latin-1")})
        span = self._tracer.start_span(method, context=parent, kind=self._trace.SpanKind.SERVER)
        # For the rest of this task, which serves this one request.
        self._context.attach(self._trace.set_span_in_context(span, parent))
        return span

    def request_finished(self, span: Any, endpoint: str, status: int, facts: Mapping[str, Any]) -> None:
        """End a request's span."""
        span.update_name(f"{span.name} {endpoint}")
        span.set_attributes({"http.route": endpoint, "http.response.status_code": status, **_plain(facts)})
        if status >= 500:  # noqa: PLR2004 - HTTP's number
            span.set_status(self._trace.StatusCode.ERROR)
        span.end()

    def call_finished(self, name: str, seconds: float, attributes: Mapping[str, Any], error_type: str) -> None:
        """Record a call that took until now, within the task's request."""
        now = time.time_ns()
        start = now - int(seconds * NANOSECONDS)
        span = self._tracer.start_span(
            name, kind=self._trace.SpanKind.CLIENT, attributes=_plain(attributes), start_time=start
        )
        if error_type:
            span.set_attribute("error.type", error_type)
            span.set_status(self._trace.StatusCode.ERROR)
        span.end(now)


def _plain(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what no attribute may be, and what is empty."""
    return {name: value for name, value in attributes.items() if isinstance(value, str | int | float) and value != ""}
