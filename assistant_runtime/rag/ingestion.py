"""One upload on its way into the collections: read, cut, embedded, written, and only then counted.

Passages are written under a generation of their own, and count once the document's record names it. What is written in
the background waits for a Milvus that is away, and tells by its record how far it came.
"""

import asyncio
import itertools
import time
import weakref
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from typing import TypeVar

import structlog

from assistant_runtime.ending import end
from assistant_runtime.errors import ApiError, ProviderError, StoreRefusedError, StoreUnavailableError
from assistant_runtime.rag.collections import INSERT_ROWS, Collections, Row, Scope
from assistant_runtime.rag.documents import Document, Upload
from assistant_runtime.rag.embedder import Embedder
from assistant_runtime.rag.extraction import Extracted, Extraction
from assistant_runtime.security.accounts import Account

MAX_PENDING = 32
"""Uploads in the background: each holds its content, at most MAX_REQUEST_BYTES."""

AT_ONCE = 2
"""Uploads that are worked on together; more only share the same embedding model."""

PATIENCE_SECONDS = 300.0
"""How long an upload in the background waits for a Milvus that is away."""

RETRY_SECONDS = 1.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Intake:
    """One upload, and the record that it begins with."""

    tenant: str
    document: str
    """The id."""
    upload: Upload
    begun: Document
    place: str
    """Where it stands in the order of the document's uploads."""
    account: Account
    """Pays for the vectors."""
    states: Iterator[int] = field(default_factory=itertools.count)
    """Numbers of its record's states."""

    @property
    def generation(self) -> str:
        """Of its passages; sorts like the places, and behind those that were named without an order."""
        return f"g{self.place}"

    @property
    def scope(self) -> Scope:
        """The document alone."""
        return Scope(self.tenant, (self.document,))


class Ingestion:
    """Brings uploads into the collections.

    Parameters
    ----------
    collections
        Where passages and records are kept.
    embedder
        Makes vectors.
    extraction
        Reads files.
    """

    def __init__(self, collections: Collections, embedder: Embedder, extraction: Extraction) -> None:
        self._collections = collections
        self._embedder = embedder
        self._extraction = extraction
        self._working = asyncio.Semaphore(AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()
        self._locks: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()
        self._log = structlog.get_logger(__name__)

    async def run(self, intake: Intake) -> Document:
        """Take an upload now, and give the record that counts.

        Nothing is written before the end: a client that gets an error sends it again, and it starts anew.

        Raises
        ------
        ApiError
            The document can't be read, or was deleted meanwhile.
        ProviderError
            It can't be embedded.
        StoreUnavailableError
            Milvus does not answer.
        """
        async with self.lock(intake.document):
            return await self._ingest(intake, 0.0)

    async def begin(self, intake: Intake) -> None:
        """Take an upload in the background; its record tells how it goes.

        Raises
        ------
        ApiError
            503: there are too many.
        StoreUnavailableError
            Milvus does not answer.
        """
        if len(self._tasks) >= MAX_PENDING:
            raise ApiError(
                503,
                f"{MAX_PENDING} documents are being read already. Send this one again later.",
                error_type="server_error",
                code="documents_busy",
                headers={"retry-after": "10"},
            )
        await self._put(intake, intake.begun, 0.0)
        task = asyncio.create_task(self._in_background(intake))  # noqa: TID251 - one upload, which ends
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def lock(self, document: str) -> asyncio.Lock:
        """Give the lock that whoever changes this document holds."""
        return self._locks.setdefault(document, asyncio.Lock())

    async def aclose(self) -> None:
        """End uploads in the background; their clients send them again."""
        await end(*self._tasks)

    async def _in_background(self, intake: Intake) -> None:
        """Bring an upload to its end; a failure is recorded, as far as Milvus allows."""
        try:
            async with intake.account, self._working, self.lock(intake.document):
                await self._ingest(intake, PATIENCE_SECONDS)
        except (ApiError, ProviderError, StoreRefusedError) as error:
            self._log.warning("document_failed", document=intake.document, reason=str(error))
            failed = replace(intake.begun, status="failed", error=str(error), updated=int(time.time()))
            with suppress(StoreUnavailableError):
                await self._put(intake, failed, PATIENCE_SECONDS)
        except StoreUnavailableError as error:
            self._log.warning("document_failed", document=intake.document, reason=str(error))
        except Exception:  # noqa: BLE001 - a bug with one document must not be silent
            self._log.exception("document_failed", document=intake.document)

    async def _ingest(self, intake: Intake, patience: float) -> Document:
        begun = intake.begun
        upload = intake.upload
        extracted = await self._extraction.read(upload.content, upload.media_type, upload.charset)
        if not extracted.spans:
            raise ApiError(422, "The document has no text.", code="unreadable_document")
        generation = intake.generation
        for start in range(0, len(extracted.spans), INSERT_ROWS):
            rows = await self._rows(extracted, start, intake.account)
            await self._add_batch(intake, generation, rows, patience)
            if patience:
                await self._put(intake, replace(begun, updated=int(time.time())), patience)
        kept = await self._patiently(lambda: self._collections.count(intake.scope, generation), patience)
        if kept != len(extracted.spans):
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
        if await self._put(intake, ready, patience):
            await self._patiently(lambda: self._collections.drop_passages(intake.scope, before=generation), patience)
        return ready

    async def _rows(self, extracted: Extracted, first: int, account: Account) -> list[Row]:
        """Embed the next batch of passages."""
        spans = extracted.spans[first : first + INSERT_ROWS]
        texts = [extracted.text[start:end] for start, end in spans]
        # The title tells what a passage from the middle of a document is about.
        titled = [f"{extracted.title}\n{text}" if extracted.title else text for text in texts]
        vectors = await self._embedder.passages(titled, account)
        return [
            Row(first + offset, start, end, text, vector)
            for offset, ((start, end), text, vector) in enumerate(zip(spans, texts, vectors, strict=True))
        ]

    async def _add_batch(self, intake: Intake, generation: str, rows: Sequence[Row], patience: float) -> None:
        tried = False

        async def add() -> None:
            nonlocal tried
            if tried:
                # An insert that was not acknowledged may have arrived, and Milvus keeps a row twice.
                await self._collections.drop_rows(intake.scope, intake.document, generation, rows)
            tried = True
            await self._collections.add(intake.scope, intake.document, generation, rows)

        await self._patiently(add, patience)

    async def _put(self, intake: Intake, record: Document, patience: float) -> bool:
        """Write a state of the record; says whether it counts."""

        def put() -> Awaitable[bool]:
            # A number for each attempt, because one that was not acknowledged may have arrived.
            place = f"{intake.place}:{next(intake.states):06d}"
            return self._collections.put_record(intake.scope, intake.document, place, asdict(record))

        return await self._patiently(put, patience)

    async def _patiently(self, work: Callable[[], Awaitable[T]], patience: float) -> T:
        """Do something in Milvus, waiting for one that is away; one that comes back has to be opened again."""
        deadline = time.monotonic() + patience
        while True:
            try:
                await self._collections.open()
                return await work()
            except StoreRefusedError:
                raise
            except StoreUnavailableError:
                if time.monotonic() >= deadline:
                    raise
            await asyncio.sleep(RETRY_SECONDS)
