"""Keys that administrators make: scoped, limited, expiring and revocable.

The database is asked at most every few seconds for a key, so that it costs the hot path nothing and a revoked key is
refused within that time by every replica. While the database does not answer, keys that it knew lately go on.
"""

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

from assistant_runtime.errors import StoreUnavailableError
from assistant_runtime.security.api_keys import MANAGED_PREFIX, TENANT_CHARACTERS, Digests
from assistant_runtime.security.principal import Principal
from assistant_runtime.stores.keys import SqlKeys, StoredKey
from assistant_runtime.stores.users import SqlUsers

FRESH_SECONDS = 5.0
"""Within which a revoked key is refused everywhere."""

STALE_SECONDS = 600.0
"""How long a key goes on without the database: longer than a fail-over or an upgrade of it."""

MAX_KNOWN = 10_000
"""Keys, and guesses at keys, that are remembered: about 5 MB."""

HINT_CHARACTERS = 4


class ManagedKeys:
    """The keys in the database.

    Parameters
    ----------
    store
        The keys' tables.
    users
        The users' table.
    digests
        Makes the HMACs that keys are kept as.
    clock
        Seconds since 1970.
    """

    def __init__(
        self, store: SqlKeys, users: SqlUsers, digests: Digests, clock: Callable[[], float] = time.time
    ) -> None:
        self.store = store
        self.users = users
        self._digests = digests
        self._clock = clock
        self._known: OrderedDict[bytes, tuple[float, StoredKey | None]] = OrderedDict()

    async def principal(self, digest: bytes) -> Principal | None:
        """Give whom a key of this HMAC stands for; None: it opens nothing.

        Raises
        ------
        StoreUnavailableError
            The database does not answer, and the key was not seen lately.
        """
        key = await self._look_up(digest)
        return _principal(key) if key is not None and key.valid(self._clock()) else None

    async def create(self, key: StoredKey) -> tuple[str, StoredKey]:
        """Make a secret for a key, keep the key, and give both; the secret is nowhere else."""
        secret = MANAGED_PREFIX.decode() + secrets.token_urlsafe(32)
        digest = self._digests.digest(secret.encode()).hex()
        tenant = self._digests.user(key.user) if key.user else digest[:TENANT_CHARACTERS]
        kept = StoredKey(
            id=f"key_{secrets.token_hex(12)}",
            digest=digest,
            hint=secret[-HINT_CHARACTERS:],
            name=key.name,
            user=key.user,
            tenant=tenant,
            scopes=key.scopes,
            created=self._clock(),
            rate_limit_requests=key.rate_limit_requests,
            rate_limit_window=key.rate_limit_window,
            budget_daily=key.budget_daily,
            budget_monthly=key.budget_monthly,
            expires=key.expires,
        )
        await self.store.add(kept)
        return secret, kept

    async def change(self, key_id: str, values: Mapping[str, Any]) -> bool:
        """Set some of a key's fields; says whether there is such a key."""
        done = await self.store.update(key_id, values)
        self._known.clear()
        return done

    async def revoke(self, key_id: str) -> bool:
        """Revoke a key; says whether there is such a key."""
        done = await self.store.revoke(key_id, self._clock())
        self._known.clear()
        return done

    async def create_user(self, name: str) -> str | None:
        """Make a user and give its id; None: there is one of that name."""
        user_id = self._digests.user(name)
        return user_id if await self.users.add(user_id, name, self._clock()) else None

    async def disable_user(self, user_id: str, *, disabled: bool) -> bool:
        """Let a user's keys open nothing, or let them open again; says whether there is such a user."""
        done = await self.users.disable(user_id, self._clock() if disabled else None)
        self._known.clear()
        return done

    async def delete_user(self, user_id: str) -> bool:
        """Forget a user and revoke all of its keys; says whether there was such a user."""
        done = await self.users.delete(user_id, self._clock())
        self._known.clear()
        return done

    async def _look_up(self, digest: bytes) -> StoredKey | None:
        # Not the clock's time, which may be set back.
        now = time.monotonic()
        asked, key = self._known.get(digest, (float("-inf"), None))
        if now - asked < FRESH_SECONDS:
            return key
        try:
            key = await self.store.by_digest(digest.hex())
        except StoreUnavailableError:
            if now - asked < STALE_SECONDS:
                return key
            raise
        self._known[digest] = (now, key)
        self._known.move_to_end(digest)
        if len(self._known) > MAX_KNOWN:
            self._known.popitem(last=False)
        return key


def _principal(key: StoredKey) -> Principal:
    limited = key.rate_limit_requests is not None and key.rate_limit_window is not None
    return Principal(
        key.tenant,
        key.id,
        frozenset(key.scopes),
        (key.rate_limit_requests or 0, key.rate_limit_window or 0) if limited else None,
        key.budget_daily,
        key.budget_monthly,
    )
