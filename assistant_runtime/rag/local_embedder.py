"""The local embedding model, in a process of its own: started with the first text, and again after it ended.

The engine is native code, so a text may end its process. The request is then sent once more to a new process, and fails
if that ends as well; the runtime and everybody else's requests go on.
"""

import asyncio
import sys
from array import array
from collections.abc import Sequence
from contextlib import suppress

import orjson
import structlog

from assistant_runtime.children import without_secrets
from assistant_runtime.errors import ProviderError
from assistant_runtime.providers.base import Payer, Usage
from assistant_runtime.rag.embed import LENGTH, LONGEST_TEXT, MAX_SECONDS, TOKENS, batches

LOCAL_MODEL = "local/multilingual-e5-small"

LOCAL_DIMENSIONS = 384

VECTOR_BYTES = LOCAL_DIMENSIONS * 4

LOCAL_PATIENCE = 100_000
"""Characters embedded while a client waits for an order: half a minute of one processor."""

ATTEMPTS = 2
"""Processes that get a request; a text that ends the second would end every one."""


class LocalEmbedder:
    """multilingual-e5-small. One request is computed at a time, with all the processors that there are."""

    model = LOCAL_MODEL
    patience = LOCAL_PATIENCE

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()
        self._closed = False
        self._log = structlog.get_logger(__name__)

    async def passages(self, texts: Sequence[str], account: Payer) -> list[list[float]]:
        """Give the vector of each passage; raises ProviderError."""
        return (await self.counted(texts, account, is_query=False))[0]

    async def query(self, text: str, account: Payer) -> list[float]:
        """Give the vector of a query; raises ProviderError."""
        return (await self.counted([text], account, is_query=True))[0][0]

    async def counted(self, texts: Sequence[str], account: Payer, *, is_query: bool) -> tuple[list[list[float]], int]:
        """Give the vector of each text, and the number of tokens of all texts.

        Raises
        ------
        ProviderError
            503: the process ended twice while it read these texts.
        ApiError
            429: the account has nothing left.
        """
        await account.hold(texts)
        vectors: list[list[float]] = []
        tokens = 0
        for batch in batches([text[:LONGEST_TEXT] for text in texts]):
            request = orjson.dumps({"texts": [_sane(text) for text in batch], "is_query": is_query})
            found, count = _read(await self._in_turn(request, len(batch)))
            vectors += found
            tokens += count
        account.spend(LOCAL_MODEL, Usage(tokens, 0))
        return vectors, tokens

    async def aclose(self) -> None:
        """End the process; what it computes now is lost."""
        self._closed = True
        await self._end()
        async with self._turn:
            # Whoever had the turn may have started it anew.
            await self._end()

    async def _in_turn(self, request: bytes, count: int) -> bytes:
        """Send a request when the process is free. A caller that leaves meanwhile leaves the answer to be read."""
        await self._turn.acquire()
        exchange = asyncio.create_task(  # noqa: TID251 - one request, which ends
            self._answer(request, TOKENS.size + count * VECTOR_BYTES)
        )
        exchange.add_done_callback(lambda _: self._turn.release())
        return await asyncio.shield(exchange)

    async def _answer(self, request: bytes, size: int) -> bytes:
        for _ in range(ATTEMPTS):
            if self._closed:
                break
            with suppress(OSError, EOFError, TimeoutError):
                async with asyncio.timeout(MAX_SECONDS):
                    return await self._exchange(request, size)
            await self._end()
        raise ProviderError(
            503,
            "The local embedding model stopped while it read this text. Retry, or send a different text.",
            code="embedding_failed",
        )

    async def _exchange(self, request: bytes, size: int) -> bytes:
        """Give the answer's content; raises OSError or EOFError where the process ends, or answers nonsense."""
        process = await self._running()
        assert process.stdin is not None  # noqa: S101 - both are pipes
        assert process.stdout is not None  # noqa: S101
        process.stdin.write(LENGTH.pack(len(request)) + request)
        await process.stdin.drain()
        # Never more than is due: a text may have made the engine do anything.
        (length,) = LENGTH.unpack(await process.stdout.readexactly(LENGTH.size))
        if length != size:
            raise EOFError
        return await process.stdout.readexactly(size)

    async def _running(self) -> asyncio.subprocess.Process:
        """Give the process, started where there is none."""
        if self._process is None:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "assistant_runtime.rag.embed",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env=without_secrets(),
                # A terminal's Ctrl-C is for the parent alone.
                start_new_session=True,
            )
            self._log.info("embedding_process_started", pid=self._process.pid)
        return self._process

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with suppress(ProcessLookupError):
            process.kill()
        code = await process.wait()
        if not self._closed:
            self._log.error("embedding_process_ended", pid=process.pid, exit_code=code)


def _sane(text: str) -> str:
    """Replace halves of characters beyond the first 65,536, which no encoding has."""
    return text.encode(errors="replace").decode()


def _read(answer: bytes) -> tuple[list[list[float]], int]:
    numbers = array("f", answer[TOKENS.size :]).tolist()
    vectors = [numbers[start : start + LOCAL_DIMENSIONS] for start in range(0, len(numbers), LOCAL_DIMENSIONS)]
    return vectors, TOKENS.unpack_from(answer)[0]
