"""What a client sends, what is kept of it, and what a search finds."""

import hashlib
import time
from dataclasses import dataclass, replace

LEASE_SECONDS = 180.0
"""An upload in the background writes its record at least this often; one that does not has died with its process."""


@dataclass(frozen=True, slots=True)
class Upload:
    """A document as a client sends it."""

    name: str
    media_type: str
    content: bytes
    source: str = ""
    charset: str = ""
    """As it was sent with the content; empty: the content tells."""

    @property
    def digest(self) -> str:
        """A hash of all that makes its passages."""
        described = f"{self.media_type};{self.charset}\n{self.source}\n"
        return hashlib.sha256(described.encode(errors="replace") + self.content).hexdigest()


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


def alive(document: Document) -> Document:
    """Tell an upload whose process died as failed."""
    if document.status == "processing" and time.time() - document.updated > LEASE_SECONDS:
        return replace(document, status="failed", error="It was interrupted. Send it again.")
    return document
