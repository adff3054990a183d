"""API keys, and the tenant that each stands for.

Keys are compared as HMACs, each with every other, so that the time taken says nothing about a key; and the tenant's id
is an HMAC too, so that it can stand in logs, metrics and Redis.
"""

import hashlib
import hmac
from collections.abc import Iterable

from assistant_runtime.errors import ApiError
from assistant_runtime.security.principal import USER_SCOPES, Principal

TENANT_CHARACTERS = 16
"""64 bits: no two tenants of one installation collide."""

MANAGED_PREFIX = b"ak-"
"""By which a key that /v1/keys made is recognised; also by scanners for secrets in source code."""


class Digests:
    """HMACs of what must not be told.

    Parameters
    ----------
    hmac_key
        The same for every replica.
    """

    def __init__(self, hmac_key: bytes) -> None:
        self._begun = hmac.new(hmac_key, digestmod=hashlib.sha256)

    def digest(self, secret: bytes) -> bytes:
        """Give the HMAC of a key."""
        # OpenSSL looks its algorithm up anew for each HMAC that is not a copy.
        mac = self._begun.copy()
        mac.update(secret)
        return mac.digest()

    def tenant(self, secret: bytes) -> str:
        """Give the id of the tenant that a key or a name stands for."""
        return self.digest(secret).hex()[:TENANT_CHARACTERS]

    def user(self, name: str) -> str:
        """Give the id of the user of that name, which is a tenant's."""
        return self.tenant(f"user:{name}".encode())


class ApiKeys:
    """The keys of API_KEYS, which open everything; with none, everyone may ask, and nobody is an administrator.

    Parameters
    ----------
    keys
        The keys in the clear; only their HMACs are kept.
    digests
        Makes the HMACs.
    """

    def __init__(self, keys: Iterable[str], digests: Digests) -> None:
        self._digests = digests
        self._known = tuple(digests.digest(key.encode()) for key in keys)

    def __bool__(self) -> bool:
        return bool(self._known)

    def anonymous(self, address: str) -> Principal:
        """Give whom a client's address stands for."""
        tenant = self._digests.tenant(b"address:" + address.encode())
        return Principal(tenant, tenant, USER_SCOPES)

    def principal(self, digest: bytes) -> Principal | None:
        """Give whom a key of this HMAC stands for; None: it is none of ours."""
        if sum(hmac.compare_digest(digest, known) for known in self._known) == 0:
            return None
        tenant = digest.hex()[:TENANT_CHARACTERS]
        return Principal(tenant, tenant)


def bearer(authorization: bytes | None) -> bytes:
    """Give the key or token of an Authorization header.

    Raises
    ------
    ApiError
        401: there is none.
    """
    scheme, _, key = (authorization or b"").partition(b" ")
    if scheme.lower() != b"bearer" or not key.strip():
        raise refused("No API key was given. Send it as `Authorization: Bearer <key>`.")
    return key.strip()


def refused(message: str) -> ApiError:
    """Give the error for a key or token that opens nothing."""
    return ApiError(
        401,
        message,
        error_type="authentication_error",
        code="invalid_api_key",
        headers={"www-authenticate": "Bearer"},
    )
