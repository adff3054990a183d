"""The only module that imports kopf: it watches AIAssistants and hands every event to the engine.

kopf's low-level event handler keeps nothing on the user's object: no annotation, no finalizer. So an AIAssistant can be
deleted while the operator is down, and what happens is decided in one place, the engine.
"""

import asyncio
from typing import Any

import kopf

from assistant_operator import labels
from assistant_operator.engine import Engine
from assistant_operator.settings import Settings

_WATCH_SECONDS = 600
"""kopf's own watch has no time limit by default; a silent connection would then stay for ever (nolar/kopf#585)."""


async def watch(settings: Settings, engine: Engine, ready: asyncio.Event) -> None:
    """Watch AIAssistants until cancelled, handing every event to the engine; `ready` is set when the watch runs.

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

    await kopf.operator(
        registry=registry,
        settings=_kopf_settings(),
        standalone=True,
        clusterwide=not settings.watch_namespaces,
        namespaces=settings.watch_namespaces,
        ready_flag=ready,
    )


def _kopf_settings() -> kopf.OperatorSettings:
    configured = kopf.OperatorSettings()
    configured.posting.enabled = False  # events are the engine's to write
    configured.scanning.disabled = True  # one known resource: no watch on every CRD and namespace
    configured.watching.server_timeout = _WATCH_SECONDS
    configured.watching.client_timeout = _WATCH_SECONDS + 60
    configured.watching.connect_timeout = 10
    configured.networking.request_timeout = 30
    return configured
