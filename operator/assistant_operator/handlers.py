"""The only module that imports kopf: it watches AIAssistants and hands every event to the engine.

kopf's low-level event handler keeps nothing on the user's object: no annotation, no finalizer. So an AIAssistant can be
deleted while the operator is down, and what happens is decided in one place, the engine.
"""

import asyncio
from collections.abc import Collection
from typing import Any

import kopf

from assistant_operator import labels
from assistant_operator.engine import Engine
from assistant_operator.settings import Settings

_WATCH_SECONDS = 600
"""kopf's own watch has no time limit by default; a silent connection would then stay for ever (nolar/kopf#585)."""


async def watch(settings: Settings, engine: Engine) -> None:
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
    async def login(**context: Any) -> kopf.ConnectionInfo | None:
        # kopf's default would load the whole synchronous client; it asks again when a token has expired.
        return kopf.login_with_service_account(**context) or kopf.login_with_kubeconfig(**context)

    tasks = await kopf.spawn_tasks(
        registry=registry,
        settings=_kopf_settings(),
        standalone=True,
        clusterwide=not settings.watch_namespaces,
        namespaces=settings.watch_namespaces,
    )
    await _until_stopped(tasks)


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
    configured.networking.request_timeout = 30
    return configured
