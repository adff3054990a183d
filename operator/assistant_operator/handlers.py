"""The only module that imports kopf: it watches AIAssistants and hands every event to the engine.

kopf's low-level event handler keeps nothing on the user's object: no annotation, no finalizer. So an AIAssistant can be
deleted while the operator is down, and what happens is decided in one place, the engine.
"""

import asyncio
from collections.abc import Collection
from typing import Any

import kopf
import structlog

from assistant_operator import labels
from assistant_operator.cluster.client import WATCH_SILENCE_SECONDS, ApiServer
from assistant_operator.cluster.kinds import ASSISTANT
from assistant_operator.engine import Engine
from assistant_operator.settings import Settings

log = structlog.get_logger()

_WATCH_SECONDS = 600
"""kopf's own watch has no time limit by default; a silent connection would then stay for ever (nolar/kopf#585)."""
_DEFINITION_SECONDS = 5


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

    await _until_served(api, settings)

    tasks = await kopf.spawn_tasks(
        registry=registry,
        settings=_kopf_settings(),
        standalone=True,
        clusterwide=not settings.watch_namespaces,
        namespaces=settings.watch_namespaces,
    )
    engine.listening.set()
    await _until_stopped(tasks)


async def _until_served(api: ApiServer, settings: Settings) -> None:
    """Wait for the CustomResourceDefinition: kopf looks for it once, and would stay deaf without it."""
    namespace = settings.watch_namespaces[0] if settings.watch_namespaces else None
    while not await api.serves(ASSISTANT, namespace):
        log.warning("definition_missing", crd=f"{labels.PLURAL}.{labels.GROUP}", retry_seconds=_DEFINITION_SECONDS)
        await asyncio.sleep(_DEFINITION_SECONDS)


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
    return configured
