"""The readiness check of stores that live in this process."""

from typing import Any


class Embedded:
    """Says that there is no server, which is fine for one process and wrong for several.

    Parameters
    ----------
    detail
        Which variable is not set, and what follows.
    """

    def __init__(self, detail: str) -> None:
        self._detail = detail

    def check(self) -> dict[str, Any]:
        """Give the readiness check."""
        return {"status": "embedded", "required": False, "detail": self._detail}
