"""Reading files: what comes out, that spans are exact, and that a hostile file is refused and nothing more."""

import contextlib
import io
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pypdf import PdfWriter

from assistant_runtime.errors import ApiError
from assistant_runtime.rag import extract
from assistant_runtime.rag.extraction import Extracted, Extraction, media_type_of


async def read(content: bytes, media_type: str) -> Extracted:
    return await Extraction(200, 20).read(content, media_type)


def pdf(*pages: str) -> bytes:
    """A PDF with a line of text a page, written by hand."""
    objects = [b"<< /Type /Catalog /Pages 2 0 R >>", b""]
    kids = []
    for text in pages:
        stream = f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET".encode()
        number = len(objects) + 1
        kids.append(f"{number} 0 R")
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /Contents {number + 1} 0 R /Resources << /Font << /F1 << /Type /Font "
            "/Subtype /Type1 /BaseFont /Helvetica >> >> >> >>".encode()
        )
        objects.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream))
    objects[1] = f"<< /Type /Pages /Kids [{' '.join(kids)}] /Count {len(kids)} >>".encode()
    out = io.BytesIO(b"%PDF-1.4\n")
    out.seek(0, io.SEEK_END)
    places = []
    for number, body in enumerate(objects, 1):
        places.append(out.tell())
        out.write(b"%d 0 obj\n%s\nendobj\n" % (number, body))
    xref = out.tell()
    out.write(b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1))
    out.writelines(b"%010d 00000 n \n" % place for place in places)
    out.write(b"trailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF" % (len(objects) + 1, xref))
    return out.getvalue()


@given(st.text(max_size=3000), st.integers(100, 400), st.integers(0, 50), st.sampled_from(["text", "markdown"]))
def test_a_span_is_exactly_its_passage_and_no_word_is_lost(text: str, size: int, overlap: int, kind: str) -> None:
    spans = list(extract.passages(text, kind, size, overlap))
    assert all(0 < end - start <= size for start, end in spans)
    covered = {index for start, end in spans for index in range(start, end)}
    assert all(character.isspace() for index, character in enumerate(text) if index not in covered)
    assert spans == sorted(spans)


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_or_text_that_every_store_takes(content: bytes) -> None:
    with contextlib.suppress(extract.UnreadableError):
        _, text = extract.plain(content)
        assert "\x00" not in text
        text.encode()


async def test_markdown_stays_as_it_is_written() -> None:
    source = "intro\n\n# Leave\n\nTwelve *weeks*.\n"
    found = await read(source.encode(), "text/markdown")
    assert (found.title, found.text) == ("Leave", source)


async def test_html_is_what_a_reader_sees() -> None:
    page = (
        "<html><head><title>Leave  policy</title><style>p {}</style></head><body><script>alert(1)</script>"
        "<h1>Leave</h1><p>Twelve <b>wee</b>ks\n of leave.</p><ul><li>one<li>two</ul></body></html>"
    )
    found = await read(page.encode(), "text/html")
    assert found.title == "Leave policy"
    assert "Twelve weeks of leave." in found.text
    assert found.text.splitlines()[-2:] == ["one", "two"]
    assert "alert" not in found.text


async def test_a_pdf_gives_the_text_of_all_pages() -> None:
    found = await read(pdf("Twelve weeks of leave.", "The second page."), "application/pdf")
    assert found.text.index("Twelve weeks") < found.text.index("The second page")


def encrypted() -> bytes:
    writer = PdfWriter()
    writer.add_blank_page(100, 100)
    writer.encrypt("geheim", algorithm="RC4-128")
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def bomb() -> bytes:
    """A PDF whose only page unpacks to far more than the memory that reading may take."""
    packed = zlib.compress(b"BT (x) Tj ET " * 12_000_000, 9)
    whole = pdf("x")
    start, end = whole.index(b"<< /Length"), whole.index(b"endstream")
    page = b"<< /Filter /FlateDecode /Length %d >>\nstream\n%s\n" % (len(packed), packed)
    return whole[:start] + page + whole[end:]


@pytest.mark.parametrize(
    ("content", "media_type", "reason"),
    [
        (b"no pdf at all", "application/pdf", "not a readable PDF"),
        (b"%PDF-1.7\n" + b"<<" * 100_000, "application/pdf", "can't be read"),
        (b"%PDF-1.4\n1 0 obj << /Type /Catalog /Pages 1 0 R /Kids [1 0 R] >> endobj", "application/pdf", "read"),
        (b"a" * 2_100_000, "text/plain", "characters"),
    ],
)
async def test_what_cant_be_read_is_told(content: bytes, media_type: str, reason: str) -> None:
    with pytest.raises(ApiError, match=reason) as refused:
        await read(content, media_type)
    assert refused.value.status == 422


async def test_an_encrypted_pdf_is_told() -> None:
    with pytest.raises(ApiError, match="password"):
        await read(encrypted(), "application/pdf")


async def test_a_pdf_that_swells_ends_with_its_own_process() -> None:
    with pytest.raises(ApiError, match="read") as refused:
        await read(bomb(), "application/pdf")
    assert refused.value.status == 422


async def test_html_that_nests_deeply_is_read() -> None:
    found = await read(b"<div>" * 10_000 + b"deep", "text/html")
    assert found.text == "deep"


async def test_html_that_nests_without_end_is_refused() -> None:
    # The parser takes the square of the depth, in C: only the kernel can end it.
    with pytest.raises(ApiError, match="time") as refused:
        await read(b"<div>" * 800_000, "text/html")
    assert refused.value.status == 422


@pytest.mark.parametrize("kind", ["text/html", "text/plain"])
@pytest.mark.parametrize("charset", ["shift_jis", "gb2312", "koi8-r", "iso-8859-1", "utf-8", "utf-16-be"])
async def test_a_charset_that_is_sent_with_a_file_counts(kind: str, charset: str) -> None:
    word = {"shift_jis": "東京", "gb2312": "北京", "koi8-r": "Москва"}.get(charset, "Köln")
    found = await Extraction(200, 20).read(f"<p>{word}</p>".encode(charset), kind, charset)
    assert word in found.text


@pytest.mark.parametrize(
    "meta", ['<meta charset="koi8-r">', "<META http-equiv=Content-Type content='text/html; charset=KOI8-R'>"]
)
def test_a_page_may_name_its_charset_itself(meta: str) -> None:
    page = f"<html><head>{meta}<title>Москва</title></head><body>Привет".encode("koi8-r")
    assert extract.html(page) == ("Москва", "Привет")
    assert extract.page(page) == ("Москва", "Привет")


@pytest.mark.parametrize("charset", ["utf-16", "no-such-charset", "base64", "rot13", "undefined"])
def test_a_page_that_names_nonsense_is_read_all_the_same(charset: str) -> None:
    assert extract.html(f"<meta charset={charset}><p>Köln".encode())[1] == "Köln"


@pytest.mark.parametrize("mark", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_counts_most(mark: str) -> None:
    assert extract.plain("Köln".encode(mark), "koi8-r") == ("Köln", "Köln")


async def test_a_reader_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("assistant_runtime.rag.extraction.MAX_SECONDS", 0.01)
    with pytest.raises(ApiError, match="too long"):
        await read(b"text", "text/plain")


@pytest.mark.parametrize(
    ("name", "declared", "expected"),
    [
        ("a.pdf", "application/octet-stream", "application/pdf"),
        ("a.md", "text/plain", "text/markdown"),
        ("a", "text/html; charset=utf-8", "text/html"),
        ("a.txt", "", "text/plain"),
    ],
)
def test_a_files_type_is_its_own_or_its_names(name: str, declared: str, expected: str) -> None:
    assert media_type_of(name, declared, b"\0") == expected


@pytest.mark.parametrize(
    ("name", "declared", "content"),
    [
        ("a.csv", "text/csv", b"name,days\r\nleave,12\r\n"),
        ("a.json", "application/json", b'{"leave": 12}'),
        ("a.py", "text/x-python", b"def leave():\n\treturn 12\n"),
        ("a.log", "", b"\x1b[32mok\x1b[0m leave taken\n"),
        ("Makefile", "application/octet-stream", b"leave:\n\techo 12\n"),
        ("a.csv", "application/vnd.ms-excel", "été".encode("utf-16")),
        ("a.ini", "", "días=12".encode("latin-1")),
        ("a.csv", "text/csv", "假期,12".encode("gbk")),
        ("a.jp", "", "休暇".encode("iso2022_jp")),
    ],
)
def test_any_text_is_read_as_text(name: str, declared: str, content: bytes) -> None:
    assert media_type_of(name, declared, content) == "text/plain"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.exe", b"MZ\x90\x00\x03"),
        ("a.png", b"\x89PNG\r\n\x1a\n"),
        ("a.docx", b"PK\x03\x04"),
        ("a.gz", b"\x1f\x8b\x08"),
        ("a.rtf", b"{\\rtf1 leave}"),
        ("a.ps", b"%!PS-Adobe-3.0"),
    ],
)
def test_what_is_no_text_is_refused(name: str, content: bytes) -> None:
    with pytest.raises(ApiError) as refused:
        media_type_of(name, "application/octet-stream", content)
    assert refused.value.status == 415
