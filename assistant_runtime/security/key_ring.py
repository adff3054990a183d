"""One key for each purpose, derived from SECRET_KEY: a leak of one tells nothing of the others.

What SECRET_KEY_PREVIOUS gave is still known for as long as it is set, and so is what versions of this program made that
used SECRET_KEY itself.
"""

import hashlib
import hmac
from typing import Literal

from assistant_runtime.settings import Settings

Purpose = Literal["api-keys", "tenants", "cache", "fences", "audit"]

LABEL = "ai-assistant-runtime/v1/"
"""Begins the label of every derived key: SECRET_KEY may serve other programs too."""

SALT = bytes(hashlib.sha256().digest_size)
"""What RFC 5869 takes where there is no salt."""


class KeyRing:
    """The keys of one SECRET_KEY and of those before it.

    Parameters
    ----------
    secret
        SECRET_KEY.
    previous
        SECRET_KEY_PREVIOUS; None: there was none, or its time is over.
    """

    def __init__(self, secret: bytes, previous: bytes | None = None) -> None:
        self.secrets = (secret,) if previous is None else (secret, previous)
        """The secrets themselves, the current one first: only for what older versions made with them."""

    def key(self, purpose: Purpose) -> bytes:
        """Give the key that is in use for a purpose."""
        return _derived(self.secrets[0], purpose)

    def older(self, purpose: Purpose) -> tuple[bytes, ...]:
        """Give the keys that were in use for a purpose before."""
        return tuple(_derived(secret, purpose) for secret in self.secrets[1:])


def key_ring_of(settings: Settings) -> KeyRing:
    """Give the keys of these settings."""
    previous = settings.secret_key_previous
    return KeyRing(settings.hmac_key, previous.get_secret_value().encode() if previous else None)


def _derived(secret: bytes, purpose: Purpose) -> bytes:
    """Derive a key by HKDF (RFC 5869) with SHA-256; one block is all that a key needs.

    The library that has it costs every process 6 MB of memory, and is otherwise only for whoever takes tokens.
    """
    extracted = hmac.digest(SALT, secret, hashlib.sha256)
    return hmac.digest(extracted, f"{LABEL}{purpose}".encode() + b"\x01", hashlib.sha256)
