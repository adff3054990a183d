"""Who asks: a tenant, through a key or a token, and what that opens."""

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Literal, get_args

from assistant_runtime.errors import ApiError

Scope = Literal["chat", "sessions", "documents", "agents", "writers", "admin"]

ALL_SCOPES: frozenset[str] = frozenset(get_args(Scope))
USER_SCOPES = ALL_SCOPES - {"admin"}

_PATHS: tuple[tuple[str, tuple[Scope, ...]], ...] = (
    ("/v1/chat/completions", ("chat",)),
    ("/v1/completions", ("chat",)),
    ("/v1/responses", ("chat",)),
    ("/v1/embeddings", ("chat",)),
    ("/v1/models", ("chat",)),
    ("/v1/rerank", ("chat",)),
    ("/v1/sessions", ("sessions",)),
    ("/v1/documents", ("documents",)),
    ("/v1/search", ("documents",)),
    ("/v1/agents", ("agents",)),
    ("/v1/writers", ("writers",)),
    ("/v1/keys", ("admin",)),
    ("/v1/users", ("admin",)),
    # Of everyone to an administrator, of itself to another key.
    ("/v1/usage", ("chat", "admin")),
)
"""Where routes begin, and the scopes of which each opens them. What stands nowhere here is an administrator's."""


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
    tokens_per_minute: int | None = None
    """Tokens; None: the default limit."""
    max_parallel_requests: int | None = None
    """Requests at once, in each process; None: the default limit."""
    models: frozenset[str] | None = None
    """Names of the models that it may ask; None: all."""
    tools: frozenset[str] | None = None
    """Names of the runtime's tools that it may use, where `*` at the end stands for any; None: all."""

    def may_use(self, tool: str) -> bool:
        """Whether a tool of the runtime is allowed."""
        return self.tools is None or any(fnmatchcase(tool, allowed) for allowed in self.tools)

    def require(self, scope: Scope, param: str | None = None) -> None:
        """Refuse what needs a scope that the key does not have; `param` is the request's field that asks for it.

        Raises
        ------
        ApiError
            403, naming the scope.
        """
        if scope in self.scopes:
            return
        lack = (
            "send a key that has it, such as one of API_KEYS"
            if scope == "admin"
            else "the key or token does not have it"
        )
        raise ApiError(
            403,
            f"{param or 'This'} needs the scope `{scope}`: {lack}.",
            error_type="permission_error",
            code="insufficient_scope",
            param=param,
        )


def scopes_for(path: str) -> tuple[Scope, ...]:
    """Give the scopes of which each opens a path of the API; none: none is named for it."""
    return next((scopes for start, scopes in _PATHS if path == start or path.startswith(f"{start}/")), ())
