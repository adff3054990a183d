"""The stand-in for a reranker, as the process that its image runs: Jina's API over a small embedding model."""

import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

from devcluster.demo.recipes import OWN_IMAGES
from tests.support.server import Server, python_program, running


class RerankerServer(Server):
    """The stand-in, which asks for a key."""

    key = "jina-of-the-tests"

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def argv(self) -> list[str]:
        return [str(python_program("reranker", "RERANKER") / "python"), str(OWN_IMAGES / "reranker" / "serve.py")]

    def environment(self) -> Mapping[str, str]:
        return {"HOST": "127.0.0.1", "PORT": str(self.port), "API_KEY": self.key}

    def answers(self) -> bool:
        with suppress(OSError), urllib.request.urlopen(f"{self.url}/health", timeout=5) as answer:
            return bool(answer.status == 200)
        return False


@contextmanager
def run_reranker() -> Iterator[RerankerServer]:
    """Run the stand-in in a temporary folder."""
    with running(RerankerServer) as server:
        yield server
