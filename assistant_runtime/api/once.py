"""Idempotency-Key: a request that is sent again under its key asks no provider again, and gets the same answer.

The first request of a key claims it. Those that come meanwhile wait for its answer, those that come later get it from
where it is kept: in Redis for all replicas, else in this process. Only whole answers are kept; after an error the next
request of the key asks anew. A replica that dies leaves a claim that ends after `CLAIM_SECONDS`.
"""

import asyncio
import hashlib
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import orjson
import zstandard
from starlette.types import Message, Send

from assistant_runtime.ending import to_its_end
from assistant_runtime.errors import ApiError, StoreUnavailableError
from assistant_runtime.security.principal import Principal
from assistant_runtime.stores.kept_answers import AnswerStore

CLAIM_SECONDS = 30
"""How long a claim outlives its process; renewed while that lives."""

POLL_SECONDS = 0.05, 1.0
"""Between two looks at a claim of another replica: at first, and at most."""

MAX_ANSWER_BYTES = 1024 * 1024
"""Of an answer that is kept; of a longer one, it is kept that it was given."""

FINGERPRINT_BYTES = 32
RUNNING, DONE, TOO_LONG = b"R", b"D", b"L"
"""What an entry begins with; its request's fingerprint follows."""


@dataclass(slots=True)
class Answer:
    """An answer as it was sent."""

    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    parts: list[bytes] = field(default_factory=list)
    size: int = 0
    whole: bool = False

    def note(self, message: Message) -> None:
        """Note a piece that was sent; of an answer that is too long, only its size."""
        if message["type"] == "http.response.start":
            self.whole = False
            self.headers = list(message["headers"]) if message["status"] == 200 else []  # noqa: PLR2004 - HTTP's OK
            return
        part = message.get("body", b"")
        self.size += len(part)
        if self.size <= MAX_ANSWER_BYTES:
            self.parts.append(part)
        else:
            self.parts.clear()
        self.whole = not message.get("more_body", False)

    async def send(self, send: Send) -> None:
        """Send it again."""
        headers = [*self.headers, (b"idempotent-replayed", b"true")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"".join(self.parts)})


@dataclass(slots=True)
class Claim:
    """The right to answer the requests of a key."""

    answer: Answer = field(default_factory=Answer)

    def recording(self, send: Send) -> Send:
        """Give a way to send that notes the answer."""

        async def send_recorded(message: Message) -> None:
            self.answer.note(message)
            await send(message)

        return send_recorded


class Once:
    """The requests that are answered once.

    Parameters
    ----------
    store
        Where claims and answers are kept for all replicas.
    fallback
        Where this process keeps them while `store` is down.
    seconds
        How long an answer is kept.
    """

    def __init__(self, store: AnswerStore, fallback: AnswerStore, seconds: int) -> None:
        self._store = store
        self._fallback = fallback
        self._seconds = seconds
        self._running: dict[str, tuple[bytes, asyncio.Event]] = {}
        """Requests that this process answers, or waits with: their fingerprints, and when to look again."""

    @asynccontextmanager
    async def answering(self, name: str, fingerprint: bytes) -> AsyncIterator[Answer | Claim]:
        """Give the answer that is kept under a name, or the claim to make it, which ends with the block.

        Raises
        ------
        ApiError
            422: the name stands for another request. 409: the answer was too long to be kept.
        """
        while (running := self._running.get(name)) is not None:
            _check(fingerprint, running[0])
            await running[1].wait()
        ended = asyncio.Event()
        self._running[name] = fingerprint, ended
        try:
            kept, store, entry = await self._claimed(name, fingerprint)
            if kept is not None:
                yield kept
                return
            claim = Claim()
            renewing = asyncio.create_task(_renew(store, name, entry))  # noqa: TID251 - the request ends it
            try:
                yield claim
            finally:
                renewing.cancel()
                await to_its_end(self._close(store, name, entry, claim.answer))
        finally:
            del self._running[name]
            ended.set()

    async def _claimed(self, name: str, fingerprint: bytes) -> tuple[Answer | None, AnswerStore, bytes]:
        """Wait until there is an answer, or a claim of ours."""
        entry = RUNNING + fingerprint + secrets.token_bytes(16)
        store, pause = self._store, POLL_SECONDS[0]
        while True:
            try:
                kept = await self._claim(store, name, entry)
            except StoreUnavailableError:
                store = self._fallback
                continue
            if kept is None:
                return None, store, entry
            _check(fingerprint, kept[1 : 1 + FINGERPRINT_BYTES])
            if not kept.startswith(RUNNING):
                return _read(kept), store, b""
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, POLL_SECONDS[1])

    async def _claim(self, store: AnswerStore, name: str, entry: bytes) -> bytes | None:
        """Claim a name; a client that leaves before the store has answered leaves no claim behind."""
        try:
            return await to_its_end(store.claim(name, entry, CLAIM_SECONDS))
        except asyncio.CancelledError:
            await to_its_end(self._close(store, name, entry, Answer()))
            raise

    async def _close(self, store: AnswerStore, name: str, entry: bytes, answer: Answer) -> None:
        kept = _written(entry, answer) if answer.whole and answer.headers else b""
        with suppress(StoreUnavailableError):
            await store.replace(name, entry, kept, self._seconds)


async def _renew(store: AnswerStore, name: str, entry: bytes) -> None:
    """Keep a claim for as long as its request is answered."""
    while True:
        await asyncio.sleep(CLAIM_SECONDS / 3)
        with suppress(StoreUnavailableError):
            await store.replace(name, entry, entry, CLAIM_SECONDS)


def name_of(principal: Principal, path: str, key: bytes) -> str:
    """Give the name of a key for a path; the key itself is kept nowhere.

    It is the API key's own: another one of the same tenant may not be allowed the model, or the tools, of the answer.
    """
    asks = principal.tenant.encode(), principal.key_id.encode()
    return hashlib.sha256(b"\0".join((*asks, path.encode(), key))).hexdigest()


def fingerprint_of(body: bytes, session: bytes) -> bytes:
    """Give what a request under the same key must have in common with the first: its JSON and its session."""
    # The standard library sorts the fields of objects, and reads integers of any length.
    canonical = json.dumps(json.loads(body), sort_keys=True).encode()
    return hashlib.sha256(session + b"\0" + canonical).digest()


def _check(fingerprint: bytes, first: bytes) -> None:
    if fingerprint != first:
        raise ApiError(
            422,
            "This Idempotency-Key was used for another request. Repeat that request unchanged, or use a new key.",
            error_type="idempotency_error",
            code="idempotency_key_reused",
            param="Idempotency-Key",
        )


def _written(entry: bytes, answer: Answer) -> bytes:
    fingerprint = entry[1 : 1 + FINGERPRINT_BYTES]
    if answer.size > MAX_ANSWER_BYTES:
        return TOO_LONG + fingerprint
    headers = orjson.dumps([[name.decode("latin-1"), value.decode("latin-1")] for name, value in answer.headers])
    return DONE + fingerprint + zstandard.compress(headers + b"\n" + b"".join(answer.parts))


def _read(kept: bytes) -> Answer:
    if kept.startswith(TOO_LONG):
        raise ApiError(
            409,
            f"The request of this Idempotency-Key was answered, and its answer is longer than the {MAX_ANSWER_BYTES} "
            "bytes that are kept. Use a new key to ask again.",
            error_type="idempotency_error",
            code="idempotent_answer_not_kept",
            param="Idempotency-Key",
        )
    limit = 2 * MAX_ANSWER_BYTES
    headers, _, body = zstandard.decompress(kept[1 + FINGERPRINT_BYTES :], max_output_size=limit).partition(b"\n")
    named = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in orjson.loads(headers)]
    return Answer(named, [body], len(body), whole=True)
