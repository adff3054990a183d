"""The clients' documents, the main flow: read this first.

An upload becomes text and passages, vectors, and rows in Milvus (`ingestion`). It counts from the moment its record is
written as `ready`, and until then the document's former content does; so an upload that is interrupted anywhere, and
sent again, ends as if it had been sent once. A search takes only passages that a record names, and puts them in the
reranker's order where there is one.
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Self

import structlog

from assistant_runtime.errors import ApiError, ProviderError
from assistant_runtime.memory import MemoryShares
from assistant_runtime.providers.base import Payer
from assistant_runtime.providers.reranker import Reranker
from assistant_runtime.rag.collections import Collections, Hit, Scope
from assistant_runtime.rag.documents import Document, Findings, Passage, Upload, alive
from assistant_runtime.rag.embedder import Embedder
from assistant_runtime.rag.extraction import Extraction
from assistant_runtime.rag.ingestion import Ingestion, Intake
from assistant_runtime.rag.milvus import MilvusConnection, milvus_of
from assistant_runtime.security.accounts import Account
from assistant_runtime.settings import Settings

CANDIDATES = 4
"""Passages to look at for each that is asked for: some are outdated, and a reranker chooses among the rest."""

MAX_CANDIDATES = 100


class Library:
    """Documents of every tenant.

    Parameters
    ----------
    collections
        Where they are kept.
    embedder
        Makes vectors.
    ingestion
        Brings uploads into them.
    reranker
        Orders what a search found; None: it stays as it was found.
    max_documents
        Documents of one tenant.
    """

    def __init__(
        self,
        collections: Collections,
        embedder: Embedder,
        ingestion: Ingestion,
        reranker: Reranker | None,
        max_documents: int,
    ) -> None:
        self._collections = collections
        self._embedder = embedder
        self._ingestion = ingestion
        self._reranker = reranker
        self._max_documents = max_documents
        self._log = structlog.get_logger(__name__)

    async def add(
        self, tenant: str, upload: Upload, account: Account, *, background: bool
    ) -> tuple[str, Document, bool]:
        """Take a document: at once, or in the background.

        The same content under the same name changes nothing; other content replaces it.

        Returns
        -------
        tuple
            Its id, its record, and whether anything was done.

        Raises
        ------
        ApiError
            The document can't be read, or there are too many.
        ProviderError
            It can't be embedded.
        StoreUnavailableError
            Milvus does not answer.
        """
        await self._collections.open()
        scope = Scope(tenant)
        document = scope.document_id(upload.name)
        former = await self._former(scope, document)
        if former and former.digest == upload.digest and alive(former).status in {"ready", "processing"}:
            return document, alive(former), False
        begun = await self._begin(scope, upload, former)
        place = await self._collections.next_place(scope, document)
        intake = Intake(tenant, document, upload, begun, place, account.another() if background else account)
        if not background:
            return document, await self._ingestion.run(intake), True
        await self._ingestion.begin(intake)
        return document, begun, True

    async def documents(self, tenant: str, limit: int, after: str = "") -> tuple[dict[str, Document], bool]:
        """Give a page of a tenant's documents by their ids, the last upload first, and whether there are more.

        It begins behind the document `after`; at the first one where that is not there any more.
        """
        await self._collections.open()
        ids = await self._collections.uploaded(Scope(tenant), self._max_documents)
        first = ids.index(after) + 1 if after in ids else 0
        page = ids[first : first + limit]
        found = await self._collections.records(Scope(tenant, tuple(page)), len(page)) if page else {}
        documents = {document: alive(Document(**found[document])) for document in page if document in found}
        return documents, first + limit < len(ids)

    async def get(self, tenant: str, document: str) -> Document:
        """Give one document; raises ApiError 404."""
        await self._collections.open()
        found = await self._former(Scope(tenant), document)
        if found is None:
            raise not_found(document)
        return alive(found)

    async def delete(self, tenant: str, document: str) -> None:
        """Delete a document with its passages; raises ApiError 404 where there was none.

        The record goes first, so that an interruption leaves passages that no search finds, and that the next delete or
        upload removes.
        """
        await self._collections.open()
        scope = Scope(tenant, (document,))
        async with self._ingestion.lock(document):
            found = await self._former(Scope(tenant), document)
            await self._collections.drop_records(scope)
            await self._collections.drop_passages(scope)
        if found is None:
            raise not_found(document)

    async def search(
        self, tenant: str, query: str, limit: int, account: Payer, documents: Sequence[str] = ()
    ) -> Findings:
        """Find the passages that answer a query best, the best first.

        Raises
        ------
        ProviderError
            The query can't be embedded.
        StoreUnavailableError
            Milvus does not answer.
        """
        scope = Scope(tenant, tuple(documents))
        await self._collections.open()
        vector = await self._embedder.query(query, account)
        wanted = min(limit * CANDIDATES, MAX_CANDIDATES)
        passages = await self._that_count(tenant, await self._collections.search(scope, query, vector, wanted))
        retrieval = "hybrid" if self._collections.hybrid else "dense"
        if self._reranker is None or not passages:
            return Findings(tuple(passages[:limit]), retrieval, reranked=False)
        try:
            ranking = await self._reranker.rerank(query, [passage.text for passage in passages], account, limit)
        except ProviderError as error:
            self._log.warning("rerank_failed", code=error.code)
            return Findings(tuple(passages[:limit]), retrieval, reranked=False, remark=error.message)
        ordered = (replace(passages[each.index], score=each.score) for each in ranking.results)
        return Findings(tuple(ordered), retrieval, reranked=True)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """End uploads in the background; their clients send them again."""
        await self._ingestion.aclose()
        await self._collections.aclose()

    async def _former(self, scope: Scope, document: str) -> Document | None:
        found = await self._collections.records(Scope(scope.tenant, (document,)), self._max_documents)
        return Document(**found[document]) if document in found else None

    async def _begin(self, scope: Scope, upload: Upload, former: Document | None) -> Document:
        if former is None and await self._is_full(scope):
            raise ApiError(
                409,
                f"There are {self._max_documents} documents, the limit of RETRIEVAL_MAX_DOCUMENTS. Delete some.",
                code="too_many_documents",
            )
        now = int(time.time())
        return Document(
            name=upload.name,
            media_type=upload.media_type,
            source=upload.source,
            title=former.title if former else "",
            size=len(upload.content),
            created=former.created if former else now,
            updated=now,
            status="processing",
            error="",
            digest=upload.digest,
            generation=former.generation if former else "",
            passages=former.passages if former else 0,
        )

    async def _is_full(self, scope: Scope) -> bool:
        if await self._collections.count_records(scope) < self._max_documents:
            return False
        return len(await self._collections.uploaded(scope, self._max_documents)) >= self._max_documents

    async def _that_count(self, tenant: str, hits: Sequence[Hit]) -> list[Passage]:
        """Keep the passages that their documents' records name."""
        if not hits:
            return []
        documents = tuple(sorted({hit.document for hit in hits}))
        found = await self._collections.records(Scope(tenant, documents), len(documents))
        records = {document: Document(**record) for document, record in found.items()}
        return [
            Passage(hit.document, records[hit.document], hit.start, hit.end, hit.text, hit.score)
            for hit in hits
            if hit.document in records and records[hit.document].generation == hit.generation
        ]


def not_found(document: str) -> ApiError:
    """Give the error for a document that this client does not have."""
    return ApiError(404, f"There is no document {document[:64]!r}.", code="document_not_found")


def library_of(
    settings: Settings, embedder: Embedder | None, reranker: Reranker | None, memory: MemoryShares | None = None
) -> tuple[Library, MilvusConnection] | tuple[None, None]:
    """Give the library of the settings and its Milvus; nothing where there is no store or nothing that embeds."""
    milvus = milvus_of(settings)
    if embedder is None or milvus is None:
        return None, None
    collections = Collections(milvus, settings.milvus_collection, embedder)
    extraction = Extraction(settings.retrieval_chunk_characters, settings.retrieval_chunk_overlap, memory)
    library = Library(
        collections,
        embedder,
        Ingestion(collections, embedder, extraction),
        reranker if settings.jina_reranker_tool_enabled else None,
        settings.retrieval_max_documents,
    )
    return library, milvus
