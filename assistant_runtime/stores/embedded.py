"""The readiness check of stores that live in this process."""

from typing import Any


class EmbeddedStores:
    """Says that there is no Redis, which is fine for one process and wrong for several."""

    def check(self) -> dict[str, Any]:
        """Give the readiness check `redis`."""
        return {
            "status": "embedded",
            "required": False,
            "detail": "REDIS_URL is not set: limits and cache are kept in this process alone",
        }
