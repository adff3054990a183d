"""The operator's own HTTP server: /healthz, /readyz and /metrics."""

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from assistant_operator.engine.engine import Engine
from assistant_operator.engine.leader import Elector
from assistant_operator.telemetry import Metrics


async def serve(engine: Engine, metrics: Metrics, port: int, elector: Elector | None = None) -> web.AppRunner:
    """Start serving on all addresses; the caller stops it by `cleanup()`."""

    async def healthz(_: web.Request) -> web.Response:
        silent = engine.silent_watches()
        return web.Response(status=503 if silent else 200, text=f"silent: {', '.join(silent)}" if silent else "ok")

    async def readyz(_: web.Request) -> web.Response:
        unready = engine.unready()
        if elector and elector.problem:
            unready.append(elector.problem)
        well = f"ok: {elector.role}" if elector else "ok"
        return web.Response(status=503 if unready else 200, text="\n".join(unready) or well)

    async def scrape(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", scrape)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, port=port).start()
    return runner
