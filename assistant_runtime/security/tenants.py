"""The names of tenants, which stay theirs when SECRET_KEY changes.

A name is an HMAC of what identifies the tenant, so that it can stand in logs, metrics and stores. It depends on
SECRET_KEY; therefore each name that is used while SECRET_KEY_PREVIOUS is set is kept in a store under an id of the new
key, and found by that when SECRET_KEY_PREVIOUS is gone.
"""

import hashlib
import hmac
from collections import OrderedDict
from collections.abc import Sequence

from assistant_runtime.errors import StoreUnavailableError
from assistant_runtime.security.key_ring import KeyRing
from assistant_runtime.stores.tenants import TenantNames

NAME_CHARACTERS = 16
"""64 bits: no two tenants of one installation collide."""

MAX_REMEMBERED = 10_000
"""Names that a process remembers: about 2 MB."""


class Tenants:
    """Names tenants.

    Parameters
    ----------
    ring
        The keys.
    store
        Where names are kept that the current SECRET_KEY alone would not give.
    """

    def __init__(self, ring: KeyRing, store: TenantNames) -> None:
        self._ids = (ring.key("tenants"), *ring.older("tenants"))
        # As the first version named tenants: names last, and the oldest secret that is known gives them.
        self._naming = ring.secrets[-1]
        self._store = store
        self._remembered: OrderedDict[str, str] = OrderedDict()

    def of_address(self, address: str) -> str:
        """Give the name of whoever needs no key; it is not kept, because addresses have no end."""
        return self._named(b"address:" + address.encode())

    async def of(self, identity: bytes) -> str:
        """Give the name of whom an identity stands for: an API key, a user's name, or a token's subject.

        While the store does not answer, the name is the one that the oldest known secret gives.
        """
        ids = [hmac.digest(key, identity, hashlib.sha256).hex() for key in self._ids]
        if ids[0] in self._remembered:
            return self._remembered[ids[0]]
        try:
            name = await self._kept(ids, self._named(identity))
        except StoreUnavailableError:
            return self._named(identity)
        self._remembered[ids[0]] = name
        if len(self._remembered) > MAX_REMEMBERED:
            self._remembered.popitem(last=False)
        return name

    def remembers(self, identity: bytes) -> bool:
        """Tell whether an identity's name is final: it came from the store, or is kept there."""
        return hmac.digest(self._ids[0], identity, hashlib.sha256).hex() in self._remembered

    async def _kept(self, ids: Sequence[str], named: str) -> str:
        found = await self._store.find(ids)
        name = next((found[each] for each in ids if each in found), named)
        if ids[0] not in found and len(ids) > 1:
            await self._store.add(ids[0], name)
        return name

    def _named(self, identity: bytes) -> str:
        return hmac.digest(self._naming, identity, hashlib.sha256).hex()[:NAME_CHARACTERS]
