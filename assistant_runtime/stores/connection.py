"""A server that stores are kept in, and whether it answers: one way for Redis, MongoDB, PostgreSQL and Milvus.

A dead or hanging server must cost a chat almost nothing. So each command has a bounded time, the first failure marks
the server as down for everyone, and a background probe alone finds out when it is back.

Any exception is a failure of the server, whatever its class: what drivers and event loops raise for a broken connection
is no closed list. Two kinds are not: the runtime's own errors pass as they are, and a statement that the server refuses
is the error of that one request.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeVar

import structlog

from assistant_runtime.checks import optional
from assistant_runtime.ending import is_cancelled
from assistant_runtime.errors import AssistantError, StoreRefusedError, StoreUnavailableError
from assistant_runtime.supervisor import Work
from assistant_runtime.trust import distrust

UP_INTERVAL_SECONDS = 3.0
"""Only confirms what every request shows anyway, and notices an idle connection that died."""

DOWN_INTERVAL_SECONDS = 1.0
"""How long a server that is back may stay unused."""

PROBE_SECONDS = 2.0
"""For a probe of a server that is down, if a command has no less: it has new connections, and is repeated. One that is
up has twice the time."""

ASIDE_SECONDS = 15.0
"""For work that nobody waits for, as a ledger's flush or the deletion of what expired. The end of a process may."""

T = TypeVar("T")


class StoreConnection(ABC):
    """One server, and whether it answers.

    A subclass says how to ask it and what its errors mean; `call` every command through here.

    Parameters
    ----------
    name
        The server's name as a person writes it, such as `Redis`; in lower case that of its log events.
    seconds
        Longest time for one command.
    loss
        What the assistant does without it; the end of /ready's detail.
    prepared
        Whether it can be used as it is; false: not before `prepare` was done once.
    """

    def __init__(self, name: str, seconds: float, loss: str, *, prepared: bool = True) -> None:
        self.name = name
        self._seconds = seconds
        self._loss = loss
        self._log = structlog.get_logger(__name__)
        self._status = "starting"
        self._detail = "not asked yet"
        self._failed = asyncio.Event()
        self._needs_preparation = not prepared
        self._prepared = prepared
        self._unprepared = asyncio.Event()
        self._probing: asyncio.Timeout | None = None
        self._preparation: asyncio.Timeout | None = None
        self._obstacle = ""
        """Why it could not be prepared."""
        self._remark = ""
        """What it refuses for a reason of its own, such as a full disk."""
        self._broken = False
        """Whether there may be connections that are broken without saying so."""
        self._generation = 0
        """Of the connections; a command on an older one says nothing about the server."""

    @abstractmethod
    async def ping(self) -> None:
        """Ask the server something that needs no data; raises whatever its client does."""

    def reason(self, error: Exception) -> str:
        """Say what is wrong without the URL, which may hold a password."""
        if isinstance(error, TimeoutError):
            return f"{self.name} did not answer in time"
        if untrusted := distrust(error, f"{self.name.upper()}_CA_FILE"):
            return f"{self.name} {untrusted}"
        return f"{self.name} can't be reached"

    def refusal(self, error: Exception) -> StoreRefusedError | None:
        """Give the error of the request whose statement the server refuses; None where it is the server that fails."""
        if isinstance(error, UnicodeEncodeError | OverflowError):
            # The client could not even write it.
            return StoreRefusedError(f"{self.name} can't store a value of this request: {error}", status=400)
        return None

    async def prepare(self) -> None:  # noqa: B027 - not every server needs it
        """Do what the server needs before its use, such as tables or indexes; done again whenever it is back."""

    async def use(self) -> None:  # noqa: B027 - as above
        """Do what is left to do once it is in use; a failure is tried again when the server is next back."""

    async def renew(self) -> None:  # noqa: B027 - as above
        """Drop every connection of a server that is down; what hangs on one may end by that."""

    async def aclose(self) -> None:
        """Close every connection, for good: what comes later is refused, where a client would connect once more."""
        self._status, self._detail = "closed", "the process ends"
        await self.disconnect()

    @abstractmethod
    async def disconnect(self) -> None:
        """Close every connection."""

    def works(self) -> dict[str, Work]:
        """Give what goes on in the background, by name."""
        name = self.name.lower()
        return {name: self.run} | ({f"{name}-preparation": self.keep_prepared} if self._needs_preparation else {})

    async def run(self) -> None:
        """Probe until cancelled: from time to time while it is up, at once after a failure, and often while down."""
        while True:
            begun = asyncio.get_running_loop().time()
            self._failed.clear()
            self._remark = ""
            await self.probe()
            if self._status == "up":
                with suppress(TimeoutError):
                    async with asyncio.timeout(UP_INTERVAL_SECONDS):
                        await self._failed.wait()
            # Also where it answers each probe and fails each command.
            await asyncio.sleep(begun + DOWN_INTERVAL_SECONDS - asyncio.get_running_loop().time())

    async def open(self) -> None:
        """Probe and prepare it once: for a start, and for a program that has no background."""
        await self.probe()
        if self._status == "up" and self._unprepared.is_set():
            await self._prepare_once()

    async def probe(self) -> None:
        """Find out whether the server answers."""
        was_up = self._status == "up"
        error = await self._problem()
        if error is not None and was_up and not isinstance(error, TimeoutError):
            # Perhaps the connection broke, and not the server.
            error = await self._problem()
        if error is not None:
            self.mark_down(error)
        elif self._status != "up":
            self._status, self._detail = "up", ""
            self._log.info(f"{self.name.lower()}_status", status="up")
            if self._needs_preparation:
                self._unprepared.set()

    async def keep_prepared(self) -> None:
        """Prepare the server whenever it has come up, until cancelled; however long that takes, it counts as up."""
        while True:
            await self._unprepared.wait()
            if not await self._prepare_once():
                await asyncio.sleep(DOWN_INTERVAL_SECONDS)
                continue
            try:
                await self.use()
            except Exception as error:  # noqa: BLE001 - nobody waits for it
                self._log.warning(
                    f"{self.name.lower()}_leftovers", detail=self.reason(error), error=type(error).__name__
                )

    async def call(self, command: Callable[[], Awaitable[T]]) -> T:
        """Run a command, unless the server is known to be down.

        Raises
        ------
        StoreRefusedError
            The server refuses this command, and serves others.
        StoreUnavailableError
            The server is known to be down, or just failed.
        """
        self.check_available()
        generation = self._generation
        try:
            return await _timed(command, self._seconds)
        except AssistantError:
            raise
        except Exception as error:
            raise self.judged(error, generation) from error

    async def aside(self, command: Callable[[], Awaitable[T]]) -> T:
        """Run work that nobody waits for, unless the server is known to be down.

        It may take longer than a request's command, and its failure says nothing of the server.

        Raises
        ------
        StoreRefusedError
            The server refuses it.
        StoreUnavailableError
            The server is known to be down, or the work failed.
        """
        self.check_available()
        try:
            return await _timed(command, ASIDE_SECONDS)
        except AssistantError:
            raise
        except Exception as error:
            if refused := self.refusal(error):
                raise refused from error
            self._log.warning(f"{self.name.lower()}_background_work_failed", error=type(error).__name__)
            raise StoreUnavailableError(f"{self.name} did not do background work") from error

    def check_available(self) -> None:
        """Raise StoreUnavailableError if the server is known to be down, or is not prepared yet."""
        if not self.available:
            raise StoreUnavailableError(f"{self.name} is {self.check()['status']}")

    def judged(self, error: Exception, generation: int) -> StoreUnavailableError:
        """Give what callers are told of a command that failed, and take note of it.

        Parameters
        ----------
        error
            What the client raised.
        generation
            Of the connections, when the command began.
        """
        if refused := self.refusal(error):
            if refused.lasting:
                self._remark = str(refused)
            self._log.warning(f"{self.name.lower()}_refused", detail=str(refused))
            return refused
        if generation == self._generation:
            self.mark_down(error)
        return StoreUnavailableError(f"{self.name} does not answer")

    @property
    def available(self) -> bool:
        """Whether a command is worth trying."""
        return self._status == "up" and self._prepared

    @property
    def generation(self) -> int:
        """Which connections commands begin on now."""
        return self._generation

    def check(self) -> dict[str, Any]:
        """Give the readiness check; chat goes on without the server."""
        if self._status != "up":
            return optional(self._status, self._detail)
        if not self._prepared:
            return optional("preparing", f"{self._obstacle or 'its tables and indexes are being made'}; {self._loss}")
        if problem := self._remark or self._obstacle:
            return {"status": "up", "required": False, "degraded": True, "detail": problem}
        return optional("up", "")

    def mark_down(self, error: Exception) -> None:
        """Note that the server failed."""
        reason = self.reason(error)
        was_up = self._status == "up"
        if self._status != "down":
            self._log.warning(f"{self.name.lower()}_status", status="down", detail=reason, error=type(error).__name__)
        self._status, self._detail = "down", f"{reason}; {self._loss}"
        self._failed.set()
        self._broken = self._broken or was_up or isinstance(error, TimeoutError)
        # Perhaps it hangs on a connection of before, and the next one has another.
        _cut_short(self._probing)

    async def _problem(self) -> Exception | None:
        """Ask the server, on new connections where it is down; gives what went wrong."""
        try:
            if self._status == "down":
                async with asyncio.timeout(min(self._seconds, PROBE_SECONDS)):
                    await self._renew_if_broken()
                    await self.ping()
            else:
                async with asyncio.timeout(min(self._seconds, 2 * PROBE_SECONDS)) as self._probing:
                    await self.ping()
        except Exception as error:  # noqa: BLE001 - whatever it is, the server is not in use until it answers
            return error
        finally:
            self._probing = None
        return None

    async def _renew_if_broken(self) -> None:
        """Drop the connections of a time when the server was up, or that hang, and end what hangs on them."""
        if self._broken:
            self._generation += 1
            _cut_short(self._preparation)
            await self.renew()
            self._broken = False

    async def _prepare_once(self) -> bool:
        """Prepare the server; says whether that was done."""
        try:
            async with asyncio.timeout(None) as self._preparation:
                await self.prepare()
        except Exception as error:  # noqa: BLE001 - it is tried again, and the server goes on meanwhile
            self._obstacle = f"it could not be prepared: {self.reason(error)}"
            self._log.warning(f"{self.name.lower()}_not_prepared", detail=self._obstacle, error=type(error).__name__)
            return False
        finally:
            self._preparation = None
        self._unprepared.clear()
        self._prepared, self._obstacle = True, ""
        return True


def _cut_short(limit: asyncio.Timeout | None) -> None:
    """Let the time of something be over now."""
    if limit is not None and not limit.expired():
        limit.reschedule(0)


async def _timed(command: Callable[[], Awaitable[T]], seconds: float) -> T:
    try:
        async with asyncio.timeout(seconds):
            return await command()
    except asyncio.CancelledError:
        if is_cancelled():
            raise
        # Something within the client was cancelled, and not this request.
        raise ConnectionError("the client ended the command") from None
