"""What the runtime keeps between requests, behind Protocols: in Redis, or in this process where there is no Redis.

A store that does not answer raises StoreUnavailableError; whoever uses it says what happens then. `app.py` picks the
stores, and imports an SDK only when its store is used.
"""

from dataclasses import dataclass
from typing import Protocol

from assistant_runtime.supervisor import Work

LINGER_SECONDS = 24 * 3600
"""What counts of a limit are kept beyond their time. Redis with the policy volatile-ttl evicts first what ends soonest:
so that is cached answers (CACHE_TTL, an hour by default), and no count that a limit depends on."""


@dataclass(slots=True)
class Verdict:
    """What a rate limit says to one request."""

    allowed: bool
    remaining: int
    """Requests that are still admitted now."""
    retry_after: float
    """Seconds until the next request is admitted; 0 while some remain."""
    reset_after: float
    """Seconds until the whole limit is there again."""


class RateLimitStore(Protocol):
    """Counts requests in a sliding window."""

    async def hit(self, key: str, limit: int, window: float) -> Verdict:
        """Admit the request if fewer than `limit` were admitted in the last `window` seconds.

        Raises
        ------
        StoreUnavailableError
            Nothing was counted.
        """


class CacheStore(Protocol):
    """Keeps bytes for a time."""

    async def get(self, key: str) -> bytes | None:
        """Give the value, or None; raises StoreUnavailableError."""

    async def put(self, key: str, value: bytes, ttl: int) -> None:
        """Keep the value for `ttl` seconds; raises StoreUnavailableError."""


class Backend(Protocol):
    """A server that stores are kept in."""

    name: str
    """As a person writes it."""

    async def open(self) -> None:
        """Find out whether it answers, and prepare it."""

    def works(self) -> dict[str, Work]:
        """Give what goes on in the background, by name."""

    async def aclose(self) -> None:
        """Close every connection."""
