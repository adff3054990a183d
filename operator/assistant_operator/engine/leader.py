"""Leader election: of several operators one works, the others stand by with filled caches.

The rules are client-go's, and three of our own (docs/decisions/20261129-leader-election.md): the fence stops every
write before another operator may take the Lease, an orderly stop waits for the writes in flight before it releases the
Lease, and an older leader makes room for a newer candidate.
"""

import asyncio
import math
import os
import socket
import uuid
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import structlog

from assistant_operator import __version__
from assistant_operator.cluster import fence, lease
from assistant_operator.cluster.client import UNREACHABLE, ApiError, Client
from assistant_operator.cluster.fence import Fence
from assistant_operator.cluster.lease import Record
from assistant_operator.kinds import LEASE
from assistant_operator.settings import LONGEST_LEASE_SECONDS, Settings
from assistant_operator.telemetry import Metrics

log = structlog.get_logger()

_REFUSALS = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY)
"""Answers that only a person can change; with any other the API server is busy or away, which the watches report."""
_REMEDY = "the operator's account needs the chart's Role for the Lease, and the API server must answer"

Work = Callable[[], Coroutine[Any, Any, None]]


def new_identity() -> str:
    """Return a name for this process that no other one has, not even one of the same pod."""
    return f"{socket.gethostname()}_{os.getpid()}_{uuid.uuid4().hex[:8]}"


@dataclass(frozen=True)
class Terms:
    """What an operator runs for, and as whom."""

    identity: str
    namespace: str
    name: str
    duration_seconds: int
    renew_deadline_seconds: int
    retry_period_seconds: int
    version: str = __version__

    @classmethod
    def of(cls, settings: Settings, identity: str) -> "Terms":
        """Read the settings."""
        namespace, _, name = settings.lease.partition("/")
        return cls(
            identity,
            namespace,
            name,
            settings.lease_duration_seconds,
            settings.renew_deadline_seconds,
            settings.retry_period_seconds,
        )


@dataclass
class Sight:
    """What was last seen of the Lease, and when it last changed by the clock of this process.

    The clocks of others, and times that they wrote, count for nothing.
    """

    clock: Callable[[], float]
    record: Record | None = None
    exists: bool = False
    changed: float = -math.inf

    def see(self, record: Record | None) -> None:
        """Take note of the Lease, or that there is none. Of one that was deleted the holder may still be at work."""
        self.exists = record is not None
        if record is None:
            return
        if self.record is None or record.sign_of_life != self.record.sign_of_life:
            self.changed = self.clock()
        self.record = record

    def still_for(self, seconds: float) -> bool:
        """Tell whether it has not changed for so long."""
        return self.clock() >= self.changed + seconds


@dataclass
class Elector:
    """Takes, renews and releases the Lease, and works while it holds it.

    Parameters
    ----------
    api
        A client of its own that no fence stops, so that renewals wait for no other request.
    gate
        The fence before the writes of those who work.
    """

    api: Client
    terms: Terms
    gate: Fence
    metrics: Metrics
    clock: Callable[[], float] = fence.now
    wall_clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    problem: str = field(default="", init=False)
    """Why nobody can lead, in words for a person; empty where all is well."""

    def __post_init__(self) -> None:
        self.gate.shut()
        self.metrics.leader.set(0)
        self._sight = Sight(self.clock)
        self._failure = ""
        self._held_until = -math.inf

    @property
    def role(self) -> str:
        """Leader or standby."""
        return "leader" if self.gate.remaining() else "standby"

    async def run(self, work: Work) -> None:
        """Work whenever it leads, until cancelled; the Lease is then released. What ends the work is raised."""
        while True:
            await self._acquire()
            await self._lead(work)

    async def _acquire(self) -> None:
        # A look costs little, and a Lease that was released should be taken within a second.
        while not await self.attempt():  # noqa: ASYNC110 - nothing here could set an event
            await asyncio.sleep(self.terms.retry_period_seconds / 2)

    async def attempt(self) -> bool:
        """Take the Lease if it is free; tell whether it is held then."""
        started = self.clock()
        try:
            async with asyncio.timeout(self.terms.renew_deadline_seconds / 2):
                self._see(await self._read())
                if taking := self._is_free():
                    self._see(await self._take())
                else:
                    await self._ask_for_it()
        except (ApiError, *UNREACHABLE) as error:
            self._failed(error)
            return False
        self._answered()
        if not taking:
            return False
        self._hold_from(started)
        log.info("leading", identity=self.terms.identity)
        return True

    def _is_free(self) -> bool:
        found = self._sight.record
        if found is None or found.holder == self.terms.identity:
            return True
        waits_for_newer = not found.holder and lease.is_newer(found.candidate, self.terms.version)
        if found.holder or waits_for_newer:
            duration = found.duration_seconds or self.terms.duration_seconds
            return self._sight.still_for(min(duration, LONGEST_LEASE_SECONDS))
        return True

    async def _ask_for_it(self) -> None:
        """Mark the Lease where its holder is older, and no candidate is newer; a foreign holder has no version."""
        found, version = self._sight.record, self.terms.version
        if not (found and self._sight.exists and found.version):
            return
        if lease.is_newer(version, found.version) and lease.is_newer(version, found.candidate):
            self._see(await self._patch(lease.marked(found, version)))

    async def _take(self) -> Record:
        before = self._sight.record if self._sight.exists else None
        terms = self.terms
        body = lease.taken(before, terms.identity, terms.version, terms.duration_seconds, self.wall_clock())
        if before:
            return await self._patch(body)
        metadata = {**body["metadata"], "namespace": terms.namespace, "name": terms.name}
        kind = {"apiVersion": LEASE.api_version, "kind": LEASE.kind}
        return Record.of(await self.api.create(LEASE, {**kind, **body, "metadata": metadata}))

    async def _lead(self, work: Work) -> None:
        """Work until the Lease is lost or may soon be."""
        working = asyncio.create_task(work(), name="work")  # noqa: TID251 - waited for here
        try:
            while True:
                await asyncio.wait([working], timeout=min(self.terms.retry_period_seconds, self.gate.remaining()))
                if working.done() or not await self._renew():
                    break
        finally:
            drained = await self._drain()
            working.cancel()
            await asyncio.wait([working])
            self.metrics.leader.set(0)
            if drained:
                await self._release()
        if not working.cancelled():
            working.result()

    async def _renew(self) -> bool:
        """Renew the Lease, with as many tries as there is time for; tell whether to go on."""
        while remaining := self.gate.remaining():
            started = self.clock()
            try:
                async with asyncio.timeout(min(remaining, self.terms.renew_deadline_seconds / 2)):
                    if await self._renewed():
                        self._answered()
                        self._hold_from(started)
                        return self._stays()
                    log.warning("lease_lost", holder=self._sight.record and self._sight.record.holder)
                    self._held_until = -math.inf
                    return False
            except (ApiError, *UNREACHABLE) as error:
                self._failed(error)
            await asyncio.sleep(min(self.terms.retry_period_seconds / 2, self.gate.remaining()))
        log.warning("lease_not_renewed", renew_deadline_seconds=self.terms.renew_deadline_seconds)
        return False

    async def _renewed(self) -> bool:
        """Renew the Lease once; False where it is somebody else's."""
        found = self._sight.record
        if found and self._sight.exists:
            try:
                self._see(await self._patch(lease.renewed(found, self.wall_clock())))
            except ApiError as error:
                if error.status not in (HTTPStatus.CONFLICT, HTTPStatus.NOT_FOUND):
                    raise
            else:
                return True
        self._see(await self._read())
        found = self._sight.record
        if not (found and self._sight.exists):
            self._see(await self._take())
        elif found.holder != self.terms.identity:
            return False
        else:  # somebody else changed it, such as a candidate that marked it
            self._see(await self._patch(lease.renewed(found, self.wall_clock())))
        return True

    def _stays(self) -> bool:
        """Tell whether no newer candidate waits."""
        candidate = self._sight.record.candidate if self._sight.record else ""
        if newer := lease.is_newer(candidate, self.terms.version):
            log.info("yielding", version=self.terms.version, candidate=candidate)
        return not newer

    def _hold_from(self, started: float) -> None:
        """Open the fence: others count from when they see the renewal, which is after the request was begun."""
        self._held_until = started + self.terms.renew_deadline_seconds
        self.gate.open_until(self._held_until)
        self.metrics.leader.set(1)

    async def _drain(self) -> bool:
        """Shut the fence and wait for the writes in flight; tell whether the Lease is still held after that."""
        self.gate.shut()
        try:
            async with asyncio.timeout(max(0.0, self._held_until - self.clock())):
                await self.gate.drained()
        except TimeoutError:
            return False
        return self.clock() < self._held_until

    async def _release(self) -> None:
        """Give the Lease up, so that another operator need not wait for its end."""
        try:
            async with asyncio.timeout(self.terms.renew_deadline_seconds / 2):
                try:
                    await self._let_go()
                except ApiError as error:
                    if error.status != HTTPStatus.CONFLICT:
                        raise
                    # A renewal was cut off on its way back, or a candidate marked the Lease.
                    self._see(await self._read())
                    await self._let_go()
        except (ApiError, *UNREACHABLE) as error:  # it ends by itself
            self._failed(error)

    async def _let_go(self) -> None:
        found = self._sight.record
        if found and self._sight.exists and found.holder == self.terms.identity:
            self._see(await self._patch(lease.released(found, self.wall_clock())))
            log.info("lease_released")

    async def _read(self) -> Record | None:
        found = await self.api.get(LEASE, self.terms.namespace, self.terms.name)
        return Record.of(found) if found else None

    async def _patch(self, body: dict[str, Any]) -> Record:
        return Record.of(await self.api.merge(LEASE, self.terms.namespace, self.terms.name, body))

    def _see(self, record: Record | None) -> None:
        before = self._sight.record.holder if self._sight.record else ""
        self._sight.see(record)
        holder = record.holder if record else ""
        if holder == before:
            return
        self.metrics.lease_holder.clear()
        if holder:
            self.metrics.lease_holder.labels(holder).set(1)
        if record and holder not in ("", self.terms.identity):
            log.info("standing_by", holder=holder, holder_version=record.version or "unknown")

    def _answered(self) -> None:
        """Take note that the API server does what it is asked again."""
        self.problem = self._failure = ""

    def _failed(self, error: Exception) -> None:
        """Count a failure, and report one that lasts once."""
        failure = str(error.status) if isinstance(error, ApiError) else type(error).__name__
        self.metrics.lease_failures.labels(failure).inc()
        if isinstance(error, ApiError) and error.status == HTTPStatus.CONFLICT:
            return  # another operator was faster
        place = f"Lease {self.terms.name} in namespace {self.terms.namespace}"
        if isinstance(error, ApiError) and error.status in _REFUSALS:
            self.problem = f"The API server refuses the {place}: {error.message or error}"
        if failure != self._failure:
            log.error("lease_failed", lease=place, error=str(error) or repr(error), remedy=_REMEDY)
        self._failure = failure
