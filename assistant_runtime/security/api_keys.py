"""API keys, and the tenant that each stands for.

Keys are compared as HMACs, each with every other, so that the time taken says nothing about a key; and the tenant's id
is an HMAC too, so that it can stand in logs, metrics and Redis.
"""

import hashlib
import hmac
from collections.abc import Iterable

from assistant_runtime.errors import ApiError

TENANT_CHARACTERS = 16
"""64 bits: no two tenants of one installation collide."""


class ApiKeys:
    """The keys that clients may use; with none, everyone may ask.

    Parameters
    ----------
    keys
        The keys in the clear; only their HMACs are kept.
    hmac_key
        Key of the HMACs.
    """

    def __init__(self, keys: Iterable[str], hmac_key: bytes) -> None:
        self._hmac_key = hmac_key
        self._digests = tuple(self._digest(key.encode()) for key in keys)

    def tenant(self, authorization: bytes | None, address: str) -> str:
        """Give the tenant of a request.

        Parameters
        ----------
        authorization
            The request's Authorization header.
        address
            The client's address, which stands for it where there are no keys.

        Raises
        ------
        ApiError
            401: no key, or not one of ours.
        """
        if not self._digests:
            return self._digest(b"address:" + address.encode()).hex()[:TENANT_CHARACTERS]
        scheme, _, key = (authorization or b"").partition(b" ")
        if scheme.lower() != b"bearer" or not key.strip():
            raise _refused("No API key was given. Send it as `Authorization: Bearer <key>`.")
        digest = self._digest(key.strip())
        if sum(hmac.compare_digest(digest, known) for known in self._digests) == 0:
            raise _refused("The API key is not valid.")
        return digest.hex()[:TENANT_CHARACTERS]

    def _digest(self, key: bytes) -> bytes:
        return hmac.digest(self._hmac_key, key, hashlib.sha256)


def _refused(message: str) -> ApiError:
    return ApiError(
        401,
        message,
        error_type="authentication_error",
        code="invalid_api_key",
        headers={"www-authenticate": "Bearer"},
    )
