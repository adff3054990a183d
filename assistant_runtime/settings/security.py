"""Who may ask beside the keys of API_KEYS, how many tokens, and what is recorded of it."""

from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from assistant_runtime.settings.values import CertificatesFile, Group, http_url

MAX_TOKENS = 10**15
"""Far beyond any bill, and exact in Lua's numbers."""


def _issuer(value: Any) -> Any:
    if isinstance(value, str) and value.endswith("/"):
        # A token's issuer is compared character by character, so the slash at its end belongs to it.
        return f"{http_url(value, 'https://login.example.com/realms/main')}/"
    return http_url(value, "https://login.example.com/realms/main")


class SecurityGroup(Group):
    """Identity, budgets and audit."""

    oidc_issuer: Annotated[str | None, BeforeValidator(_issuer)] = Field(
        None,
        description=(
            "Issuer of OpenID Connect tokens (JWT) that clients may send in place of an API key, exactly as "
            "its tokens name it. Empty: no tokens are accepted."
        ),
    )
    oidc_audience: str = Field("", description="Audience that a token must name. Required with OIDC_ISSUER.")
    oidc_tenant_claim: str = Field(
        "sub", min_length=1, description="Claim that names a token's tenant; one tenant shares sessions and documents."
    )
    oidc_scopes_claim: str = Field(
        "",
        description=(
            "Claim with a token's scopes (`chat`, `sessions`, `documents`, `agents`, `writers`, `admin`), as "
            "a list or space-separated. Empty: every token has all but `admin`."
        ),
    )
    oidc_ca_file: CertificatesFile = Field(None, description="File of certificates (PEM) to trust for the issuer.")
    token_budget_daily: int = Field(
        0, ge=0, le=MAX_TOKENS, description="Tokens that each key may spend in a day (UTC). 0: without limit."
    )
    token_budget_monthly: int = Field(
        0, ge=0, le=MAX_TOKENS, description="Tokens that each key may spend in a month (UTC). 0: without limit."
    )
    tokens_per_minute: int = Field(
        0, ge=0, le=MAX_TOKENS, description="Tokens that each key may spend in any 60 seconds. 0: without limit."
    )
    max_parallel_requests: int = Field(
        500,
        ge=0,
        le=100_000,
        description=(
            "Requests of each key (or of each client address, if there are no keys) that a process handles at "
            "once; more get 429. 0: without limit."
        ),
    )
    audit_enabled: bool = Field(
        default=False,
        description=(
            "Record access, tool calls and changes in a tamper-evident log: in MongoDB, else the SQL "
            "database, else the process's log. Needs SECRET_KEY."
        ),
    )

    def problems(self) -> Iterable[str]:
        """Say what does not fit together."""
        if self.oidc_issuer and not self.oidc_audience:
            yield "OIDC_AUDIENCE: set it with OIDC_ISSUER, or tokens for other applications would be taken"
        if self.audit_enabled and not getattr(self, "secret_key", None):
            yield "SECRET_KEY: set it with AUDIT_ENABLED, or nobody could verify the audit log"
