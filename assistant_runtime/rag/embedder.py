"""Vectors of passages and queries: by a provider, or by the local model (`local_embedder`)."""

import asyncio
import random
from collections.abc import Sequence
from typing import Protocol

from assistant_runtime import processors
from assistant_runtime.errors import ProviderError
from assistant_runtime.providers.base import Payer
from assistant_runtime.providers.embeddings import Embeddings
from assistant_runtime.rag.local_embedder import LocalEmbedder
from assistant_runtime.settings import Settings

ATTEMPTS = 4
"""A provider that limits or restarts is back within these attempts, or whoever waits should be told."""

FIRST_WAIT_SECONDS = 0.5
"""Doubled for each attempt, with jitter."""


class Embedder(Protocol):
    """Turns texts into vectors of one model."""

    model: str
    patience: int
    """Characters that it embeds while somebody waits; 0: any number."""

    async def passages(self, texts: Sequence[str], account: Payer) -> list[list[float]]:
        """Give the vector of each passage; raises ProviderError."""

    async def query(self, text: str, account: Payer) -> list[float]:
        """Give the vector of a query; raises ProviderError."""

    async def aclose(self) -> None:
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

    async def passages(self, texts: Sequence[str], account: Payer) -> list[list[float]]:
        """Give the vector of each passage, asking again where a provider may have recovered."""
        for attempt in range(ATTEMPTS):
            try:
                return await self._embeddings.embed(texts, account)
            except ProviderError as error:
                if not error.fallback or attempt == ATTEMPTS - 1:
                    raise
            await asyncio.sleep(FIRST_WAIT_SECONDS * 2**attempt * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
        raise AssertionError("unreachable")

    async def query(self, text: str, account: Payer) -> list[float]:
        """Give the vector of a query, at once or not at all: somebody waits."""
        return (await self._embeddings.embed([text], account))[0]

    async def aclose(self) -> None:
        """Nothing is held."""


async def similarity(embedder: Embedder, query: str, texts: Sequence[str], account: Payer) -> list[float]:
    """Give the cosine of the query's vector with each text's, of which as much is read as there is patience for."""
    share = embedder.patience // len(texts) if embedder.patience else None
    wanted = _unit(await embedder.query(query, account))
    vectors = await embedder.passages([text[:share] for text in texts], account)
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
