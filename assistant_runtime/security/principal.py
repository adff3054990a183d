"""Who asks: a tenant, through a key or a token, and what that opens."""

from dataclasses import dataclass, field
from typing import Literal, get_args

from assistant_runtime.errors import ApiError

Scope = Literal["chat", "sessions", "documents", "agents", "writers", "admin"]

ALL_SCOPES: frozenset[str] = frozenset(get_args(Scope))
USER_SCOPES = ALL_SCOPES - {"admin"}

_PATHS: tuple[tuple[str, str], ...] = (
    ("/v1/sessions", "sessions"),
    ("/v1/documents", "documents"),
    ("/v1/search", "documents"),
    ("/v1/agents", "agents"),
    ("/v1/writers", "writers"),
    ("/v1/keys", "admin"),
    ("/v1/users", "admin"),
    ("/v1/usage", "admin"),
)
"""Where routes begin that need another scope than `chat`."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Whoever a request comes from."""

    tenant: str
    """Id of whom sessions, documents and cached answers belong to."""
    key_id: str
    """Id of the key or token, which limits, budgets and usage are counted for."""
    scopes: frozenset[str] = field(default=ALL_SCOPES)
    rate_limit: tuple[int, int] | None = None
    """Requests and seconds of a limit of its own."""
    budget_daily: int | None = None
    """Tokens; None: the default budget."""
    budget_monthly: int | None = None

    def check(self, path: str) -> None:
        """Refuse a path that the key does not open.

        Raises
        ------
        ApiError
            403, naming the scope.
        """
        needed = scope_for(path)
        if needed not in self.scopes:
            lack = (
                "send a key that has it, such as one of API_KEYS"
                if needed == "admin"
                else "the key or token does not have it"
            )
            raise ApiError(
                403,
                f"This needs the scope `{needed}`: {lack}.",
                error_type="permission_error",
                code="insufficient_scope",
            )


def scope_for(path: str) -> str:
    """Give the scope that a path of the API needs."""
    return next((scope for start, scope in _PATHS if path == start or path.startswith(f"{start}/")), "chat")
