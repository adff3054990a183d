"""Probes of every container, with one policy for their timing.

The kubelet restarts a container that exited without asking a probe. So a liveness probe detects one thing only, a
process that hangs, and it may take its time: on a node whose processors are overloaded a healthy process also answers
late, and a restart would take away what still serves and add the work of a start. For the same reason a slow start is a
startup probe's concern, whose limit is far above what a start takes. A pod that does not answer now gets no requests,
which is a readiness probe's concern and costs nothing when it is wrong.
"""

from typing import Any

Probe = dict[str, Any]

_HANGS_SECONDS = 300
"""Silence after which a process counts as hung."""
_STARTS_SECONDS = 600
"""Time for a start on an overloaded node; a start that fails ends the process, and waits for nothing."""
_ANSWERS_SECONDS = 10
"""Time for an answer that tells a live process from one that hangs."""


def http(path: str, port: str) -> Probe:
    """Build the action of a probe that asks a path by HTTP; `port` is the name of the container's port."""
    return {"httpGet": {"path": path, "port": port, "scheme": "HTTP"}}


def command(*words: str) -> Probe:
    """Build the action of a probe that runs a command in the container."""
    return {"exec": {"command": list(words)}}


def probes(
    *,
    alive: Probe,
    ready: Probe,
    started: Probe | None = None,
    start_period: int = 2,
    start_seconds: int = _STARTS_SECONDS,
    live_period: int = _ANSWERS_SECONDS,
    ready_period: int = 5,
    ready_timeout: int = 5,
) -> dict[str, Probe]:
    """Build a container's startup, liveness and readiness probe.

    Parameters
    ----------
    alive, ready, started
        What each probe does; a start is over once the process is alive, where `started` is not given.
    start_period, live_period, ready_period
        Seconds from one question to the next.
    start_seconds
        How long the start may take.
    ready_timeout
        Seconds for an answer that it is ready.
    """
    timeout = max(live_period, _ANSWERS_SECONDS)
    return {
        "startupProbe": _timed(started or alive, start_period, start_seconds, timeout),
        "livenessProbe": _timed(alive, live_period, _HANGS_SECONDS, timeout),
        "readinessProbe": {**ready, "periodSeconds": ready_period, "timeoutSeconds": ready_timeout},
    }


def _timed(action: Probe, period: int, seconds: int, timeout: int) -> Probe:
    return {**action, "periodSeconds": period, "timeoutSeconds": timeout, "failureThreshold": seconds // period}
