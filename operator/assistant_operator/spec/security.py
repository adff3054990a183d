"""Who may call the assistant, how much they may spend, and what is recorded, in the spec."""

from typing import Annotated

from pydantic import Field

from assistant_operator.spec.base import CertificateKeyRef, Model, SecretKeyRef, certificates_need_tls
from assistant_operator.spec.values import URL, Origin

Claim = Annotated[str, Field(min_length=1, max_length=128)]
Tokens = Annotated[int, Field(ge=1, le=10**15)]


class OIDC(Model):
    """An OpenID Connect provider whose tokens (JWT) clients may send in place of an API key."""

    rules = (certificates_need_tls("issuer", "spec.security.oidc.issuer"),)

    issuer: URL
    """Issuer, exactly as its tokens name it, such as https://login.example.com/realms/main."""
    audience: Annotated[str, Field(min_length=1, max_length=256)]
    """Audience that a token must name, so that tokens for other applications are refused."""
    tenant_claim: Claim = "sub"
    """Claim that names a token's tenant: who shares sessions and documents."""
    scopes_claim: Claim | None = None
    """Claim with a token's scopes, such as `chat` and `sessions`. Default: every token has all but `admin`."""
    ca_from: CertificateKeyRef | None = None
    """Key with the certificates (PEM) to trust for the issuer. Default: those that the image trusts."""


class Audit(Model):
    """The audit log: who did what, in chains that show tampering."""

    enabled: bool = False
    """Whether access, tool calls and changes are recorded, in MongoDB, else PostgreSQL, else among the log's lines."""


class TokenBudget(Model):
    """Tokens that each client may spend, counted across the runtime's pods."""

    daily: Tokens | None = None
    """Tokens of one client in a day (UTC). Default: without limit."""
    monthly: Tokens | None = None
    """Tokens of one client in a month (UTC). Default: without limit."""


class Security(Model):
    """Who may call the assistant, and from where."""

    api_keys_from: SecretKeyRef | None = None
    """Secret key with the clients' API keys, one a line. Default: a generated one in Secret <name>-api-keys."""
    oidc: OIDC | None = None
    """An OpenID Connect provider whose tokens are taken beside API keys. Default: none."""
    audit: Audit = Audit()
    """The audit log."""
    cors_origins: Annotated[list[Origin], Field(max_length=64)] = []
    """Web origins whose pages may call the API, such as https://chat.example.com; `*` for all."""
    behind_proxy: bool | None = None
    """Whether X-Forwarded-For and X-Forwarded-Proto are believed. Default: true when `ingress.enabled`."""
