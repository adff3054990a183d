"""Deletes what is older than its retention, in the background.

Every replica does so, and they do not mind each other: what one has deleted, another no longer finds. Batches are small
and have pauses between them, and passes begin at random times, so that no server notices.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from assistant_runtime.errors import StoreUnavailableError
from assistant_runtime.settings import Settings
from assistant_runtime.stores.choice import Stores

if TYPE_CHECKING:
    from assistant_runtime.security.audit import AuditLog

SESSIONS_AT_ONCE = 20
"""Each may have thousands of messages."""

JOBS_AT_ONCE = 50
"""Each may have megabytes of drafts."""

ROWS_AT_ONCE = 500
"""Of usage and audit records, which are small."""

DAY_SECONDS = 86_400.0

FIRST_PASS_SECONDS = 300.0
"""A pass begins up to so long after the start: replicas that start together do not delete together."""

PASS_SECONDS = 3600.0
"""Between two passes, give or take a half."""

RETRY_SECONDS = 60.0
"""After a pass that missed a store which was down, give or take a half."""

PAUSE_SECONDS = 0.5
"""Between two batches, give or take a half."""


@dataclass(frozen=True, slots=True)
class Lifetime:
    """One kind of records, and how long they are kept."""

    kind: str
    days: int
    batch: int
    """Records deleted at once."""
    delete: Callable[[float, int], Awaitable[int]]
    """Deletes at most so many records that are older than a number of seconds, by the clock of the store, and gives
    how many. Raises StoreUnavailableError."""


class Retention:
    """Deletes what has expired.

    Parameters
    ----------
    lifetimes
        What expires; of 0 days: it is kept.
    """

    def __init__(self, lifetimes: Sequence[Lifetime]) -> None:
        self._lifetimes = [lifetime for lifetime in lifetimes if lifetime.days]
        self._log = structlog.get_logger(__name__)

    async def run(self) -> None:
        """Delete until cancelled."""
        await asyncio.sleep(random.uniform(0, FIRST_PASS_SECONDS))  # noqa: S311 - jitter
        while True:
            done = await self.delete_expired()
            await asyncio.sleep(_jittered(PASS_SECONDS if done else RETRY_SECONDS))

    async def delete_expired(self) -> bool:
        """Delete all that has expired, and say whether every store was there; what one that is down keeps can wait."""
        done = True
        for lifetime in self._lifetimes:
            try:
                deleted = await self._delete(lifetime)
            except StoreUnavailableError:
                done = False
                continue
            if deleted:
                self._log.info("retention_deleted", kind=lifetime.kind, count=deleted, days=lifetime.days)
        return done

    async def _delete(self, lifetime: Lifetime) -> int:
        total = 0
        while deleted := await lifetime.delete(lifetime.days * DAY_SECONDS, lifetime.batch):
            total += deleted
            await asyncio.sleep(_jittered(PAUSE_SECONDS))
        return total


def _jittered(seconds: float) -> float:
    return seconds * random.uniform(0.5, 1.5)  # noqa: S311 - jitter


def lifetimes(settings: Settings, stores: Stores, audit: "AuditLog | None") -> list[Lifetime]:
    """Give what expires in these stores."""
    found = [
        Lifetime("sessions", settings.retention_sessions_days, SESSIONS_AT_ONCE, stores.expiry.sessions),
        Lifetime("responses", settings.retention_responses_days, SESSIONS_AT_ONCE, stores.expiry.responses),
    ]
    if stores.database is not None:
        from assistant_runtime.stores.expiry_sql import SqlExpiry  # noqa: PLC0415 - imported only where it is used

        usage = SqlExpiry(stores.database).usage
        found.append(Lifetime("usage", settings.retention_usage_days, ROWS_AT_ONCE, usage))
    if audit is not None and audit.sink.keeps:
        from assistant_runtime.security.audit_expiry import AuditExpiry  # noqa: PLC0415 - imported only where it is used

        found.append(Lifetime("audit", settings.retention_audit_days, ROWS_AT_ONCE, AuditExpiry(audit).delete))
    return found
