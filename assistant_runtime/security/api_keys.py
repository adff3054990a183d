"""API keys.

Keys are compared as HMACs, each with every other, so that the time taken says nothing about a key.
"""

import hashlib
import hmac
from collections.abc import Iterable

from assistant_runtime.errors import ApiError

MANAGED_PREFIX = b"ak-"
"""By which a key that /v1/keys made is recognised; also by scanners for secrets in source code."""


class Digests:
    """HMACs of keys, by which they are known.

    Parameters
    ----------
    hmac_key
        The same for every replica.
    older
        Keys that such HMACs were made with before.
    """

    def __init__(self, hmac_key: bytes, older: Iterable[bytes] = ()) -> None:
        self._begun = hmac.new(hmac_key, digestmod=hashlib.sha256)
        self._older = tuple(older)

    def digest(self, secret: bytes) -> bytes:
        """Give the HMAC of a key."""
        # OpenSSL looks its algorithm up anew for each HMAC that is not a copy.
        mac = self._begun.copy()
        mac.update(secret)
        return mac.digest()

    def older(self, secret: bytes) -> list[bytes]:
        """Give the HMACs by which a key may have been known before."""
        return [hmac.digest(key, secret, hashlib.sha256) for key in self._older]


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
        self._known = tuple(digests.digest(key.encode()) for key in keys)

    def __bool__(self) -> bool:
        return bool(self._known)

    def knows(self, digest: bytes) -> bool:
        """Whether a key of this HMAC is one of ours."""
        return sum(hmac.compare_digest(digest, known) for known in self._known) > 0


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
