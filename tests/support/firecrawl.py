"""The stand-in for Firecrawl as processes, with a real Redis and a real PostgreSQL of its own."""

import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass

from devcluster.demo.recipes import OWN_IMAGES
from tests.support.postgresql import PostgresServer, run_postgresql
from tests.support.redis import run_redis
from tests.support.server import Server, python_program, running

NAME = "FIRECRAWL"
PROGRAM = OWN_IMAGES / "firecrawl" / "program" / "main.py"
KEY = "of-the-queue-page"


class FirecrawlProgram(Server):
    """One of its programs, started as in its image: by the name of Firecrawl's own script.

    Parameters
    ----------
    folder
        Its working directory.
    script
        Name of the script.
    port_variable
        Variable by which it takes its port.
    health
        Path that answers 200 when it serves.
    variables
        What else it is told.
    """

    def __init__(self, folder: str, script: str, port_variable: str, health: str, variables: Mapping[str, str]) -> None:
        super().__init__(folder)
        self._script, self._health = script, health
        self._variables = {**variables, port_variable: str(self.port)}

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def argv(self) -> list[str]:
        return [str(python_program("firecrawl", NAME) / "python"), str(PROGRAM), self._script]

    def environment(self) -> Mapping[str, str]:
        return {**self._variables, "NO_PROXY": "127.0.0.1"}

    def answers(self) -> bool:
        with suppress(OSError), urllib.request.urlopen(f"{self.url}{self._health}", timeout=5) as answer:
            return bool(answer.status == 200)
        return False


@dataclass
class Firecrawl:
    """All programs of one stand-in."""

    api: FirecrawlProgram
    page_worker: FirecrawlProgram
    site_worker: FirecrawlProgram
    database: PostgresServer


@contextmanager
def run_firecrawl(searxng: str = "") -> Iterator[Firecrawl]:
    """Run them all, searching by the SearXNG of that URL."""
    with ExitStack() as stack:
        database, redis = stack.enter_context(run_postgresql()), stack.enter_context(run_redis())
        database_url = database.url.replace("//", f"//{database.username}:{database.password}@")
        common = {"NUQ_DATABASE_URL": database_url, "REDIS_URL": redis.url, "BULL_AUTH_KEY": KEY}
        if searxng:
            common["SEARXNG_ENDPOINT"] = searxng

        def run(script: str, port_variable: str, health: str, **more: str) -> FirecrawlProgram:
            program = running(
                lambda folder: FirecrawlProgram(folder, script, port_variable, health, {**common, **more})
            )
            return stack.enter_context(program)

        browser = run("dist/api.js", "PORT", "/health")
        page_worker = run(
            "dist/src/services/worker/nuq-worker.js",
            "NUQ_WORKER_PORT",
            "/health",
            PLAYWRIGHT_MICROSERVICE_URL=f"{browser.url}/scrape",
        )
        site_worker = run("dist/src/services/queue-worker.js", "WORKER_PORT", "/liveness")
        yield Firecrawl(run("dist/src/index.js", "PORT", "/v0/health/readiness"), page_worker, site_worker, database)
