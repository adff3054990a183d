"""Make text and passages of one file: `python -m assistant_runtime.rag.extract KIND CHARACTERS OVERLAP`.

A process of its own, with bounded memory and CPU time: parsers of foreign files loop, recurse and swell, and whatever
they do here ends with this process. The file comes on standard input, JSON goes to standard output: `title`, `text`,
and `spans`, the first and one past the last character of each passage in the text.
"""

import io
import json
import re
import resource
import sys
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import Any

MAX_MEMORY_BYTES = 1024 * 1024 * 1024
"""Address space, of which an interpreter with the parsers takes a fifth."""

MAX_CPU_SECONDS = 30
"""A PDF of a thousand pages takes about ten."""

MAX_TEXT_CHARACTERS = 2_000_000
"""A book of 700 pages; more is better kept as several documents."""

MAX_TITLE_CHARACTERS = 200

PARAGRAPHS = frozenset({"p", "h1", "h2", "h3", "h4", "h5", "h6"})
BLOCKS = PARAGRAPHS | {
    *("address", "article", "aside", "blockquote", "body", "br", "caption", "dd", "details", "div", "dl", "dt"),
    *("fieldset", "figcaption", "figure", "footer", "form", "header", "hr", "li", "main", "nav", "ol", "option"),
    *("pre", "section", "summary", "table", "tbody", "td", "tfoot", "th", "thead", "tr", "ul"),
}
"""Elements of HTML that begin a line."""

UNSEEN = ("script", "style", "noscript", "template", "head", "svg", "iframe", "object")
"""Elements of HTML that a reader does not see."""


class UnreadableError(Exception):
    """The file can't be read; the text is for whoever sent it."""


def main(arguments: list[str]) -> None:
    """Read standard input, write standard output: `unreadable` alone for a file that can't be read."""
    kind, characters, overlap = arguments[0], int(arguments[1]), int(arguments[2])
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (MAX_CPU_SECONDS, MAX_CPU_SECONDS))
    try:
        title, text = bounded(*READERS[kind](sys.stdin.buffer.read()))
    except UnreadableError as error:
        json.dump({"unreadable": str(error)}, sys.stdout)
        return
    spans = list(passages(text, kind, characters, overlap))
    json.dump({"title": title, "text": text, "spans": spans}, sys.stdout)


def bounded(title: str, text: str) -> tuple[str, str]:
    """Cut the title, and refuse a text that is too long."""
    if len(text) > MAX_TEXT_CHARACTERS:
        raise UnreadableError(f"it has more than {MAX_TEXT_CHARACTERS} characters of text: split it")
    return title[:MAX_TITLE_CHARACTERS], text


def passages(text: str, kind: str, characters: int, overlap: int) -> Iterator[tuple[int, int]]:
    """Yield the span of each passage: whole sections, paragraphs or sentences where they fit."""
    from semantic_text_splitter import MarkdownSplitter, TextSplitter  # noqa: PLC0415 - only the process needs it

    make = MarkdownSplitter if kind == "markdown" else TextSplitter
    for start, passage in make(characters, overlap=overlap).chunk_indices(text):
        if passage.strip():
            yield start, start + len(passage)


def plain(content: bytes) -> tuple[str, str]:
    """Read plain text."""
    text = sane(decoded(content))
    first = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return first, text


def markdown(content: bytes) -> tuple[str, str]:
    """Read Markdown: the text stays as it is written, so that spans are those of the author's file."""
    from markdown_it import MarkdownIt  # noqa: PLC0415

    text = sane(decoded(content))
    tokens = MarkdownIt("commonmark").parse(text)
    headings = (after.content for token, after in pairwise(tokens) if token.type == "heading_open")
    return next(headings, "") or plain(content)[0], text


def html(content: bytes) -> tuple[str, str]:
    """Read HTML as a reader sees it: a block a line, without scripts and styles."""
    from selectolax.lexbor import LexborHTMLParser  # noqa: PLC0415

    tree = LexborHTMLParser(decoded(content))
    title = tree.css_first("title")
    found = " ".join(title.text().split()) if title else ""
    for node in tree.css(",".join(UNSEEN)):
        node.decompose()
    parts: list[str] = []
    root = tree.body or tree.root
    for node in root.traverse(include_text=True) if root else ():
        if node.tag == "-text":
            parts.append(re.sub(r"\s+", " ", node.text_content or ""))
        elif node.tag in BLOCKS:
            parts.append("\n\n" if node.tag in PARAGRAPHS else "\n")
    text = re.sub(r"[^\S\n]*\n[^\S\n]*", "\n", re.sub(r"[^\S\n]+", " ", "".join(parts)))
    text = sane(re.sub(r"\n{3,}", "\n\n", text).strip())
    return found or plain(text.encode())[0], text


def pdf(content: bytes) -> tuple[str, str]:
    """Read a PDF's text, page by page; pictures of text have none."""
    import logging  # noqa: PLC0415
    import warnings  # noqa: PLC0415

    from pypdf import PdfReader  # noqa: PLC0415

    logging.disable()
    warnings.simplefilter("ignore")
    try:
        title, text = pdf_text(PdfReader(io.BytesIO(content)))
    except UnreadableError:
        raise
    except Exception as error:  # the parser raises whatever a broken file makes it trip over
        raise UnreadableError("it is no PDF that can be read") from error
    if not text:
        raise UnreadableError("it has no text; a scanned PDF needs text recognition (OCR) first")
    return title or plain(text.encode())[0], text


def pdf_text(reader: Any) -> tuple[str, str]:
    """Give a PDF's title and text, with no more pages than there may be text."""
    if reader.is_encrypted and not reader.decrypt(""):
        raise UnreadableError("it is encrypted: remove its password")
    text = ""
    for page in reader.pages:
        text += page.extract_text() + "\n\n"
        if len(text) > MAX_TEXT_CHARACTERS:
            break
    return sane(str((reader.metadata or {}).get("/Title") or "")), sane(text.strip())


def decoded(content: bytes) -> str:
    """Decode text: UTF-8 or UTF-16 with a byte order mark, else Latin-1's superset, which reads anything."""
    for encoding in ("utf-8-sig", "utf-16") if content[:2] in {b"\xff\xfe", b"\xfe\xff"} else ("utf-8-sig",):
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    return content.decode("cp1252", "replace")


def sane(text: str) -> str:
    """Replace what no store takes: NUL, and halves of characters beyond the first 65,536."""
    return re.sub("[\x00\ud800-\udfff]", "\N{REPLACEMENT CHARACTER}", text)


READERS: Mapping[str, Callable[[bytes], tuple[str, str]]] = {
    "text": plain,
    "markdown": markdown,
    "html": html,
    "pdf": pdf,
}
"""A reader for each kind of file."""

if __name__ == "__main__":
    main(sys.argv[1:])
