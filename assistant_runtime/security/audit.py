"""The audit log: who did what, in chains that show tampering.

Each process writes a chain of its own, so that replicas never wait for one another. A record holds the MAC of the one
before it, and its own is made with a key that who can write to the store need not have: a record that was changed, left
out or put in breaks its chain. A chain begins with the ends of the other chains, so that one which was cut off or
deleted is missed; only the last records before everything was lost could be cut off unseen, and those of a process that
ended well are followed by a record that says so.

A record that the store can't keep goes to the process's log, and the chain holds its MAC, so that the others verify.

No record holds a prompt, an answer or a key.
"""

import asyncio
import hashlib
import hmac
import json
import secrets
import time
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Sequence
from contextvars import ContextVar
from dataclasses import asdict
from math import inf
from typing import Any

import orjson
import structlog

from assistant_runtime.errors import StoreRefusedError, StoreUnavailableError
from assistant_runtime.security.key_ring import KeyRing
from assistant_runtime.stores.audit import AuditRecord, AuditSink
from assistant_runtime.stores.batches import write_all

FLUSH_SECONDS = 1.0
"""What a killed process loses at most."""

MAX_WAITING = 10_000
"""Records that wait for a store which is down: about 10 MB."""

BATCH = 500

MICROSECONDS = 1_000_000

ANCHORS = 100
"""Chains whose ends a new chain holds: more than there are replicas."""

DAY_SECONDS = 86_400.0

EXPIRED = "chains_expired"
"""The event of chains that retention deletes: `chains` has the last sequence number of each."""

REFUSED = "record_refused"
"""The event of a record that the store can't keep: `refused` has its chain, sequence number and MAC."""

_NOTES: ContextVar[list[dict[str, Any]] | None] = ContextVar("audit_notes", default=None)


def note(event: str, **facts: Any) -> None:
    """Add to the record of the request that is being answered, where there is an audit log."""
    notes = _NOTES.get()
    if notes is not None:
        notes.append({"event": event, **facts})


def begin_notes() -> list[dict[str, Any]]:
    """Begin to collect notes of this task's request."""
    notes: list[dict[str, Any]] = []
    _NOTES.set(notes)
    return notes


def audit_keys(ring: KeyRing) -> tuple[bytes, list[bytes]]:
    """Give the key of new chains, and those of older ones."""
    return ring.key("audit"), [*ring.older("audit"), *(audit_key(secret) for secret in ring.secrets)]


def audit_key(hmac_key: bytes) -> bytes:
    """Give the key of the MACs that the first version made of a SECRET_KEY."""
    return hmac.digest(hmac_key, b"audit", hashlib.sha256)


class Chain:
    """Makes records, each bound to the one before.

    Parameters
    ----------
    key
        Key of the MACs.
    clock
        Seconds since 1970.
    older
        Keys of the MACs of older chains.
    """

    def __init__(self, key: bytes, clock: Callable[[], float] = time.time, older: Sequence[bytes] = ()) -> None:
        self._key = key
        self._older = tuple(older)
        self._clock = clock
        self.begun = clock()
        # Chains sort by their beginning.
        self.name = f"{int(self.begun * MICROSECONDS):016x}-{secrets.token_hex(8)}"
        self._sequence = 0
        self._previous = ""

    @property
    def age(self) -> float:
        """Seconds since it was begun."""
        return self._clock() - self.begun

    def successor(self) -> "Chain":
        """Begin another chain."""
        return Chain(self._key, self._clock, self._older)

    def made(self, record: AuditRecord) -> bool:
        """Whether a record was made with this chain's key or an older one, for the place where it stands."""
        if not _sound((self._key, *self._older), record):
            return False
        body = orjson.loads(record.body)
        return bool((body["chain"], body["sequence"]) == (record.chain, record.sequence))

    def record(self, event: str, facts: dict[str, Any]) -> AuditRecord:
        """Make the next record."""
        self._sequence += 1
        bound = {"chain": self.name, "sequence": self._sequence, "previous": self._previous}
        bound |= {"time": round(self._clock(), 3), "event": event}
        try:
            body = orjson.dumps({**facts, **bound}, option=orjson.OPT_SORT_KEYS)
        except TypeError:  # half a surrogate pair, or a number of more than 64 bits
            body = orjson.dumps({"facts": json.dumps(facts, default=repr), **bound}, option=orjson.OPT_SORT_KEYS)
        self._previous = _mac(self._key, body)
        return AuditRecord(self.name, self._sequence, body.decode(), self._previous)


class AuditLog:
    """Takes what happened, and writes it in the background.

    Parameters
    ----------
    sink
        Where records are kept.
    chain
        This process's first chain.
    days
        How long records are kept; 0: until deleted.
    refused
        Called with `audit` for each record that the sink can't keep.
    """

    def __init__(
        self, sink: AuditSink, chain: Chain, days: int = 0, refused: Callable[[str], None] = lambda _: None
    ) -> None:
        self.sink = sink
        self._note_refused = refused
        self._refused = 0
        self._chain = chain
        self._kept_seconds = days * DAY_SECONDS
        self._chain_seconds = min(DAY_SECONDS, days * DAY_SECONDS / 4) if days else inf
        self._begun = False
        self._lost = 0
        self._happened: deque[tuple[str, dict[str, Any]]] = deque()
        self._records: list[AuditRecord] = []
        self._writing = asyncio.Lock()
        self._log = structlog.get_logger(__name__)

    def add(self, event: str, facts: dict[str, Any]) -> None:
        """Take what happened; what does not fit any more is counted, and the count is recorded."""
        if len(self._happened) >= MAX_WAITING:
            if not self._lost:
                self._log.error("audit_records_lost", remedy="bring the store of the audit log back")
            self._lost += 1
            return
        self._happened.append((event, facts))

    async def run(self) -> None:
        """Write until cancelled, and once more then."""
        try:
            while True:
                await asyncio.sleep(FLUSH_SECONDS)
                await self.flush()
        except asyncio.CancelledError:
            self.add("chain_ended", {})
            await self.flush()
            raise

    async def flush(self) -> None:
        """Write what has happened; what can't be written waits for the next time, as the records that it became."""
        async with self._writing:
            try:
                await self._write()
            except StoreUnavailableError:
                return

    async def write(self, event: str, facts: dict[str, Any]) -> None:
        """Write what happened before anything else happens; raises StoreUnavailableError."""
        async with self._writing:
            refused = self._refused
            self._happened.append((event, facts))
            await self._write()
            if self._refused > refused:
                raise StoreRefusedError("The audit log's store can't keep a record; the log has it")

    def made(self, record: AuditRecord) -> bool:
        """Whether a record was made with this log's key or an older one, for the place where it stands."""
        return self._chain.made(record)

    async def _write(self) -> None:
        if self._begun and self._happened and self._chain.age > self._chain_seconds:
            await self._write_on()
            self._chain, self._begun = self._chain.successor(), False
        if not self._begun and self._happened:
            self._records.append(self._chain.record("chain_started", {"anchors": await self._anchors()}))
            self._begun = True
        await self._write_on()

    async def _anchors(self) -> dict[str, tuple[int, str]]:
        """Give the ends of other chains, but for those that may expire before this chain does."""
        heads = await self.sink.heads(ANCHORS)
        if self._kept_seconds:
            youngest = self._chain.begun - self._kept_seconds / 2
            heads = [head for head in heads if orjson.loads(head.body)["time"] > youngest]
        return {head.chain: (head.sequence, head.mac) for head in heads}

    async def _write_on(self) -> None:
        while self._happened or self._records or self._lost:
            if self._lost and not self._happened:
                self._happened.append(("records_lost", {"count": self._lost}))
                self._lost = 0
            while self._happened and len(self._records) < BATCH:
                self._records.append(self._chain.record(*self._happened.popleft()))
            await write_all(self._records, BATCH, self.sink.append, self._refuse)

    def _refuse(self, record: AuditRecord, error: StoreRefusedError) -> None:
        self._log.error("audit_record_refused", reason=str(error), **asdict(record))
        self._note_refused("audit")
        self._refused += 1
        # Not of such a note itself, for which the same may hold: that would never end.
        if orjson.loads(record.body)["event"] != REFUSED:
            self._happened.append((REFUSED, {"refused": [record.chain, record.sequence, record.mac]}))


async def problems(
    key: bytes, read: Callable[[], AsyncIterable[AuditRecord]], older: Sequence[bytes] = ()
) -> AsyncIterator[str]:
    """Yield what is wrong with an audit log.

    Parameters
    ----------
    key
        Key of the MACs.
    read
        Gives every record, chain by chain and in order; called twice.
    older
        Keys of the MACs of older chains.
    """
    keys = (key, *older)
    wanted, expired, refused = await _told(keys, read())
    chain, sequence, previous = "", 0, ""
    async for record in read():
        if record.chain != chain:
            chain, sequence, previous = record.chain, 0, ""
        if sequence < record.sequence - 1 <= expired.get(chain, 0):
            # Retention was interrupted in the middle of this chain.
            sequence, previous = record.sequence - 1, orjson.loads(record.body).get("previous", "")
        while sequence < record.sequence - 1 and (chain, sequence + 1) in refused:
            sequence, previous = sequence + 1, refused[chain, sequence + 1]
        for problem in _problems(keys, record, sequence, previous):
            yield f"chain {chain}, record {record.sequence}: {problem}"
        if wanted.get((record.chain, record.sequence)) == record.mac:
            del wanted[record.chain, record.sequence]
        sequence, previous = record.sequence, record.mac
    for missing, number in sorted(wanted):
        if number <= expired.get(missing, 0):
            continue
        yield f"chain {missing}, record {number}: a later chain saw it, and it is missing or another"


async def _told(
    keys: Sequence[bytes], records: AsyncIterable[AuditRecord]
) -> tuple[dict[tuple[str, int], str], dict[str, int], dict[tuple[str, int], str]]:
    """Give the ends of chains that other chains saw, up to where retention deleted chains, and what was refused."""
    wanted: dict[tuple[str, int], str] = {}
    expired: dict[str, int] = {}
    refused: dict[tuple[str, int], str] = {}
    async for record in records:
        telling = record.sequence == 1 or EXPIRED in record.body or REFUSED in record.body
        if not telling or not _sound(keys, record):
            continue
        body = orjson.loads(record.body)
        if record.sequence == 1:
            wanted |= {(chain, sequence): mac for chain, (sequence, mac) in body.get("anchors", {}).items()}
        if body["event"] == EXPIRED:
            expired |= {chain: max(last, expired.get(chain, 0)) for chain, last in body["chains"].items()}
        if body["event"] == REFUSED:
            chain, sequence, mac = body["refused"]
            refused[chain, sequence] = mac
    return wanted, expired, refused


def _problems(keys: Sequence[bytes], record: AuditRecord, sequence: int, previous: str) -> list[str]:
    if not _sound(keys, record):
        return ["it was changed, or written with another SECRET_KEY"]
    body = orjson.loads(record.body)
    found = []
    if record.sequence != sequence + 1:
        found.append(f"records {sequence + 1} to {record.sequence - 1} are missing")
    elif body["previous"] != previous:
        found.append("it does not follow the record before it")
    if (body["chain"], body["sequence"]) != (record.chain, record.sequence):
        found.append("it was moved from another place")
    return found


def _sound(keys: Sequence[bytes], record: AuditRecord) -> bool:
    return any(hmac.compare_digest(_mac(key, record.body.encode()), record.mac) for key in keys)


def _mac(key: bytes, body: bytes) -> str:
    return hmac.digest(key, body, hashlib.sha256).hex()
