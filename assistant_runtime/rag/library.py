"""The clients' documents, the main flow: read this first.

An upload becomes text and passages (`extraction`), vectors (`embedder`), and rows in Milvus (`collections`). It counts
from the moment its record is written as `ready`, and until then the document's former content does; so an upload that
is interrupted anywhere, and sent again, ends as if it had been sent once. A search takes only passages that a record
names, and puts them in the reranker's order where there is one.
"""

import asyncio
import hashlib
import secrets
import time
import weakref
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Self, TypeVar

import structlog

from assistant_runtime.errors import ApiError, ProviderError, StoreUnavailableError
from assistant_runtime.providers.embeddings import Embeddings
from assistant_runtime.providers.reranker import Reranker
from assistant_runtime.rag.collections import INSERT_ROWS, Collections, Hit, Row, Scope
from assistant_runtime.rag.embedder import Embedder, embedder_of
from assistant_runtime.rag.extraction import Extracted, Extraction
from assistant_runtime.rag.milvus import MilvusConnection, milvus_of
from assistant_runtime.settings import Settings

MAX_PENDING = 32
"""Uploads in the background: each holds its content, at most MAX_REQUEST_BYTES."""

AT_ONCE = 2
"""Uploads that are worked on together; more only share the same embedding model."""

PATIENCE_SECONDS = 300.0
"""How long an upload in the background waits for a Milvus that is away."""

RETRY_SECONDS = 1.0

LEASE_SECONDS = 180.0
"""An upload in the background writes its record at least this often; one that does not has died with its process."""

CANDIDATES = 4
"""Passages to look at for each that is asked for: some are outdated, and a reranker chooses among the rest."""

MAX_CANDIDATES = 100

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Upload:
    """A document as a client sends it."""

    name: str
    media_type: str
    content: bytes
    source: str = ""

    @property
    def digest(self) -> str:
        """A hash of all that makes its passages."""
        return hashlib.sha256(f"{self.media_type}\n{self.source}\n".encode(errors="replace") + self.content).hexdigest()


@dataclass(frozen=True, slots=True)
class Document:
    """A document's record: what counts."""

    name: str
    media_type: str
    source: str
    title: str
    size: int
    """Bytes of the upload."""
    created: int
    updated: int
    """Seconds since 1970, as `created` is."""
    status: str
    """`processing`, `ready` or `failed`."""
    error: str
    digest: str
    """Of the upload that was last begun."""
    generation: str
    """Passages that count; empty: none yet."""
    passages: int
    """How many count."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A passage that a search found."""

    document: str
    record: Document
    start: int
    end: int
    text: str
    score: float


@dataclass(frozen=True, slots=True)
class Findings:
    """What a search found, and how."""

    passages: tuple[Passage, ...]
    retrieval: str
    """`hybrid`: vectors and keywords; `dense`: vectors alone, because Milvus is too old for more."""
    reranked: bool
    remark: str = ""
    """Why it is less than was asked for."""


class Library:
    """Documents of every tenant.

    Parameters
    ----------
    collections
        Where they are kept.
    embedder
        Makes vectors.
    extraction
        Reads files.
    reranker
        Orders what a search found; None: it stays as it was found.
    max_documents
        Documents of one tenant.
    """

    def __init__(
        self,
        collections: Collections,
        embedder: Embedder,
        extraction: Extraction,
        reranker: Reranker | None,
        max_documents: int,
    ) -> None:
        self._collections = collections
        self._embedder = embedder
        self._extraction = extraction
        self._reranker = reranker
        self._max_documents = max_documents
        self._working = asyncio.Semaphore(AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()
        self._locks: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()
        self._log = structlog.get_logger(__name__)

    async def add(self, tenant: str, upload: Upload, *, background: bool) -> tuple[str, Document, bool]:
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
        await self._open()
        scope = Scope(tenant)
        document = scope.document_id(upload.name)
        former = await self._former(scope, document)
        if former and former.digest == upload.digest and _alive(former).status in {"ready", "processing"}:
            return document, _alive(former), False
        begun = await self._begin(scope, upload, former)
        if not background:
            # Nothing is written before the end: a client that gets an error sends it again, and it starts anew.
            async with self._lock(document):
                return document, await self._ingest(scope, document, upload, begun, 0.0), True
        if len(self._tasks) >= MAX_PENDING:
            raise ApiError(
                503,
                f"{MAX_PENDING} documents are being read already. Send this one again in a while.",
                error_type="server_error",
                code="documents_busy",
                headers={"retry-after": "10"},
            )
        await self._collections.put_record(scope, document, asdict(begun))
        task = asyncio.create_task(self._in_background(scope, document, upload, begun))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return document, begun, True

    async def documents(self, tenant: str) -> dict[str, Document]:
        """Give every document of a tenant by its id, the newest first."""
        await self._open()
        found = await self._collections.records(Scope(tenant), self._max_documents)
        documents = {document: _alive(Document(**record)) for document, record in found.items()}
        return dict(sorted(documents.items(), key=lambda item: (-item[1].created, item[0])))

    async def get(self, tenant: str, document: str) -> Document:
        """Give one document; raises ApiError 404."""
        await self._open()
        found = await self._former(Scope(tenant), document)
        if found is None:
            raise not_found(document)
        return _alive(found)

    async def delete(self, tenant: str, document: str) -> None:
        """Delete a document with its passages; raises ApiError 404 where there was none.

        The record goes first, so that an interruption leaves passages that no search finds, and that the next delete or
        upload removes.
        """
        await self._open()
        scope = Scope(tenant, (document,))
        async with self._lock(document):
            found = await self._former(Scope(tenant), document)
            await self._collections.drop_records(scope)
            await self._collections.drop_passages(scope)
        if found is None:
            raise not_found(document)

    async def search(self, tenant: str, query: str, limit: int, documents: Sequence[str] = ()) -> Findings:
        """Find the passages that answer a query best, the best first.

        Raises
        ------
        ProviderError
            The query can't be embedded.
        StoreUnavailableError
            Milvus does not answer.
        """
        scope = Scope(tenant, tuple(documents))
        await self._open()
        vector = await self._embedder.query(query)
        wanted = min(limit * CANDIDATES, MAX_CANDIDATES)
        passages = await self._that_count(tenant, await self._collections.search(scope, query, vector, wanted))
        retrieval = "hybrid" if self._collections.hybrid else "dense"
        if self._reranker is None or not passages:
            return Findings(tuple(passages[:limit]), retrieval, reranked=False)
        try:
            ranking = await self._reranker.rerank(query, [passage.text for passage in passages], limit)
        except ProviderError as error:
            self._log.warning("rerank_failed", code=error.code)
            return Findings(tuple(passages[:limit]), retrieval, reranked=False, remark=error.message)
        ordered = (replace(passages[each.index], score=each.score) for each in ranking.results)
        return Findings(tuple(ordered), retrieval, reranked=True)

    async def similarity(self, query: str, texts: Sequence[str]) -> list[float]:
        """Give the cosine of the query's vector with each text's."""
        wanted = _unit(await self._embedder.query(query))
        vectors = await self._embedder.passages(texts)
        return [sum(a * b for a, b in zip(wanted, _unit(vector), strict=True)) for vector in vectors]

    @property
    def embedding_model(self) -> str:
        """The model that embeds."""
        return self._embedder.model

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """End uploads in the background; their clients send them again."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._embedder.close()
        await self._collections.aclose()

    async def _open(self) -> None:
        async def measure() -> int:
            return len(await self._embedder.query("How long is a vector?"))

        await self._collections.open(measure)

    def _lock(self, document: str) -> asyncio.Lock:
        return self._locks.setdefault(document, asyncio.Lock())

    async def _former(self, scope: Scope, document: str) -> Document | None:
        found = await self._collections.records(Scope(scope.tenant, (document,)), self._max_documents)
        return Document(**found[document]) if document in found else None

    async def _begin(self, scope: Scope, upload: Upload, former: Document | None) -> Document:
        if former is None and len(await self._collections.records(scope, self._max_documents)) >= self._max_documents:
            raise ApiError(
                409,
                f"There are {self._max_documents} documents, no more are kept (RETRIEVAL_MAX_DOCUMENTS). Delete some.",
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

    async def _in_background(self, scope: Scope, document: str, upload: Upload, begun: Document) -> None:
        """Bring an upload to its end; a failure is recorded, as far as Milvus allows."""
        try:
            async with self._working, self._lock(document):
                await self._ingest(scope, document, upload, begun, PATIENCE_SECONDS)
        except StoreUnavailableError as error:
            self._log.warning("document_failed", document=document, reason=str(error))
        except (ApiError, ProviderError) as error:
            self._log.warning("document_failed", document=document, reason=str(error))
            failed = replace(begun, status="failed", error=str(error), updated=int(time.time()))
            with suppress(StoreUnavailableError):
                await self._put(scope, document, failed, PATIENCE_SECONDS)
        except Exception:  # noqa: BLE001 - a bug with one document must not be silent
            self._log.exception("document_failed", document=document)

    async def _ingest(self, scope: Scope, document: str, upload: Upload, begun: Document, patience: float) -> Document:
        extracted = await self._extraction.read(upload.content, upload.media_type)
        if not extracted.spans:
            raise ApiError(422, "The document has no text.", code="unreadable_document")
        generation = secrets.token_hex(8)
        for start in range(0, len(extracted.spans), INSERT_ROWS):
            await self._add_batch(scope, document, generation, await self._rows(extracted, start), patience)
            if patience:
                await self._put(scope, document, replace(begun, updated=int(time.time())), patience)
        own = Scope(scope.tenant, (document,))
        if await self._patiently(lambda: self._collections.count(own, generation), patience) != len(extracted.spans):
            raise ApiError(
                409, "The document was deleted or replaced meanwhile. Send it again.", code="document_changed"
            )
        ready = replace(
            begun,
            title=extracted.title,
            status="ready",
            updated=int(time.time()),
            generation=generation,
            passages=len(extracted.spans),
        )
        await self._put(scope, document, ready, patience)
        await self._patiently(lambda: self._collections.drop_passages(own, but=[generation]), patience)
        return ready

    async def _add_batch(
        self, scope: Scope, document: str, generation: str, rows: Sequence[Row], patience: float
    ) -> None:
        tried = False

        async def add() -> None:
            nonlocal tried
            if tried:
                # An insert that was not acknowledged may have arrived, and Milvus keeps a row twice.
                await self._collections.drop_rows(scope, document, generation, rows)
            tried = True
            await self._collections.add(scope, document, generation, rows)

        await self._patiently(add, patience)

    async def _put(self, scope: Scope, document: str, record: Document, patience: float) -> None:
        await self._patiently(lambda: self._collections.put_record(scope, document, asdict(record)), patience)

    async def _patiently(self, work: Callable[[], Awaitable[T]], patience: float) -> T:
        """Do something in Milvus, waiting for one that is away; one that comes back has to be opened again."""
        deadline = time.monotonic() + patience
        while True:
            try:
                await self._open()
                return await work()
            except StoreUnavailableError:
                if time.monotonic() >= deadline:
                    raise
            await asyncio.sleep(RETRY_SECONDS)

    async def _rows(self, extracted: Extracted, first: int) -> list[Row]:
        """Embed the next batch of passages."""
        spans = extracted.spans[first : first + INSERT_ROWS]
        texts = [extracted.text[start:end] for start, end in spans]
        # The title tells what a passage from the middle of a document is about.
        titled = [f"{extracted.title}\n{text}" if extracted.title else text for text in texts]
        vectors = await self._embedder.passages(titled)
        return [
            Row(first + offset, start, end, text, vector)
            for offset, ((start, end), text, vector) in enumerate(zip(spans, texts, vectors, strict=True))
        ]

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


def _alive(document: Document) -> Document:
    """Tell an upload whose process died as failed."""
    if document.status == "processing" and time.time() - document.updated > LEASE_SECONDS:
        return replace(document, status="failed", error="It was interrupted. Send it again.")
    return document


def _unit(vector: Sequence[float]) -> list[float]:
    length = sum(number * number for number in vector) ** 0.5 or 1.0
    return [number / length for number in vector]


def not_found(document: str) -> ApiError:
    """Give the error for a document that this client does not have."""
    return ApiError(404, f"There is no document {document[:64]!r}.", code="document_not_found")


def library_of(
    settings: Settings, embeddings: Embeddings, reranker: Reranker | None
) -> tuple[Library, MilvusConnection] | tuple[None, None]:
    """Give the library of the settings and its Milvus; nothing where there is no store or nothing that embeds."""
    embedder = embedder_of(settings, embeddings)
    milvus = milvus_of(settings)
    if embedder is None or milvus is None:
        return None, None
    library = Library(
        Collections(milvus, settings.milvus_collection, embedder.model),
        embedder,
        Extraction(settings.retrieval_chunk_characters, settings.retrieval_chunk_overlap),
        reranker if settings.jina_reranker_tool_enabled else None,
        settings.retrieval_max_documents,
    )
    return library, milvus
