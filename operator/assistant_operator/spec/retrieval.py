"""Retrieval in the spec: the documents of clients, and how their passages are found."""

from typing import Annotated, Literal

from pydantic import Field

from assistant_operator.spec.base import Model
from assistant_operator.spec.rules import Rule

CollectionName = Annotated[str, Field(max_length=100, pattern="^[A-Za-z][A-Za-z0-9_]*$")]


class Retrieval(Model):
    """Documents that clients send, and how their passages are found. They are kept in Milvus."""

    rules = (
        Rule(
            cel="self.chunkOverlap * 2 <= self.chunkCharacters",
            message="spec.retrieval.chunkOverlap: at most half of chunkCharacters",
            holds=lambda retrieval: retrieval.chunk_overlap * 2 <= retrieval.chunk_characters,
        ),
    )

    embedding_provider: Literal["provider", "local"] | None = None
    """What embeds: providers.embeddingModel, or a small model in the runtime's pods. Default: the former if given."""
    collection: CollectionName = "assistant"
    """Prefix of the collections' names. A new one starts empty, as another embedding model needs."""
    chunk_characters: Annotated[int, Field(ge=100, le=8000)] = 1000
    """Characters of the longest passage; 1000 are about 250 tokens of English."""
    chunk_overlap: Annotated[int, Field(ge=0, le=2000)] = 100
    """Characters that a passage may share with the one before it."""
    limit: Annotated[int, Field(ge=1, le=50)] = 5
    """Passages of a search that asks for no number."""
    max_documents: Annotated[int, Field(ge=1, le=8000)] = 1000
    """Documents that each client may keep."""
    tool_enabled: bool = True
    """Whether models are offered a search of the client's documents."""
