"""The real SearXNG, with a web of its own: a small index over HTTP that it searches as one of its engines."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlparse

from tests.support.server import Server, python_program, running, serving

Page = dict[str, str]

PAGES: tuple[Page, ...] = (
    {"url": "https://example.org/sky", "title": "Why the sky is blue", "content": "Air scatters blue light most."},
    {"url": "https://example.org/paris", "title": "Paris", "content": "Paris is the capital of France."},
    {"url": "https://example.org/tides", "title": "Tides", "content": "The moon and the sun raise the tides."},
)


class SearxngServer(Server):
    """SearXNG behind the server that its image has.

    Parameters
    ----------
    folder
        Its working directory.
    index
        URL of what it searches.
    """

    def __init__(self, folder: str, index: str) -> None:
        super().__init__(folder)
        self._index = index

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def argv(self) -> list[str]:
        python = python_program("searxng", "SEARXNG") / "python"
        # JSON is YAML.
        (self.folder / "settings.yml").write_text(json.dumps(_settings(self._index)))
        return [str(python.with_name("granian")), "searx.webapp:app"]

    def environment(self) -> Mapping[str, str]:
        return {
            "SEARXNG_SETTINGS_PATH": str(self.folder / "settings.yml"),
            "GRANIAN_INTERFACE": "wsgi",
            "GRANIAN_HOST": "127.0.0.1",
            "GRANIAN_PORT": str(self.port),
        }

    def answers(self) -> bool:
        with suppress(OSError), urllib.request.urlopen(f"{self.url}/healthz", timeout=5) as answer:
            return bool(answer.status == 200)
        return False


def engine(index: str) -> dict[str, Any]:
    """Return the settings of the engine that searches an index at that URL."""
    return {
        "name": "index",
        "engine": "json_engine",
        "shortcut": "idx",
        "search_url": f"{index}/search?q={{query}}",
        "results_query": "results",
        "url_query": "url",
        "title_query": "title",
        "content_query": "content",
        "categories": ["general"],
        "enable_http": True,
        "paging": False,
    }


def _settings(index: str) -> dict[str, Any]:
    return {
        # Nothing here asks the internet.
        "use_default_settings": {"engines": {"keep_only": []}},
        "search": {"formats": ["html", "json"]},
        "server": {"secret_key": "of the tests", "limiter": False},
        "engines": [engine(index)],
    }


class _Index(BaseHTTPRequestHandler):
    """Finds the pages that have a word of the query."""

    def do_GET(self) -> None:
        query = parse_qs(urlparse(self.path).query).get("q", [""])[0]
        words = set(query.lower().split())
        found = [page for page in PAGES if words & set(f"{page['title']} {page['content']}".lower().split())]
        body = json.dumps({"results": found}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def run_searxng() -> Iterator[SearxngServer]:
    """Run SearXNG in a temporary folder, over the index of `PAGES`."""
    with serving(_Index) as url, running(lambda folder: SearxngServer(folder, url)) as server:
        yield server
