"""Compressed request bodies: read within the bound of any other body, or refused by name."""

import gzip
import json
import zlib
from collections.abc import Callable

import pytest
import zstandard

from tests.support.runtime import QUESTION, run_runtime
from tests.support.upstream import Upstream

BODY = json.dumps(QUESTION).encode()
LONG = json.dumps({"messages": [{"role": "user", "content": "abc" * 40_000}]}).encode()


def bare_deflate(body: bytes) -> bytes:
    engine = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return engine.compress(body) + engine.flush()


def two_members(body: bytes) -> bytes:
    return gzip.compress(body[:7]) + gzip.compress(body[7:])


def streamed_zstd(body: bytes) -> bytes:
    """Without the content's size, as from a client that does not know it yet."""
    engine = zstandard.ZstdCompressor().compressobj()
    return engine.compress(body) + engine.flush()


@pytest.mark.parametrize(
    ("encoding", "compress"),
    [
        ("gzip", gzip.compress),
        ("GZIP", two_members),
        ("x-gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("deflate", bare_deflate),
        ("zstd", zstandard.compress),
        ("zstd", streamed_zstd),
        ("identity", bytes),
    ],
)
@pytest.mark.parametrize("body", [BODY, LONG])
async def test_a_compressed_body_is_read(
    upstream: Upstream, encoding: str, compress: Callable[[bytes], bytes], body: bytes
) -> None:
    async with run_runtime(upstream) as runtime:
        reply = await runtime.post(compress(body), {"content-encoding": encoding})
        # Routes of another kind read bodies in another way.
        session = await runtime.post(
            compress(b'{"title": "a"}'),
            {"content-encoding": encoding, "content-type": "application/json"},
            "/v1/sessions",
        )
    assert (reply.status, session.status, session.json["title"]) == (200, 201, "a")
    assert upstream.requests[0]["messages"] == json.loads(body)["messages"]


@pytest.mark.parametrize(
    ("encoding", "body", "status", "code"),
    [
        pytest.param("br", BODY, 415, "unsupported_content_encoding", id="br"),
        pytest.param(
            "gzip, gzip", gzip.compress(gzip.compress(BODY)), 415, "unsupported_content_encoding", id="gzip twice"
        ),
        pytest.param("gzip", BODY, 400, "invalid_content_encoding", id="no gzip"),
        pytest.param("gzip", gzip.compress(BODY)[:-9], 400, "invalid_content_encoding", id="gzip cut off"),
        pytest.param("gzip", gzip.compress(b"") * 20_000, 400, "invalid_content_encoding", id="many members"),
        pytest.param("deflate", BODY, 400, "invalid_content_encoding", id="no deflate"),
        pytest.param("zstd", BODY, 400, "invalid_content_encoding", id="no zstd"),
        pytest.param("gzip", gzip.compress(bytes(5_000_000)), 413, "request_too_large", id="large gzip"),
        pytest.param("deflate", zlib.compress(bytes(5_000_000)), 413, "request_too_large", id="large deflate"),
        pytest.param("zstd", zstandard.compress(bytes(5_000_000)), 413, "request_too_large", id="large zstd"),
    ],
)
async def test_a_body_that_can_not_be_read_is_refused(
    upstream: Upstream, encoding: str, body: bytes, status: int, code: str
) -> None:
    async with run_runtime(upstream, max_request_bytes=1_000_000) as runtime:
        reply = await runtime.post(body, {"content-encoding": encoding})
    assert (reply.status, reply.error["code"]) == (status, code)
    assert upstream.requests == []
