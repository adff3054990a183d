"""A server that stores are kept in, and whether it answers: one way for Redis, MongoDB, PostgreSQL and Milvus.

A dead or hanging server must cost a chat almost nothing. So each command has a bounded time, the first failure marks
the server as down for everyone, and a background probe alone finds out when it is back.

Any exception is a failure of the server, whatever its class: what drivers and event loops raise for a broken connection
is no closed list. Only the runtime's own errors pass as they are.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import structlog

from assistant_runtime.checks import optional
from assistant_runtime.errors import AssistantError, StoreUnavailableError
from assistant_runtime.trust import distrust

UP_INTERVAL_SECONDS = 5.0
"""Only confirms what every request shows anyway, and notices an idle connection that died."""

DOWN_INTERVAL_SECONDS = 1.0
"""How long a server that is back may stay unused."""

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
    """

    def __init__(self, name: str, seconds: float, loss: str) -> None:
        self.name = name
        self._seconds = seconds
        self._loss = loss
        self._log = structlog.get_logger(__name__)
        self._status = "starting"
        self._detail = "not asked yet"
        self._failed = asyncio.Event()
        self._prepared = False

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

    async def prepare(self) -> None:  # noqa: B027 - not every server needs it
        """Do what the server needs once before its first use, such as tables or indexes."""

    @abstractmethod
    async def aclose(self) -> None:
        """Close every connection."""

    def starting_over(self) -> None:  # noqa: B027 - as above
        """Forget what the next probe finds out anew."""

    async def run(self) -> None:
        """Probe until cancelled."""
        while True:
            self._failed.clear()
            self.starting_over()
            await self.probe()
            if self._status != "up":
                await asyncio.sleep(DOWN_INTERVAL_SECONDS)
                continue
            try:
                async with asyncio.timeout(UP_INTERVAL_SECONDS):
                    await self._failed.wait()
            except TimeoutError:
                continue
            await asyncio.sleep(DOWN_INTERVAL_SECONDS)

    async def probe(self) -> None:
        """Find out whether the server answers."""
        try:
            if not self._prepared:
                await self.bounded(self.prepare)
                self._prepared = True
            await self.bounded(self.ping)
        except StoreUnavailableError:
            return
        if self._status != "up":
            self._status, self._detail = "up", ""
            self._log.info(f"{self.name.lower()}_status", status="up")

    async def call(self, command: Callable[[], Awaitable[T]]) -> T:
        """Run a command, unless the server is known to be down.

        Raises
        ------
        StoreUnavailableError
            The server is known to be down, or just failed.
        """
        self.check_available()
        return await self.bounded(command)

    async def bounded(self, command: Callable[[], Awaitable[T]]) -> T:
        """Run a command for its longest time, also with a server that counts as down.

        Raises
        ------
        StoreUnavailableError
            It failed; from now on the server counts as down.
        """
        try:
            async with asyncio.timeout(self._seconds):
                return await command()
        except AssistantError:
            raise
        except Exception as error:
            raise self.given_up(error) from error

    async def aside(self, command: Callable[[], Awaitable[T]]) -> T:
        """Run work that nobody waits for, unless the server is known to be down.

        It may take longer than a request's command, and its failure says nothing of the server.

        Raises
        ------
        StoreUnavailableError
            The server is known to be down, or the work failed.
        """
        self.check_available()
        try:
            async with asyncio.timeout(ASIDE_SECONDS):
                return await command()
        except AssistantError:
            raise
        except Exception as error:
            self._log.warning(f"{self.name.lower()}_background_work_failed", error=type(error).__name__)
            raise StoreUnavailableError(f"{self.name} did not do background work") from error

    def check_available(self) -> None:
        """Raise StoreUnavailableError if the server is known to be down."""
        if not self.available:
            raise StoreUnavailableError(f"{self.name} is down")

    def given_up(self, error: Exception) -> StoreUnavailableError:
        """Count the server as down, for this reason, and give what its callers are told."""
        self.mark_down(error)
        return StoreUnavailableError(f"{self.name} does not answer")

    @property
    def available(self) -> bool:
        """Whether a command is worth trying."""
        return self._status == "up"

    def check(self) -> dict[str, Any]:
        """Give the readiness check; chat goes on without the server."""
        return optional(self._status, self._detail)

    def mark_down(self, error: Exception) -> None:
        """Note that the server failed."""
        reason = self.reason(error)
        if self._status != "down":
            self._log.warning(f"{self.name.lower()}_status", status="down", detail=reason)
        self._status, self._detail = "down", f"{reason}; {self._loss}"
        self._failed.set()
