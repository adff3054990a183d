"""Logs: structlog's events as JSON on standard output, and everyone else's through the same renderer.

An event holds names and numbers, never a prompt, an answer or a key. Called by the command line alone: how a process
logs is the process's business, so that importing or testing the application changes nothing.
"""

import asyncio
import atexit
import json
import logging
import sys
from typing import Any, TextIO

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


class Lines:
    """Write together the lines of one turn of the event loop: a write is a call of the system.

    Parameters
    ----------
    stream
        Takes them.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._waiting: list[str] = []
        self._loop: asyncio.AbstractEventLoop | None = None

    def msg(self, line: str) -> None:
        """Write a line at the end of this turn, or at once where no loop runs."""
        self._waiting.append(line + "\n")
        # Cheaper than to ask for the running loop and catch that there is none, and None in any other thread.
        loop = asyncio._get_running_loop()  # noqa: SLF001
        if loop is None:
            self.flush()
        elif loop is not self._loop:
            self._loop = loop
            loop.call_soon(self.flush)

    debug = info = warning = error = critical = msg

    def write(self, text: str) -> None:
        """Write text, as a stream does."""
        self._waiting.append(text)

    def flush(self) -> None:
        """Write what waits."""
        self._loop = None
        waiting, self._waiting = self._waiting, []
        self._stream.write("".join(waiting))
        self._stream.flush()


def configure_logging(settings: ProcessGroup) -> None:
    """Set up structlog and the standard library's logging for this process."""
    level = "DEBUG" if settings.debug else settings.log_level
    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer = _renderer(settings)
    lines = Lines(sys.stdout)
    atexit.register(lines.flush)
    structlog.configure(
        processors=[*shared, structlog.processors.format_exc_info, *renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: lines,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(lines)
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
    return [as_json]


def as_json(_logger: Any, _method: str, event: EventDict) -> str:
    """Render an event as a line of JSON, whatever it holds."""
    try:
        return orjson.dumps(event, default=repr).decode()
    except orjson.JSONEncodeError:
        # Texts and numbers of others may be none that it takes, and a line must not fail what it is about.
        return json.dumps(event, default=repr)
