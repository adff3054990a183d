"""Make text and passages of one file: `python -m assistant_runtime.rag.extract KIND CHARACTERS OVERLAP CHARSET BYTES`.

A process of its own, with bounded memory and CPU time: parsers of foreign files loop, recurse and swell, and whatever
they do here ends with this process. The file comes on standard input, JSON goes to standard output: `title`, `text`,
and `spans`, the first and one past the last character of each passage in the text; none where CHARACTERS is 0.
"""

import codecs
import io
import json
import re
import resource
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import pairwise
from typing import Any

from assistant_runtime.rag.charsets import encoding_of

MAX_MEMORY_BYTES = 1024 * 1024 * 1024
"""Address space, of which an interpreter with the parsers takes a fifth. What of it may be used, the caller says."""

MAX_CPU_SECONDS = {"pdf": 30, "html": 3, "page": 3, "plain_page": 3}
"""By kind: a PDF of a thousand pages takes about ten, and 4 MiB of HTML half of one; elements that nest without end
would take hours, and so would 4 MiB in Punycode, a charset that Python knows."""

MAX_TEXT_CPU_SECONDS = 10
"""2,000,000 characters take a fifth of one; as a single word they would take half a minute."""

MAX_TEXT_CHARACTERS = 2_000_000
"""A book of 700 pages; more is better kept as several documents."""

MAX_TITLE_CHARACTERS = 200
MAX_TITLE_PLACE = 20_000
"""A title stands in the first so many characters."""

PARAGRAPHS = frozenset({"p", "h1", "h2", "h3", "h4", "h5", "h6"})
BLOCKS = PARAGRAPHS | {
    *("address", "article", "aside", "blockquote", "body", "br", "caption", "dd", "details", "div", "dl", "dt"),
    *("fieldset", "figcaption", "figure", "footer", "form", "header", "hr", "li", "main", "nav", "ol", "option"),
    *("pre", "section", "summary", "table", "tbody", "td", "tfoot", "th", "thead", "tr", "ul"),
}
"""Elements of HTML that begin a line."""

UNSEEN = ("script", "style", "noscript", "template", "head", "svg", "iframe", "object")
"""Elements of HTML that a reader does not see."""

SURROUNDINGS = ("nav", "footer", "aside")
"""Elements of a web page that a reader skips."""

BYTE_ORDER_MARKS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}

META_CHARSET = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*(?!utf-?16)([A-Za-z0-9_:.-]{1,40})", re.IGNORECASE)
"""A page's own word on its charset; where that can be read so, it is no UTF-16."""

META_BYTES = 1024
"""How far HTML's standard looks for it."""

SUPERSETS = {
    "iso8859-1": "cp1252",
    "ascii": "cp1252",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "gb2312": "gb18030",
    "gbk": "gb18030",
}
"""What pages mean that name the older standard: HTML's standard reads these so too."""


class UnreadableError(Exception):
    """The file can't be read; the text is for whoever sent it."""


def main(arguments: list[str]) -> None:
    """Read standard input, write standard output: `unreadable` alone for a file that can't be read."""
    kind, charset = arguments[0], arguments[3]
    characters, overlap, memory = int(arguments[1]), int(arguments[2]), int(arguments[4])
    seconds = MAX_CPU_SECONDS.get(kind, MAX_TEXT_CPU_SECONDS)
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    try:
        title, text = bounded(*READERS[kind](sys.stdin.buffer.read(), charset))
    except UnreadableError as error:
        json.dump({"unreadable": str(error)}, sys.stdout)
        return
    spans = list(passages(text, kind, characters, overlap)) if characters else []
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


def plain(content: bytes, charset: str = "") -> tuple[str, str]:
    """Read plain text."""
    text = sane(decoded(content, charset))
    return first_line(text), text


def first_line(text: str) -> str:
    """Give the first line that is not empty, a title where there is no other."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


def markdown(content: bytes, charset: str = "") -> tuple[str, str]:
    """Read Markdown: the text stays as it is written, so that spans are those of the author's file."""
    from markdown_it import MarkdownIt  # noqa: PLC0415

    text = sane(decoded(content, charset))
    tokens = MarkdownIt("commonmark").parse(text[:MAX_TITLE_PLACE])
    headings = (after.content for token, after in pairwise(tokens) if token.type == "heading_open")
    return next(headings, "") or first_line(text), text


def html(content: bytes, charset: str = "") -> tuple[str, str]:
    """Read HTML as a reader sees it: a block a line, without scripts and styles."""
    title, tree = parsed(content, charset, UNSEEN)
    text = seen(tree.body or tree.root)
    return title or first_line(text), text


def page(content: bytes, charset: str = "") -> tuple[str, str]:
    """Read a page of the web: its main part, without menus and the like."""
    title, tree = parsed(content, charset, (*UNSEEN, *SURROUNDINGS))
    text = seen(tree.css_first("main") or tree.css_first("article") or tree.body or tree.root)
    return title or first_line(text), text


def plain_page(content: bytes, charset: str = "") -> tuple[str, str]:
    """Read a page of the web that is no HTML: it has no title."""
    return "", sane(decoded(content, charset))[:MAX_TEXT_CHARACTERS]


def parsed(content: bytes, charset: str, unseen: Iterable[str]) -> tuple[str, Any]:
    """Give the title and the tree without some elements; read in the charset that is given, or that the page names."""
    from selectolax.lexbor import LexborHTMLParser  # noqa: PLC0415

    named = META_CHARSET.search(content[:META_BYTES])
    tree = LexborHTMLParser(decoded(content, charset or (named[1].decode() if named else "")))
    title = tree.css_first("title")
    found = " ".join(title.text().split()) if title else ""
    for node in tree.css(",".join(unseen)):
        node.decompose()
    return found, tree


def seen(root: Any) -> str:
    """Give the text below a node of HTML."""
    parts: list[str] = []
    for node in root.traverse(include_text=True) if root else ():
        if node.tag == "-text":
            parts.append(re.sub(r"\s+", " ", node.text_content or ""))
        elif node.tag in BLOCKS:
            parts.append("\n\n" if node.tag in PARAGRAPHS else "\n")
    text = re.sub(r"[^\S\n]*\n[^\S\n]*", "\n", re.sub(r"[^\S\n]+", " ", "".join(parts)))
    return sane(re.sub(r"\n{3,}", "\n\n", text).strip())


def pdf(content: bytes, _: str = "") -> tuple[str, str]:
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
        raise UnreadableError("it is not a readable PDF") from error
    if not text:
        raise UnreadableError("it has no text; a scanned PDF needs text recognition (OCR) first")
    return title or first_line(text), text


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


def decoded(content: bytes, charset: str) -> str:
    """Decode text: by its byte order mark, in the charset that is named, as UTF-8, or in the one that is detected."""
    for mark, encoding in BYTE_ORDER_MARKS.items():
        if content.startswith(mark):
            return content[len(mark) :].decode(encoding, "replace")
    if charset:
        with suppress(LookupError, ValueError):
            name = codecs.lookup(charset).name
            return content.decode(SUPERSETS.get(name, name), "replace")
    try:
        text = content.decode()
        # Half of UTF-16 is UTF-8 too, with a NUL at every letter.
        encoding = encoding_of(content) if text.count("\x00") > len(text) // 4 else "utf-8"
    except UnicodeDecodeError:
        encoding = encoding_of(content)
    if not encoding:
        raise UnreadableError(
            "its encoding can't be detected: save it as UTF-8, or name its charset in the media type, such as "
            "text/plain; charset=gbk"
        )
    return content.decode(encoding, "replace")


def sane(text: str) -> str:
    """Replace what no store takes: NUL, and halves of characters beyond the first 65,536."""
    return re.sub("[\x00\ud800-\udfff]", "\N{REPLACEMENT CHARACTER}", text)


READERS: Mapping[str, Callable[[bytes, str], tuple[str, str]]] = {
    "text": plain,
    "markdown": markdown,
    "html": html,
    "page": page,
    "plain_page": plain_page,
    "pdf": pdf,
}
"""A reader for each kind of file."""

if __name__ == "__main__":
    main(sys.argv[1:])
