"""What /ready tells of a dependency, always from memory."""

from typing import Any, Protocol


class Check(Protocol):
    """Tells how a dependency is, from memory."""

    def check(self) -> dict[str, Any]:
        """Give `status`, `required`, and `detail` where there is something to do."""


def optional(status: str, detail: str) -> dict[str, Any]:
    """Give the check of a server without which everything else goes on."""
    told: dict[str, Any] = {"status": status, "required": False}
    return told | {"detail": detail} if detail else told
