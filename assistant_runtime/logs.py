"""Logs: structlog's events as JSON on standard output, and everyone else's through the same renderer.

An event holds names and numbers, never a prompt, an answer or a key. Called by the command line alone: how a process
logs is the process's business, so that importing or testing the application changes nothing.
"""

import logging
import sys
from typing import Any

import orjson
import structlog
from structlog.typing import EventDict, Processor

from assistant_runtime.settings import Settings
from assistant_runtime.settings.process import ProcessGroup
from assistant_runtime.settings.values import is_loopback

NOISY = {
    "asyncio": logging.INFO,
    "aiohttp": logging.INFO,
    "redis": logging.INFO,
    "httpx": logging.WARNING,
    "faiss": logging.WARNING,
    "milvus_lite": logging.WARNING,
    # Milvus Lite's server in this process has not every call that its client tries; the client goes on without it.
    "grpc._server": logging.CRITICAL,
}
"""What they tell below these levels is of every socket, every request with its address, or nothing to act on."""


def configure_logging(settings: ProcessGroup) -> None:
    """Set up structlog and the standard library's logging for this process."""
    level = "DEBUG" if settings.debug else settings.log_level
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer = _renderer(settings)
    structlog.configure(
        processors=[*shared, structlog.processors.format_exc_info, *renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                *renderer,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for name, least in NOISY.items():
        logging.getLogger(name).setLevel(max(root.level, least))


def silence() -> None:
    """Log nothing: the output of a command is its own, and a store's comings and goings are the server's to tell."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("CRITICAL"))


def warn_of_risks(settings: Settings) -> None:
    """Warn of settings that work, and are rarely meant."""
    log = structlog.get_logger(__name__)
    if settings.redis_url is not None and settings.secret_key is None:
        log.warning("secret_key_random", remedy="set SECRET_KEY, or replicas share neither limits nor cache in Redis")
    if not settings.api_keys and settings.oidc_issuer is None and not is_loopback(settings.host):
        log.warning("no_authentication", remedy="set API_KEYS, or anyone who reaches the port may ask")


def log_format(settings: ProcessGroup) -> str:
    """Give the format in use: `json` or `console`."""
    return settings.log_format or ("console" if settings.environment == "development" else "json")


def _renderer(settings: ProcessGroup) -> list[Processor]:
    if log_format(settings) == "console":
        return [structlog.dev.ConsoleRenderer(colors=sys.stdout.isatty())]
    return [_render_json]


def _render_json(_logger: Any, _method: str, event: EventDict) -> str:
    return orjson.dumps(event, default=repr).decode()
