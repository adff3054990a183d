"""The two collections in Milvus: passages with their vectors, and records that say which passages count.

Both are only ever added to and deleted from: in Milvus 2.3 an upsert into a collection with a partition key loses rows.
So a document's record is a row for each of its states, of which the last counts, and each upload writes its passages
under a generation of its own. What counts changes with one insert of one row; whatever an interrupted upload leaves
behind belongs to a generation that no record names. Uploads have an order, which all their rows have with them: of
replicas that work on one document at once, none takes away what a later one wrote, whatever their clocks say.

Tenants are kept apart by `Scope`: no method here takes a filter, and every filter is made of a scope.
"""

import hashlib
import re
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import orjson

from assistant_runtime.errors import ApiError, StoreUnavailableError
from assistant_runtime.rag.embedder import Embedder
from assistant_runtime.rag.milvus import CALL_SECONDS, MilvusConnection
from assistant_runtime.rag.schema import create, has_keywords, passage_schema, record_schema
from assistant_runtime.security.accounts import OwnExpense
from assistant_runtime.shared_call import SharedCall

SCHEMA = 1
"""Part of the collections' names: a later release with other fields makes collections of its own."""

RRF_K = 60
"""Reciprocal rank fusion's usual constant."""

DOCUMENT_ID = re.compile(r"doc_[0-9a-f]{32}\Z")
DESCRIPTION = "about"
"""Stands for a tenant in the row that says which model's vectors these are; no hash is spelled like it."""

STAMP = re.compile(r"(?<=:)\d{20}")
"""The time in the id of a record's row, in nanoseconds since 1970."""

MOST_STATES = 1000
"""Rows that a document's record may have: two for a moment, and more only where many replicas write it at once."""

INSERT_ROWS = 64
"""A batch of passages: well below gRPC's 64 MiB with texts and vectors of any size."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Scope:
    """One tenant's part of the collections, and optionally some documents of it.

    Names go into a filter only as hashes, or when they are spelled as our ids are, so that no text from outside is ever
    part of an expression.
    """

    tenant: str
    documents: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not all(DOCUMENT_ID.match(document) for document in self.documents):
            raise ApiError(400, "documents: write ids as /v1/documents gives them.", param="documents")

    @property
    def key(self) -> str:
        """The tenant as it stands in Milvus."""
        return hashlib.sha256(self.tenant.encode()).hexdigest()[:32]

    @property
    def expression(self) -> str:
        """The filter."""
        parts = [f'tenant == "{self.key}"']
        if self.documents:
            parts.append("document in [" + ", ".join(f'"{document}"' for document in self.documents) + "]")
        return " and ".join(parts)

    def document_id(self, name: str) -> str:
        """Give the id of the document of that name: the same for the same client and name, whenever it is sent."""
        return f"doc_{hashlib.sha256(f'{self.key}/{name}'.encode(errors='replace')).hexdigest()[:32]}"


@dataclass(frozen=True, slots=True)
class Row:
    """One passage as it is written."""

    position: int
    start: int
    end: int
    text: str
    vector: Sequence[float]


@dataclass(frozen=True, slots=True)
class Hit:
    """One passage as it is found."""

    document: str
    generation: str
    position: int
    start: int
    end: int
    text: str
    score: float


class Collections:
    """The collections; made when they are first needed.

    Parameters
    ----------
    connection
        The Milvus.
    prefix
        Of the collections' names.
    embedder
        Its model's name is recorded: vectors of two models do not compare.
    """

    def __init__(self, connection: MilvusConnection, prefix: str, embedder: Embedder) -> None:
        self._connection = connection
        self._passages = f"{prefix}_passages_v{SCHEMA}"
        self._records = f"{prefix}_documents_v{SCHEMA}"
        self._embedder = embedder
        self._model = embedder.model
        self._dimension: int | None = None
        # Milvus Lite refuses to make a collection that is just being made.
        self._opening = SharedCall(self._open)
        self.hybrid = False
        """Whether passages have keywords beside vectors; known once `open` has returned."""

    async def open(self) -> None:
        """Make the collections unless they are there, and see that they are for this model.

        Raises
        ------
        ApiError
            409: they hold vectors of another model.
        ProviderError
            The model does not answer, whose vectors' length is needed to make the collections.
        StoreUnavailableError
            Milvus does not answer.
        """
        if self._dimension is None:
            await self._opening()

    async def _open(self) -> None:
        about = await self._ask(self._recorded)
        if about is None:
            measured = await self._embedder.query("How long is a vector?", OwnExpense())
            wanted = {"model": self._model, "dimension": len(measured)}
            about = await self._ask(lambda client: self._make(client, wanted))
        if about["model"] != self._model:
            raise self._changed(about)
        self.hybrid = await self._ask(self._load)
        self._dimension = about["dimension"]

    async def next_place(self, scope: Scope, document: str) -> str:
        """Give an upload's place in the order: behind every state that the document has had."""
        known = [int(STAMP.findall(row)[0]) for row in await self._record_ids(scope, document)]
        return f"{max([time.time_ns(), *(stamp + 1 for stamp in known)]):020d}-{secrets.token_hex(4)}"

    async def put_record(self, scope: Scope, document: str, place: str, record: dict[str, Any]) -> bool:
        """Let a new state of a document count, unless one behind its place does; says whether it counts."""
        row = _record_row(f"{document}:{place}", scope.key, document, record)
        await self._ask(lambda client: client.insert(self._records, [row], timeout=CALL_SECONDS))
        last = max(await self._record_ids(scope, document), default="")
        await self._delete(self._records, f'{Scope(scope.tenant, (document,)).expression} and id < "{last}"')
        return str(row["id"]) == last

    async def _record_ids(self, scope: Scope, document: str) -> list[str]:
        expression = Scope(scope.tenant, (document,)).expression
        return [row["id"] for row in await self._query(self._records, expression, ["id"], MOST_STATES)]

    async def uploaded(self, scope: Scope, limit: int) -> list[str]:
        """Give the ids of at most so many documents, the one that was uploaded last first; without their records."""
        rows = await self._query(self._records, scope.expression, ["id", "document"], 2 * limit)
        newest: dict[str, int] = {}
        for row in rows:
            stamp = int(found[0]) if (found := STAMP.search(row["id"])) else 0
            newest[row["document"]] = max(stamp, newest.get(row["document"], 0))
        return sorted(newest, key=lambda document: (-newest[document], document))

    async def count_records(self, scope: Scope) -> int:
        """Count rows of records: one for each document, and one more for a moment where its state changes."""
        rows = await self._query(self._records, scope.expression, ["count(*)"], None)
        return int(rows[0]["count(*)"])

    async def records(self, scope: Scope, limit: int) -> dict[str, dict[str, Any]]:
        """Give the newest record of each document."""
        fields = ["id", "document", "record"]
        # A document has one row, and one more for a moment whenever its state changes.
        rows = await self._query(self._records, scope.expression, fields, 2 * limit)
        newest: dict[str, dict[str, Any]] = {}
        for row in sorted(rows, key=lambda row: str(row["id"])):
            newest[row["document"]] = orjson.loads(row["record"])
        return newest

    async def add(self, scope: Scope, document: str, generation: str, rows: Sequence[Row]) -> None:
        """Add passages; they count once a record names their generation.

        Raises
        ------
        ApiError
            409: the model's vectors are of another length than those that are kept.
        """
        self._check_length(*(row.vector for row in rows))
        data = [
            {
                "id": _row_id(document, generation, row),
                "tenant": scope.key,
                "document": document,
                "generation": generation,
                "position": row.position,
                "start": row.start,
                "end": row.end,
                "text": row.text,
                "dense": row.vector,
            }
            for row in rows
        ]
        await self._ask(lambda client: client.insert(self._passages, data, timeout=CALL_SECONDS))

    async def drop_rows(self, scope: Scope, document: str, generation: str, rows: Sequence[Row]) -> None:
        """Delete these passages, however often they are there."""
        ids = ", ".join(f'"{_row_id(document, generation, row)}"' for row in rows)
        await self._delete(self._passages, f"{scope.expression} and id in [{ids}]")

    async def count(self, scope: Scope, generation: str) -> int:
        """Count the passages of a generation."""
        expression = f'{scope.expression} and generation == "{generation}"'
        rows = await self._query(self._passages, expression, ["count(*)"], None)
        return int(rows[0]["count(*)"])

    async def drop_passages(self, scope: Scope, *, before: str = "") -> None:
        """Delete the passages of the scope's documents; those of the generations before one, where one is given."""
        older = f' and generation < "{before}"' if before else ""
        await self._delete(self._passages, scope.expression + older)

    async def drop_records(self, scope: Scope) -> None:
        """Delete the records of the scope's documents: from here on they are gone."""
        await self._delete(self._records, scope.expression)

    async def search(self, scope: Scope, query: str, vector: Sequence[float], limit: int) -> list[Hit]:
        """Find passages, the best first: by vectors and keywords where there are keywords, else by vectors."""
        self._check_length(vector)
        found = await self._ask(
            lambda client: _search(
                client, self._passages, scope.expression, query, vector, limit=limit, hybrid=self.hybrid
            )
        )
        return [Hit(score=float(hit["distance"]), **hit["entity"]) for hit in found]

    async def aclose(self) -> None:
        """Close the connection."""
        self._opening.cancel()
        await self._connection.aclose()

    async def _query(
        self, collection: str, expression: str, fields: Sequence[str], limit: int | None
    ) -> list[dict[str, Any]]:
        bound = {} if limit is None else {"limit": limit}
        found = await self._ask(
            lambda client: client.query(
                collection,
                filter=expression,
                output_fields=fields,
                consistency_level="Strong",
                timeout=CALL_SECONDS,
                **bound,
            )
        )
        return list(found)

    async def _delete(self, collection: str, expression: str) -> None:
        await self._ask(lambda client: client.delete(collection, filter=expression, timeout=CALL_SECONDS))

    async def _ask(self, command: Callable[[Any], T]) -> T:
        try:
            return await self._connection.ask(command)
        except StoreUnavailableError:
            # It may come back without what was loaded, or empty.
            self._dimension = None
            raise

    def _check_length(self, *vectors: Sequence[float]) -> None:
        for vector in vectors:
            if self._dimension is not None and len(vector) != self._dimension:
                raise self._changed({"model": self._model, "dimension": self._dimension})

    def _changed(self, about: Mapping[str, Any]) -> ApiError:
        return ApiError(
            409,
            f"The documents were embedded by {about['model']} ({about['dimension']} dimensions), and the model "
            f"is now {self._model}, or answers with other vectors. Set EMBEDDING_MODEL and EMBEDDING_PROVIDER back, or "
            "set MILVUS_COLLECTION to a new name and send the documents again.",
            error_type="server_error",
            code="embedding_model_changed",
        )

    def _make(self, client: Any, about: dict[str, Any]) -> dict[str, Any]:
        """Make what is missing; the row that names the model comes last, so that a half-made state is made whole."""
        if not client.has_collection(self._passages, timeout=CALL_SECONDS):
            schema = passage_schema(client, about["dimension"], hybrid=has_keywords(client))
            create(client, self._passages, schema)
        if not client.has_collection(self._records, timeout=CALL_SECONDS):
            create(client, self._records, record_schema(client))
        self._load(client)
        row = _record_row(DESCRIPTION, DESCRIPTION, DESCRIPTION, about)
        client.insert(self._records, [row], timeout=CALL_SECONDS)
        return about

    def _load(self, client: Any) -> bool:
        """Make the collections searchable; whether passages have keywords."""
        for collection in (self._records, self._passages):
            client.load_collection(collection, timeout=CALL_SECONDS)
        fields = client.describe_collection(self._passages, timeout=CALL_SECONDS)["fields"]
        return any(field["name"] == "sparse" for field in fields)

    def _recorded(self, client: Any) -> dict[str, Any] | None:
        """Read which model the vectors are of; None where nothing is kept yet."""
        if not client.has_collection(self._records, timeout=CALL_SECONDS):
            return None
        client.load_collection(self._records, timeout=CALL_SECONDS)
        found = client.query(
            self._records,
            filter=f'tenant == "{DESCRIPTION}"',
            output_fields=["record"],
            limit=1,
            consistency_level="Strong",
            timeout=CALL_SECONDS,
        )
        return next((orjson.loads(row["record"]) for row in found), None)


def _row_id(document: str, generation: str, row: Row) -> str:
    return f"{document}:{generation}:{row.position}"


def _record_row(key: str, tenant: str, document: str, record: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": key,
        "tenant": tenant,
        "document": document,
        "record": orjson.dumps(record).decode(),
        # Every collection must have a vector.
        "unused": [0.0, 1.0],
    }


def _search(
    client: Any, collection: str, expression: str, query: str, vector: Sequence[float], *, limit: int, hybrid: bool
) -> list[Any]:
    from pymilvus import AnnSearchRequest, RRFRanker  # noqa: PLC0415

    common = {
        "limit": limit,
        "output_fields": ["document", "generation", "position", "start", "end", "text"],
        "consistency_level": "Strong",
        "timeout": CALL_SECONDS,
    }
    if not hybrid:
        dense = {"metric_type": "COSINE"}
        found = client.search(
            collection, data=[vector], anns_field="dense", filter=expression, search_params=dense, **common
        )
        return list(found[0])
    requests = [
        AnnSearchRequest([vector], "dense", {"metric_type": "COSINE"}, limit, expr=expression),
        AnnSearchRequest([query], "sparse", {"metric_type": "BM25"}, limit, expr=expression),
    ]
    return list(client.hybrid_search(collection, requests, RRFRanker(RRF_K), **common)[0])
