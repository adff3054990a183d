"""A search over few passages and over many: the vector store's part of `growth`.

Vectors are random, and each tenant has 1,000 passages: what is measured is Milvus, asked as the runtime asks it.
"""

import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from assistant_runtime.rag.collections import Collections, Row, Scope
from assistant_runtime.rag.milvus import MilvusConnection
from assistant_runtime.security.accounts import OwnExpense
from assistant_runtime.settings import Settings
from tests.bench.report import say
from tests.support.milvus import MilvusServer

DIMENSIONS = 384
PASSAGES_OF_A_TENANT = 1000
BATCH = 1000
TEXT = "Parents may take twelve weeks of leave, which begin on the day of birth. " * 5


class RandomVectors:
    """An embedder without a model."""

    model = "random"
    patience = 0

    def __init__(self) -> None:
        self._random = random.Random(7)

    def vector(self) -> list[float]:
        """Give a vector."""
        return [self._random.gauss(0, 1) for _ in range(DIMENSIONS)]

    async def passages(self, texts: Sequence[str], _: Any) -> list[list[float]]:
        """Give a vector for each text."""
        return [self.vector() for _ in texts]

    async def query(self, _: str, __: Any) -> list[float]:
        """Give a vector."""
        return self.vector()

    async def aclose(self) -> None:
        """Nothing is held."""


async def filled(server: MilvusServer, prefix: str, passages: int) -> Collections:
    """Fill a store of passages, and give it; every vector is in an index."""
    settings = Settings.load(milvus_url=server.url, milvus_username=server.username, milvus_password=server.password)
    connection, embedder = MilvusConnection(settings), RandomVectors()
    await connection.open()
    collections = Collections(connection, prefix, embedder)
    await collections.open()
    say(f"Milvus: {passages} passages")
    for first in range(0, passages, BATCH):
        scope = Scope(f"tenant{first // PASSAGES_OF_A_TENANT}")
        rows = [
            Row(number, 0, len(TEXT), TEXT, embedder.vector()) for number in range(first, min(first + BATCH, passages))
        ]
        await collections.add(scope, scope.document_id("bench"), "g1", rows)
    return collections


def operations(collections: Collections) -> dict[str, Callable[[], Awaitable[Any]]]:
    """Give what is asked of it."""
    embedder, scope, account = RandomVectors(), Scope("tenant0"), OwnExpense()

    async def search() -> None:
        found = await collections.search(scope, "leave", await embedder.query("leave", account), 20)
        assert len(found) == 20

    return {
        "a search of passages": search,
        "a page of documents": lambda: collections.uploaded(scope, 1000),
        "an upload's count": lambda: collections.count_records(scope),
    }
