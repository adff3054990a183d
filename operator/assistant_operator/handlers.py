"""The only module that imports kopf: it watches AIAssistants and hands every event to the engine.

kopf's low-level event handler keeps nothing on the user's object: no annotation, no finalizer. So an AIAssistant can be
deleted while the operator is down, and what happens is decided in one place, the engine.
"""

import asyncio
import itertools
from collections.abc import Collection, Iterator
from typing import Any

import kopf
import structlog

from assistant_operator import labels
from assistant_operator.cluster.client import UNREACHABLE, WATCH_SILENCE_SECONDS, ApiError, ApiServer
from assistant_operator.cluster.kinds import ASSISTANT
from assistant_operator.engine import Engine
from assistant_operator.settings import Settings

log = structlog.get_logger()

_WATCH_SECONDS = 600
"""kopf's own watch has no time limit by default; a silent connection would then stay for ever (nolar/kopf#585)."""
_DEFINITION_SECONDS = 5


class _Patience:
    """Seconds between the tries of one request, without an end.

    kopf gives up after a minute by default, and ends for all namespaces with one whose rights are gone.
    """

    def __iter__(self) -> Iterator[float]:
        return itertools.chain((1, 2, 5, 10), itertools.repeat(30))


async def watch(settings: Settings, engine: Engine, api: ApiServer) -> None:
    """Watch AIAssistants and hand every event to the engine, until cancelled or told to stop by SIGTERM or SIGINT.

    Raises
    ------
    kopf.LoginError
        The API server refused the credentials.
    """
    registry = kopf.OperatorRegistry()

    @kopf.on.event(labels.GROUP, labels.VERSION, labels.PLURAL, registry=registry)
    async def observe(type: str | None, body: kopf.Body, **_: Any) -> None:  # noqa: A002 - kopf's name
        engine.observe(type, dict(body))

    @kopf.on.login(registry=registry)
    async def login(**_: Any) -> kopf.ConnectionInfo:
        # Asked again when a token has expired. kopf's own logins know no `exec` plugins of a kubeconfig.
        return await _connection(api)

    await _until_served(api)

    tasks = await kopf.spawn_tasks(
        registry=registry,
        settings=_kopf_settings(),
        standalone=True,
        clusterwide=not settings.watch_namespaces,
        namespaces=settings.watch_namespaces,
    )
    engine.listening.set()
    await _until_stopped(tasks)


async def _until_served(api: ApiServer) -> None:
    """Wait for the CustomResourceDefinition: kopf looks for it once, and would stay deaf without it."""
    crd, pause = f"{labels.PLURAL}.{labels.GROUP}", _DEFINITION_SECONDS
    while True:
        try:
            if await api.serves(ASSISTANT):
                return
            log.warning("definition_missing", crd=crd, retry_seconds=pause)
        except (ApiError, *UNREACHABLE) as error:
            log.warning("definition_unknown", crd=crd, error=str(error) or type(error).__name__, retry_seconds=pause)
        await asyncio.sleep(pause)


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


async def _until_stopped(tasks: Collection[asyncio.Task[None]]) -> None:
    """Wait for kopf to end by a signal or an error, and take it down.

    `kopf.operator` would do this too, but it takes every task of the event loop for its own and waits for them.
    """
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        ended = [task for task in tasks if task.done()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in ended:
        task.result()


def _kopf_settings() -> kopf.OperatorSettings:
    configured = kopf.OperatorSettings()
    configured.posting.enabled = False  # events are the engine's to write
    configured.scanning.disabled = True  # one known resource: no watch on every CRD and namespace
    configured.watching.server_timeout = _WATCH_SECONDS
    configured.watching.client_timeout = _WATCH_SECONDS + 60
    configured.watching.connect_timeout = 10
    configured.watching.inactivity_timeout = WATCH_SILENCE_SECONDS
    configured.networking.request_timeout = 30
    configured.networking.error_backoffs = _Patience()
    return configured
