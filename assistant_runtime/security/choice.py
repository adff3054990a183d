"""Which parts of security are in use, by the settings and the stores; imported only where they are."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from assistant_runtime.security.accounts import Accounts
from assistant_runtime.security.api_keys import ApiKeys, Digests
from assistant_runtime.security.authentication import Authentication
from assistant_runtime.security.key_ring import KeyRing, key_ring_of
from assistant_runtime.security.rate_limit import RateLimit
from assistant_runtime.security.spending import Budgets
from assistant_runtime.security.tenants import Tenants
from assistant_runtime.settings import Settings
from assistant_runtime.stores.budgets import MemoryBudgets
from assistant_runtime.stores.choice import Stores
from assistant_runtime.stores.memory import MemoryRateLimits

if TYPE_CHECKING:
    from assistant_runtime.security.audit import AuditLog
    from assistant_runtime.security.ledger import UsageLedger
    from assistant_runtime.security.managed_keys import ManagedKeys
    from assistant_runtime.security.oidc import OidcTokens
    from assistant_runtime.stores.audit import AuditSink


@dataclass(frozen=True, slots=True)
class Security:
    """Who may ask, how often, and how much."""

    authentication: Authentication
    limit: RateLimit | None
    accounts: Accounts
    managed: "ManagedKeys | None"
    ledger: "UsageLedger | None"
    audit: "AuditLog | None"
    tokens: "OidcTokens | None"


def choose_security(settings: Settings, stores: Stores, refused: Callable[[str], None] = lambda _: None) -> Security:
    """Pick the parts; `refused` counts records that a store can't keep, by their kind."""
    ring = key_ring_of(settings)
    # Keys that the first version made are known by HMACs with the secret itself.
    digests = Digests(ring.key("api-keys"), (*ring.older("api-keys"), *ring.secrets))
    tenants = Tenants(ring, stores.tenants)
    managed, ledger = in_database(stores, digests, tenants, refused)
    keys = ApiKeys((key.get_secret_value() for key in settings.api_keys), digests)
    limit = RateLimit(
        stores.limits,
        MemoryRateLimits(),
        limit=settings.rate_limit_requests,
        window=settings.rate_limit_window,
    )
    budgets = Budgets(
        stores.budgets,
        MemoryBudgets(),
        ledger.counted if ledger else None,
        daily=settings.token_budget_daily,
        monthly=settings.token_budget_monthly,
        per_minute=settings.tokens_per_minute,
    )
    tokens = _tokens(settings, tenants)
    return Security(
        Authentication(keys, digests, tenants, managed, tokens),
        limit if settings.rate_limit_enabled else None,
        Accounts(budgets, ledger),
        managed,
        ledger,
        _audit(settings, stores, ring, refused),
        tokens,
    )


def in_database(
    stores: Stores, digests: Digests, tenants: Tenants, refused: Callable[[str], None]
) -> "tuple[ManagedKeys | None, UsageLedger | None]":
    """Give the keys that administrators make, and the ledger, where there is a database."""
    if stores.database is None:
        return None, None
    from assistant_runtime.security.ledger import UsageLedger  # noqa: PLC0415 - see the module's docstring
    from assistant_runtime.security.managed_keys import ManagedKeys  # noqa: PLC0415
    from assistant_runtime.stores.keys import SqlKeys  # noqa: PLC0415
    from assistant_runtime.stores.users import SqlUsers  # noqa: PLC0415

    store = SqlKeys(stores.database)
    return ManagedKeys(store, SqlUsers(stores.database), digests, tenants), UsageLedger(store, refused=refused)


def _audit(settings: Settings, stores: Stores, ring: KeyRing, refused: Callable[[str], None]) -> "AuditLog | None":
    if not settings.audit_enabled:
        return None
    from assistant_runtime.security.audit import AuditLog, Chain, audit_keys  # noqa: PLC0415 - as above

    key, older = audit_keys(ring)
    return AuditLog(audit_sink(stores), Chain(key, older=older), settings.retention_audit_days, refused)


def audit_sink(stores: Stores) -> "AuditSink":
    """Pick where audit records are kept: MongoDB, else the SQL database, else the process's log."""
    from assistant_runtime.stores.audit import LogAudit, MongoAudit, SqlAudit  # noqa: PLC0415 - as above

    if stores.mongodb is not None:
        return MongoAudit(stores.mongodb)
    return SqlAudit(stores.database) if stores.database is not None else LogAudit()


def _tokens(settings: Settings, tenants: Tenants) -> "OidcTokens | None":
    if settings.oidc_issuer is None:
        return None
    from assistant_runtime.security.oidc import OidcTokens  # noqa: PLC0415 - see the module's docstring

    return OidcTokens(
        settings.oidc_issuer,
        settings.oidc_audience,
        tenants,
        tenant_claim=settings.oidc_tenant_claim,
        scopes_claim=settings.oidc_scopes_claim,
        ca_file=settings.oidc_ca_file,
    )
