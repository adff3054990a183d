"""Messages of /v1/documents, /v1/search and /v1/rerank, with the examples that /docs shows."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

DOCUMENT: dict[str, Any] = {
    "id": "doc_0b5cf5b8e2b4cf5d1f2b0c1f7a3e9d42",
    "object": "document",
    "name": "handbook/leave.md",
    "title": "Leave",
    "media_type": "text/markdown",
    "source": "https://handbook.example.com/leave",
    "bytes": 1834,
    "created_at": 1767225600,
    "updated_at": 1767225600,
    "status": "ready",
    "error": None,
    "passages": 3,
}
PASSAGE: dict[str, Any] = {
    "object": "passage",
    "document": {key: DOCUMENT[key] for key in ("id", "name", "title", "source")},
    "span": [412, 530],
    "text": "Parents may take twelve weeks of paid leave.",
    "score": 0.032,
}

Query = Annotated[str, Field(min_length=1, max_length=4000, pattern=r"\S")]


class DocumentRequest(BaseModel):
    """A document as text."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={
            "examples": [
                {
                    "name": "handbook/leave.md",
                    "text": "# Leave\n\nParents may take twelve weeks of paid leave.",
                    "media_type": "text/markdown",
                    "source": "https://handbook.example.com/leave",
                }
            ]
        },
    )

    name: str = Field(
        min_length=1, max_length=500, description="The document's name; another text under the same name replaces it."
    )
    text: str = Field(min_length=1)
    media_type: Literal["text/plain", "text/markdown", "text/html"] = "text/plain"
    source: str = Field(
        "", max_length=2000, description="The document's origin, for citations; the runtime does not fetch it."
    )


class DocumentAnswer(BaseModel):
    """A document's record."""

    model_config = ConfigDict(json_schema_extra={"examples": [DOCUMENT]})

    id: str
    object: Literal["document"] = "document"
    name: str
    title: str
    media_type: str
    source: str
    bytes: int
    created_at: int
    updated_at: int
    status: Literal["processing", "ready", "failed"] = Field(
        description="While new content is `processing`, or after it `failed`, searches find the previous content."
    )
    error: str | None
    passages: int


class DocumentList(BaseModel):
    """Documents, newest first."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"object": "list", "data": [DOCUMENT], "has_more": False}]}
    )

    object: Literal["list"] = "list"
    data: list[DocumentAnswer]
    has_more: bool


class DocumentDeleted(BaseModel):
    """The document was deleted."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"id": DOCUMENT["id"], "object": "document.deleted", "deleted": True}]}
    )

    id: str
    object: Literal["document.deleted"] = "document.deleted"
    deleted: Literal[True] = True


class SearchRequest(BaseModel):
    """A search in the client's own documents."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={"examples": [{"query": "How long is parental leave?", "limit": 3}]},
    )

    query: Query
    limit: int | None = Field(None, ge=1, le=50, description="Most passages to return; by default RETRIEVAL_LIMIT.")
    documents: list[str] = Field([], max_length=100, description="Ids of the documents to search; empty: all.")


class PassageDocument(BaseModel):
    """The document that a passage comes from."""

    id: str
    name: str
    title: str
    source: str


class PassageAnswer(BaseModel):
    """A passage."""

    object: Literal["passage"] = "passage"
    document: PassageDocument
    span: tuple[int, int] = Field(description="Start and end (exclusive) in the document's text, in characters.")
    text: str
    score: float = Field(description="Score of the reranker, the fusion or the cosine; comparable within one answer.")


class SearchAnswer(BaseModel):
    """Passages, best first, and how they were found."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"object": "list", "data": [PASSAGE], "retrieval": "hybrid", "reranked": False, "remark": None}
            ]
        }
    )

    object: Literal["list"] = "list"
    data: list[PassageAnswer]
    retrieval: Literal["hybrid", "dense"] = Field(
        description="`hybrid`: vectors and keywords (BM25), fused; `dense`: vectors alone, as Milvus before 2.5 allows."
    )
    reranked: bool
    remark: str | None = Field(
        description="Why the answer is not what the settings ask for, such as a reranker that is down."
    )


class RerankRequest(BaseModel):
    """Documents to sort by relevance, in the form of Jina's API."""

    model_config = ConfigDict(
        extra="ignore",
        strict=True,
        json_schema_extra={
            "examples": [
                {"query": "capital of France", "documents": ["Rome is in Italy.", "Paris is in France."], "top_n": 1}
            ]
        },
    )

    model: str | None = Field(None, max_length=256, description="A model of the reranker; empty: JINA_RERANKER_MODEL.")
    query: Query
    documents: list[str | dict[str, Any]] = Field(
        min_length=1, max_length=1000, description='Texts, or objects with a `text`, as in {"text": "..."}.'
    )
    top_n: int | None = Field(None, ge=1)
    return_documents: bool = True


class RerankAnswer(BaseModel):
    """Documents, best first."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "model": "jina-reranker-v1-base-en",
                    "object": "list",
                    "method": "reranker",
                    "usage": {"total_tokens": 21, "prompt_tokens": 21},
                    "results": [
                        {"index": 1, "relevance_score": 0.93, "document": {"text": "Paris is in France."}},
                    ],
                }
            ]
        }
    )

    model: str
    object: Literal["list"] = "list"
    method: Literal["reranker", "bi-encoder"] = Field(
        description="`bi-encoder`: no reranker, but the cosine of the embedding model's vectors; it ranks less well."
    )
    usage: dict[str, int]
    results: list[dict[str, Any]]
