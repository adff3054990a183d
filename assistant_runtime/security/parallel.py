"""How many requests of one key this process answers at once, so that no key can take all of it."""

from assistant_runtime.errors import ApiError
from assistant_runtime.security.principal import Principal

Headers = list[tuple[bytes, bytes]]


class ParallelRequests:
    """Counts the requests of each key that are being answered.

    Parameters
    ----------
    limit
        Requests at once of a key that has no limit of its own; 0: without limit.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._running: dict[str, int] = {}

    def enter(self, principal: Principal) -> Headers:
        """Count a request in; gives the headers that tell how its key stands.

        Raises
        ------
        ApiError
            429, with `Retry-After` in seconds: the key has as many as it may have.
        """
        limit = principal.max_parallel_requests or self._limit
        running = self._running.get(principal.key_id, 0)
        if limit and running >= limit:
            raise _too_many(limit)
        self._running[principal.key_id] = running + 1
        if not limit:
            return []
        return [
            (b"x-ratelimit-limit-parallel-requests", b"%d" % limit),
            (b"x-ratelimit-remaining-parallel-requests", b"%d" % (limit - running - 1)),
        ]

    def leave(self, principal: Principal) -> None:
        """Count a request out."""
        running = self._running[principal.key_id] - 1
        if running:
            self._running[principal.key_id] = running
        else:
            del self._running[principal.key_id]


def _too_many(limit: int) -> ApiError:
    return ApiError(
        429,
        f"More than {limit} requests at once. Wait for one of them to finish, or request a higher limit.",
        error_type="rate_limit_error",
        code="parallel_requests_exceeded",
        headers={
            "x-ratelimit-limit-parallel-requests": str(limit),
            "x-ratelimit-remaining-parallel-requests": "0",
            "retry-after": "1",
        },
    )
