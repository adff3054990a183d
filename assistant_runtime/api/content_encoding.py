"""Request bodies that arrive compressed: decompressed within the bound of any other body, or refused by name."""

import asyncio
import zlib
from collections.abc import Callable

import zstandard
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from assistant_runtime.api.request_body import read_body
from assistant_runtime.errors import ApiError

GZIP_WINDOW = 16 + zlib.MAX_WBITS
RAW_WINDOW = -zlib.MAX_WBITS

MAX_MEMBERS = 16
"""Of a gzip file: clients send one, and each copies what follows it."""

MAX_ZSTD_WINDOW_BYTES = 8 * 1024 * 1024
"""What RFC 9659 asks of receivers; a sender may name a window of gigabytes."""


INLINE_BYTES = 16 * 1024
"""What is decompressed in microseconds; more takes a thread, while others are answered."""


async def serve_decompressed(
    app: ASGIApp, scope: Scope, receive: Receive, send: Send, *, encoding: str, max_bytes: int
) -> None:
    """Serve a request whose body is compressed as if it had come plain; raises as `decompressed` does."""
    body = await read_body(receive)
    if body is None:
        # The client left before its end; whoever reads the body finds that out.
        await app(scope, receive, send)
        return
    if len(body) > INLINE_BYTES:
        plain = await asyncio.to_thread(decompressed, body, encoding, max_bytes)
    else:
        plain = decompressed(body, encoding, max_bytes)
    unread = True

    async def receive_plain() -> Message:
        nonlocal unread
        if unread:
            unread = False
            return {"type": "http.request", "body": plain, "more_body": False}
        return await receive()

    kept = [pair for pair in scope["headers"] if pair[0] not in {b"content-encoding", b"content-length"}]
    headers = [*kept, (b"content-length", str(len(plain)).encode())]
    await app({**scope, "headers": headers}, receive_plain, send)


def decompressed(body: bytes, encoding: str, max_bytes: int) -> bytes:
    """Decompress a request's body.

    Parameters
    ----------
    body
        As it was sent.
    encoding
        The request's Content-Encoding.
    max_bytes
        Length of the result, at most: a few bytes may stand for gigabytes.

    Raises
    ------
    ApiError
        415: the encoding is not read here. 400: the body is not in it. 413: the result is too long.
    """
    read = READERS.get(encoding.strip().lower())
    if read is None:
        there = ", ".join(sorted(READERS))
        raise ApiError(
            415,
            f"Content-Encoding: {encoding!r} is not supported; send one of {there}, or none.",
            code="unsupported_content_encoding",
            param="Content-Encoding",
        )
    try:
        whole = read(body, max_bytes + 1)
    except (zlib.error, zstandard.ZstdError, EOFError):
        raise ApiError(
            400,
            f"The body is not {encoding}, although its Content-Encoding says so.",
            code="invalid_content_encoding",
            param="Content-Encoding",
        ) from None
    if len(whole) > max_bytes:
        raise ApiError(413, f"The request is larger than {max_bytes} bytes.", code="request_too_large")
    return whole


def _gunzip(body: bytes, length: int) -> bytes:
    """Decompress every member of a gzip file."""
    whole = b""
    for _ in range(MAX_MEMBERS):
        part, body = _inflated(body, GZIP_WINDOW, length - len(whole))
        whole += part
        if not body or len(whole) >= length:
            return whole
    raise zlib.error(f"more than {MAX_MEMBERS} members")


def _inflate(body: bytes, length: int) -> bytes:
    """Decompress zlib's format, as the standard has it, or bare deflate, as some clients send it."""
    try:
        return _inflated(body, zlib.MAX_WBITS, length)[0]
    except zlib.error:
        return _inflated(body, RAW_WINDOW, length)[0]


def _inflated(body: bytes, window: int, length: int) -> tuple[bytes, bytes]:
    """Decompress up to a length; gives what follows, too."""
    engine = zlib.decompressobj(window)
    whole = engine.decompress(body, length)
    if not engine.eof and len(whole) < length:
        raise EOFError
    return whole, engine.unused_data


def _unzstd(body: bytes, length: int) -> bytes:
    engine = zstandard.ZstdDecompressor(max_window_size=MAX_ZSTD_WINDOW_BYTES)
    with engine.stream_reader(body, read_across_frames=True) as reader:
        return reader.read(length)


READERS: dict[str, Callable[[bytes, int], bytes]] = {
    "gzip": _gunzip,
    "x-gzip": _gunzip,
    "deflate": _inflate,
    "zstd": _unzstd,
}
"""The encodings that are read here: those of HTTP libraries and of coding agents."""
