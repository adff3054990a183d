"""What the operator tells SearXNG's server lets it answer its probes while searches wait for their engines."""

import json
import threading
import urllib.request
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler

import pytest

from tests.contract.test_environment import pod_of
from tests.operator.assistants import assistant
from tests.support.searxng import SearxngServer
from tests.support.server import running, serving

SEARCHES = 12
SECONDS = 60.0
"""Far more than a loaded machine needs."""


class _Index(BaseHTTPRequestHandler):
    """An engine that answers nobody before it is told to."""

    asked = threading.Semaphore(0)
    may_answer = threading.Event()

    def do_GET(self) -> None:
        self.asked.release()
        self.may_answer.wait(SECONDS)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


class _AsRendered(SearxngServer):
    """SearXNG with the variables of its pod, and patience with its engine."""

    def argv(self) -> list[str]:
        argv, file = super().argv(), self.folder / "settings.yml"
        settings = json.loads(file.read_text())
        settings["engines"][0]["timeout"] = SECONDS
        file.write_text(json.dumps(settings))
        return argv

    def environment(self) -> Mapping[str, str]:
        container = pod_of(assistant(), "searxng")["containers"][0]
        rendered = {variable["name"]: variable["value"] for variable in container["env"] if "value" in variable}
        return {**rendered, **super().environment()}


@pytest.fixture
def server() -> Iterator[SearxngServer]:
    """Run it over the index above."""
    with serving(_Index) as url, running(lambda folder: _AsRendered(folder, url)) as found:
        yield found


def test_probes_are_answered_while_a_burst_of_searches_waits(server: SearxngServer) -> None:
    def answers(path: str) -> bool:
        with urllib.request.urlopen(f"{server.url}{path}", timeout=2 * SECONDS) as answer:
            return bool(answer.status == 200)

    with ThreadPoolExecutor(SEARCHES) as people:
        searches = [people.submit(answers, f"/search?format=json&q={number}") for number in range(SEARCHES)]
        try:
            assert all(_Index.asked.acquire(timeout=SECONDS / 2) for _ in range(SEARCHES)), "some wait for others' end"
            assert answers("/healthz")
        finally:
            _Index.may_answer.set()
        assert all(search.result() for search in searches)
