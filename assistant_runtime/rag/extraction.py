"""Run `extract` for one file, within bounds of time, and of how many run at once."""

import asyncio
import codecs
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from assistant_runtime.children import without_secrets
from assistant_runtime.errors import ApiError
from assistant_runtime.memory import MemoryShares, NoMemoryError

MAX_SECONDS = 120.0
"""The process bounds its own CPU time; this bounds one that waits for a CPU."""

MOST_MEMORY_BYTES = 384 * 1024 * 1024
"""The worst 4 MiB of HTML, every one of whose elements has attributes, take 370."""

LEAST_MEMORY_BYTES = 64 * 1024 * 1024
"""An interpreter with the parsers takes 20, and a small file little more."""

MEMORY_OF_A_BYTE = 96
"""The worst HTML takes so much memory for each of its bytes; text a tenth of it."""

MAX_PROCESSES = 2
"""Reading is the smaller part of ingestion, and each process may take much memory."""

KINDS = {
    "text/plain": "text",
    "text/markdown": "markdown",
    "text/html": "html",
    "application/xhtml+xml": "html",
    "application/pdf": "pdf",
}
"""The kind of each media type."""

SUFFIXES = {
    ".txt": "text/plain",
    ".md": "text/markdown",
    ".markdown": "text/markdown",
    ".html": "text/html",
    ".htm": "text/html",
    ".pdf": "application/pdf",
}
"""Media types by a file's name, for clients that send none."""

CHARSET = re.compile(r";\s*charset\s*=\s*\"?([A-Za-z0-9_:.-]{1,40})", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Extracted:
    """A file's text, and where its passages are."""

    title: str
    text: str
    spans: tuple[tuple[int, int], ...]


SNIFFED_BYTES = 64 * 1024
CONTROLS = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")
"""Bytes that no text has in any encoding but UTF-16, and that files of other kinds have soon."""

MARKED_UP = (b"{\\rtf", b"%!PS")
"""How files begin that are made of text and mean something else."""


def is_text(content: bytes) -> bool:
    """Whether a file is text, whatever its name: a table, a program, a log, a configuration."""
    head = content[:SNIFFED_BYTES]
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return True
    return not head.startswith(MARKED_UP) and not CONTROLS.search(head)


def media_type_of(name: str, declared: str, content: bytes) -> str:
    """Give the media type of a file that can be read; any text that is of no other type is plain text.

    Raises
    ------
    ApiError
        415: it can't.
    """
    given = declared.partition(";")[0].strip().lower()
    suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122 - a client's name is no path of ours
    for media_type in (given, SUFFIXES.get(suffix, "")):
        if media_type in KINDS and not (media_type == "text/plain" and suffix in SUFFIXES):
            return media_type
    if suffix in SUFFIXES:
        return SUFFIXES[suffix]
    if is_text(content):
        return "text/plain"
    raise ApiError(
        415,
        f"Documents are {', '.join(sorted(KINDS))}, or any other text; this is {given or 'of no known type'}.",
        code="unsupported_document",
        param="media_type",
    )


def charset_of(declared: str) -> str:
    """Give the charset that a media type names; empty where it names none that could be one."""
    found = CHARSET.search(declared)
    return found[1].lower() if found else ""


class Extraction:
    """Reads files.

    Parameters
    ----------
    characters
        Longest passage; 0: only texts are wanted.
    overlap
        Characters that a passage may share with the one before.
    memory
        Hands out memory to all that read files; None: these readers have it for themselves.
    """

    def __init__(self, characters: int, overlap: int, memory: MemoryShares | None = None) -> None:
        self._arguments = (str(characters), str(overlap))
        self._memory = memory or MemoryShares()
        self._slots = asyncio.Semaphore(MAX_PROCESSES)

    async def read(self, content: bytes, media_type: str, charset: str = "") -> Extracted:
        """Make text and passages of a file.

        Parameters
        ----------
        charset
            As it was sent with the file; empty: the file tells.

        Raises
        ------
        ApiError
            422: it can't be read; the text says why. 503: there is no memory to read it now.
        """
        output = await self._run(content, KINDS[media_type], charset)
        return Extracted(output["title"], output["text"], tuple((start, end) for start, end in output["spans"]))

    async def read_page(self, content: bytes, charset: str, *, is_html: bool) -> tuple[str, str]:
        """Give title and text of a page of the web; raises ApiError as `read` does."""
        output = await self._run(content, "page" if is_html else "plain_page", charset)
        return output["title"], output["text"]

    async def _run(self, content: bytes, kind: str, charset: str) -> dict[str, Any]:
        wanted = memory_for(kind, len(content))
        try:
            async with self._slots, self._memory.share(wanted, LEAST_MEMORY_BYTES) as share:
                output = await self._output(content, (kind, *self._arguments, charset, str(share)))
        except NoMemoryError:
            raise ApiError(
                503,
                "The server has too little memory left to read a document. Send it again later.",
                error_type="server_error",
                code="documents_busy",
                headers={"retry-after": "10"},
            ) from None
        if "unreadable" in output:
            raise unreadable(output["unreadable"])
        return output

    async def _output(self, content: bytes, arguments: Sequence[str]) -> dict[str, Any]:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "assistant_runtime.rag.extract",
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=without_secrets(),
        )
        try:
            async with asyncio.timeout(MAX_SECONDS):
                output, _ = await process.communicate(content)
        except TimeoutError:
            raise unreadable("it takes too long to read") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode != 0:
            raise unreadable("it takes too much memory or time to read")
        answer: dict[str, Any] = orjson.loads(output)
        return answer


def memory_for(kind: str, size: int) -> int:
    """Give the bytes that reading may take: a PDF unpacks to any size, and other files to a multiple of their own."""
    if kind == "pdf":
        return MOST_MEMORY_BYTES
    return min(MOST_MEMORY_BYTES, LEAST_MEMORY_BYTES + size * MEMORY_OF_A_BYTE)


def unreadable(reason: str) -> ApiError:
    """Give the error for a file that can't be read."""
    return ApiError(422, f"The document can't be read: {reason}.", code="unreadable_document")
