"""Who asks: a key of API_KEYS, a token of the identity provider, or a key that was made by /v1/keys, in that order."""

from typing import TYPE_CHECKING

from assistant_runtime.security.api_keys import MANAGED_PREFIX, ApiKeys, Digests, bearer, refused
from assistant_runtime.security.principal import USER_SCOPES, Principal
from assistant_runtime.security.tenants import Tenants

if TYPE_CHECKING:  # what they import is heavy, and only needed where they are in use
    from assistant_runtime.security.managed_keys import ManagedKeys
    from assistant_runtime.security.oidc import OidcTokens

JWT_DOTS = 2
"""A signed token is three parts with dots between; no API key of ours has one."""


MAX_AT_HAND = 1000
"""Headers that are remembered: more than there are keys, each of which can be written in more than one way."""


class Authentication:
    """Tells whom a request comes from.

    Parameters
    ----------
    keys
        The keys of API_KEYS.
    digests
        Makes the HMACs that keys are compared by.
    tenants
        Names whom a key or an address stands for.
    managed
        The keys made by /v1/keys; None: there is no database.
    tokens
        The identity provider's tokens; None: none are taken.
    """

    def __init__(
        self,
        keys: ApiKeys,
        digests: Digests,
        tenants: Tenants,
        managed: "ManagedKeys | None" = None,
        tokens: "OidcTokens | None" = None,
    ) -> None:
        self._keys = keys
        self._digests = digests
        self._tenants = tenants
        self._managed = managed
        self._tokens = tokens
        self.required = bool(keys) or tokens is not None
        self._at_hand: dict[bytes | None, Principal] = {}
        """Whom headers with a key of API_KEYS stand for, so that a request costs no HMACs; others may end any time."""

    async def principal(self, authorization: bytes | None, address: str) -> Principal:
        """Give whom a request comes from.

        Parameters
        ----------
        authorization
            The request's Authorization header.
        address
            The client's address, which stands for it where nobody needs a key.

        Raises
        ------
        ApiError
            401: no key, or not one of ours. 503: what knows the key does not answer.
        """
        if not self.required:
            tenant = self._tenants.of_address(address)
            return Principal(tenant, tenant, USER_SCOPES)
        at_hand = self._at_hand.get(authorization)
        if at_hand is not None:
            return at_hand
        key = bearer(authorization)
        digest = self._digests.digest(key)
        if self._keys.knows(digest):
            return await self._of_api_key(authorization, key)
        known = None
        if self._tokens is not None and key.count(b".") == JWT_DOTS:
            known = await self._tokens.principal(key)
        if known is None and self._managed is not None and key.startswith(MANAGED_PREFIX):
            known = await self._managed.principal(digest, address, key)
        if known is None:
            raise refused("The API key is not valid.")
        return known

    async def _of_api_key(self, authorization: bytes | None, key: bytes) -> Principal:
        tenant = await self._tenants.of(key)
        principal = Principal(tenant, tenant)
        if self._tenants.remembers(key):
            if len(self._at_hand) >= MAX_AT_HAND:
                self._at_hand.clear()
            self._at_hand[authorization] = principal
        return principal
