"""The rate limit: who may ask how often.

The rule: in any RATE_LIMIT_WINDOW seconds at most RATE_LIMIT_REQUESTS requests of a key are admitted, over all
replicas together. Refused requests do not count. While Redis is down each process holds the same limit by itself, from
an empty start, so the worst case is the limit times the number of replicas: limited still, and nobody is locked out.
"""

import math

from assistant_runtime.errors import ApiError, StoreUnavailableError
from assistant_runtime.security.principal import Principal
from assistant_runtime.stores import RateLimitStore, Verdict


class RateLimit:
    """One limit for every client.

    Parameters
    ----------
    store
        Counts for all replicas.
    fallback
        Counts for this process while `store` is down.
    limit
        Requests that a window admits.
    window
        Its length in seconds.
    """

    def __init__(self, store: RateLimitStore, fallback: RateLimitStore, *, limit: int, window: int) -> None:
        self._store = store
        self._fallback = fallback
        self._limit = limit
        self._window = window

    async def admit(self, principal: Principal) -> dict[str, str]:
        """Count a request of a key, by its own limit where it has one; gives the headers that tell how it stands.

        Raises
        ------
        ApiError
            429, with `Retry-After` in seconds.
        """
        limit, window = principal.rate_limit or (self._limit, self._window)
        try:
            verdict = await self._store.hit(principal.key_id, limit, window)
        except StoreUnavailableError:
            verdict = await self._fallback.hit(principal.key_id, limit, window)
        headers = _headers(verdict, limit)
        if verdict.allowed:
            return headers
        wait = max(1, math.ceil(verdict.retry_after))
        raise ApiError(
            429,
            f"More than {limit} requests in {window} seconds. Try again in {wait} s.",
            error_type="rate_limit_error",
            code="rate_limit_exceeded",
            headers=headers | {"retry-after": str(wait)},
        )


def _headers(verdict: Verdict, limit: int) -> dict[str, str]:
    return {
        "x-ratelimit-limit-requests": str(limit),
        "x-ratelimit-remaining-requests": str(verdict.remaining),
        "x-ratelimit-reset-requests": f"{max(0.0, verdict.reset_after):.3f}s",
    }
