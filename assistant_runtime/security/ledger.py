"""The usage ledger: what each key spent on each model in each day, in the SQL database.

Nothing waits for it: counts add up in memory, bounded by the number of keys and models, and go to the database every
few seconds and when the process ends. What a process that is killed had not written yet is lost: a few seconds' worth.
A count that the database can't keep, such as more tokens than a number of its can hold, is logged and left out.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime

import structlog

from assistant_runtime.errors import StoreRefusedError, StoreUnavailableError
from assistant_runtime.security.accounts import Spent
from assistant_runtime.stores.batches import write_all
from assistant_runtime.stores.budgets import Counted
from assistant_runtime.stores.keys import MAX_SPENT, SqlKeys, UsageRow

FLUSH_SECONDS = 5.0
"""What a killed process loses at most."""

MAX_ROWS = 10_000
"""Counts that wait for a database which is down: about 3 MB."""

MAX_MODEL = 256
"""Characters of a model's name that are kept."""


class UsageLedger:
    """Counts, and where they go.

    Parameters
    ----------
    store
        The database.
    clock
        Seconds since 1970.
    refused
        Called with `usage` for each count that the database can't keep.
    """

    def __init__(
        self, store: SqlKeys, clock: Callable[[], float] = time.time, refused: Callable[[str], None] = lambda _: None
    ) -> None:
        self._store = store
        self._note_refused = refused
        self._clock = clock
        self._counts: dict[tuple[str, str, str], tuple[int, int, int]] = {}
        self._writing = asyncio.Lock()
        self._full = False
        """Whether counts were lost since the last write."""
        self._log = structlog.get_logger(__name__)

    def add(self, key_id: str, spent: list[Spent]) -> None:
        """Count what was spent."""
        day = f"{datetime.fromtimestamp(self._clock(), UTC):%Y-%m-%d}"
        for model, given, taken in spent:
            self._count((key_id, _name(model), day), (1, given, taken))

    async def counted(self, key_id: str, now: datetime) -> Counted:
        """Give what a key has spent in the day and month (UTC) of a time; raises StoreUnavailableError."""
        today = f"{now.astimezone(UTC):%Y-%m-%d}"
        known = await self._store.counted(key_id, today)
        # What this process has not written yet; of others, a few seconds are missing.
        waiting = [(day, given + taken) for (key, _, day), (_, given, taken) in self._counts.items() if key == key_id]
        day = known.day + sum(tokens for of_day, tokens in waiting if of_day == today)
        month = known.month + sum(tokens for of_day, tokens in waiting if of_day[:7] == today[:7])
        return Counted(day, month)

    async def run(self) -> None:
        """Write until cancelled, and once more then."""
        try:
            while True:
                await asyncio.sleep(FLUSH_SECONDS)
                # To its end, also if this is cancelled: of a write that is cut short nobody knows whether it was done.
                await asyncio.shield(self.flush())
        finally:
            await self.flush()

    async def flush(self) -> None:
        """Write what has added up; what can't be written waits for the next time."""
        async with self._writing:
            await self._write()

    async def _write(self) -> None:
        counts, self._counts = self._counts, {}
        waiting = [UsageRow(*where, *numbers) for where, numbers in sorted(counts.items())]
        try:
            await write_all(waiting, MAX_SPENT, self._store.spend, self._refused)
            self._full = False
        except StoreUnavailableError:
            return
        finally:
            for row in waiting:
                self._count((row.key_id, row.model, row.day), (row.requests, row.input_tokens, row.output_tokens))

    def _refused(self, row: UsageRow, error: StoreRefusedError) -> None:
        self._log.error("usage_refused", reason=str(error), **asdict(row))
        self._note_refused("usage")

    def _count(self, where: tuple[str, str, str], numbers: tuple[int, int, int]) -> None:
        if where not in self._counts and len(self._counts) >= MAX_ROWS:
            if not self._full:
                self._log.error("usage_lost", remedy="bring the database of DATABASE_URL back")
            self._full = True
            return
        requests, given, taken = self._counts.get(where, (0, 0, 0))
        self._counts[where] = (requests + numbers[0], given + numbers[1], taken + numbers[2])


def _name(model: str) -> str:
    """Give a model's name as a database takes it: a client may send any text."""
    return model[:MAX_MODEL].replace("\x00", "\N{REPLACEMENT CHARACTER}").encode(errors="replace").decode()
