"""The operator as a process: everything is started here, and everything stops together."""

import asyncio
import sys
from collections.abc import Coroutine
from typing import Any

import structlog
import uvloop
from kubernetes.aio.config import ConfigException

from assistant_operator import __version__
from assistant_operator.cluster.client import ApiServer
from assistant_operator.cluster.fence import Fence
from assistant_operator.engine import frame, leader, server
from assistant_operator.engine.engine import Engine
from assistant_operator.engine.leader import Elector, Terms
from assistant_operator.settings import Settings
from assistant_operator.telemetry import Metrics, configure_logging

log = structlog.get_logger()


def run(settings: Settings) -> None:
    """Run the operator until SIGTERM or SIGINT."""
    configure_logging(settings)
    uvloop.run(_main(settings))


async def _main(settings: Settings) -> None:
    log.info("starting", version=__version__, namespaces=settings.watch_namespaces or "all")
    stop = asyncio.Event()
    frame.listen_for_signals(stop)
    identity, gate = leader.new_identity(), Fence(margin_seconds=settings.lease_margin_seconds)
    async with await _connected(identity, gate) as api, await _connected(identity, Fence()) as lease_api:
        metrics = Metrics()
        engine = Engine(settings, api, metrics)
        elector = Elector(lease_api, Terms.of(settings, identity), gate, metrics) if settings.lease else None
        runner = await server.serve(engine, metrics, settings.http_port, elector)
        try:
            await _until_one_ends(stop.wait(), _lead(engine, elector, metrics), engine.watch(), frame.run(api, stop))
        finally:
            await runner.cleanup()
    log.info("stopped")


async def _lead(engine: Engine, elector: Elector | None, metrics: Metrics) -> None:
    """Work as the leader, or as the only operator, once the caches are filled: until then nobody is kept waiting."""
    await engine.synced()
    if elector:
        await elector.run(engine.work)
    else:
        metrics.leader.set(1)
        await engine.work()


async def _connected(identity: str, gate: Fence) -> ApiServer:
    try:
        return await ApiServer.connect(fence=gate, identity=identity)
    except ConfigException as error:
        sys.exit(f"assistant-operator: there is no cluster to connect to: name a kubeconfig by KUBECONFIG. {error}")


async def _until_one_ends(*programs: Coroutine[Any, Any, object]) -> None:
    """Run the programs until one of them ends, by a signal or by its error, and cancel the others."""
    tasks = [asyncio.create_task(program) for program in programs]  # noqa: TID251 - waited for here
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
    for task in done:
        task.result()
