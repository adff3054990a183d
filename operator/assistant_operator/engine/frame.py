"""kopf as the operator's frame: the only module that imports it.

kopf has the registry of handlers, the login, and the order of start and end. It watches nothing: what it reads it
decodes whole, so that one AIAssistant could end it (docs/decisions/20261129-watches-of-our-own.md). Whatever ends it is
logged, and it is started again while the engine goes on.
"""

import asyncio
import itertools
import signal
from collections.abc import Collection, Iterator
from typing import Any

import kopf
import structlog

from assistant_operator.cluster.client import ApiServer

log = structlog.get_logger()

_RESTART_SECONDS = 30
"""Wait before kopf is started again."""
_END_SECONDS = 5
"""How long kopf may take to end; what it does then is of no use any more."""


class _Patience:
    """Seconds between the tries of one request, without an end: kopf gives up after a minute by default."""

    def __iter__(self) -> Iterator[float]:
        return itertools.chain((1, 2, 5, 10), itertools.repeat(30))


async def run(api: ApiServer, stop: asyncio.Event) -> None:
    """Keep kopf running until `stop` is set, which SIGTERM and SIGINT do."""
    registry = _registry(api)
    while not stop.is_set():
        try:
            tasks = await kopf.spawn_tasks(registry=registry, standalone=True, clusterwide=True, stop_flag=stop)
            listen_for_signals(stop)  # kopf has just taken them for itself
            await _until_ended(tasks)
        except Exception as error:  # kopf is no part that may end the operator
            log.error("frame_ended", exc_info=error, retry_seconds=_RESTART_SECONDS)  # noqa: TRY400 - the handler's own way to say it
        await _either(stop, _RESTART_SECONDS)


def listen_for_signals(stop: asyncio.Event) -> None:
    """Have SIGTERM and SIGINT stop the operator."""
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)


def _registry(api: ApiServer) -> kopf.OperatorRegistry:
    registry = kopf.OperatorRegistry()

    @kopf.on.startup(registry=registry)
    async def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
        settings.posting.enabled = False  # events are the engine's to write
        settings.scanning.disabled = True  # no watch on every CRD and namespace
        settings.networking.request_timeout = 30
        settings.networking.error_backoffs = _Patience()

    @kopf.on.login(registry=registry)
    async def login(**_: Any) -> kopf.ConnectionInfo:
        # Asked again when a token has expired. kopf's own logins know no `exec` plugins of a kubeconfig.
        return await _connection(api)

    return registry


async def _connection(api: ApiServer) -> kopf.ConnectionInfo:
    """Give kopf the same server and credentials as the engine has."""
    found = api.configuration
    token = (await found.auth_settings()).get("BearerToken", {}).get("value")
    scheme, _, value = (token or "").rpartition(" ")
    return kopf.ConnectionInfo(
        server=found.host,
        ca_path=found.ssl_ca_cert,
        insecure=not found.verify_ssl,
        certificate_path=found.cert_file,
        private_key_path=found.key_file,
        scheme=scheme or None,
        token=value or None,
    )


async def _until_ended(tasks: Collection[asyncio.Task[None]]) -> None:
    """Wait for kopf to end, take it down, and raise what ended it.

    `kopf.operator` would do this too, but it takes every task of the event loop for its own and waits for them.
    """
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=_END_SECONDS)
    for task in done:
        task.result()


async def _either(stop: asyncio.Event, seconds: float) -> None:
    """Wait for `stop`, or for a while."""
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return
