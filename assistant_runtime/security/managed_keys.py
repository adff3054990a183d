"""Keys that administrators make: scoped, limited, expiring and revocable.

The database is asked at most every few seconds for a key, so that it costs the hot path nothing and a revoked key is
refused within that time by every replica. While the database does not answer, keys that it knew lately go on. Keys that
it does not know are remembered apart, and each address may name few of them: guesses neither keep the database busy nor
push keys out of memory.
"""

import asyncio
import math
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from assistant_runtime.errors import ApiError, StoreUnavailableError
from assistant_runtime.security.api_keys import MANAGED_PREFIX, Digests
from assistant_runtime.security.client_address import network
from assistant_runtime.security.principal import Principal
from assistant_runtime.security.tenants import NAME_CHARACTERS, Tenants
from assistant_runtime.stores.keys import SqlKeys, StoredKey
from assistant_runtime.stores.memory import MemoryRateLimits
from assistant_runtime.stores.users import SqlUsers

K = TypeVar("K")
V = TypeVar("V")

FRESH_SECONDS = 5.0
"""Within which a revoked key is refused everywhere."""

STALE_SECONDS = 600.0
"""How long a key goes on without the database: longer than a fail-over or an upgrade of it."""

MAX_KNOWN = 10_000
"""Keys that are remembered: about 5 MB."""

MAX_UNKNOWN = 1_000
"""Keys that the database does not know, and that are remembered: about 0.2 MB."""

GUESSES = 20
GUESS_SECONDS = 60
"""An address may name so many unknown keys in so many seconds. After that, only keys that this process has seen open
anything from there: other clients may share the address."""

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
    tenants
        Names users.
    clock
        Seconds since 1970.
    """

    def __init__(
        self,
        store: SqlKeys,
        users: SqlUsers,
        digests: Digests,
        tenants: Tenants,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.store = store
        self.users = users
        self._digests = digests
        self._tenants = tenants
        self._clock = clock
        self._known: OrderedDict[bytes, tuple[float, StoredKey]] = OrderedDict()
        self._unknown: OrderedDict[bytes, float] = OrderedDict()
        self._guesses = MemoryRateLimits()
        self._guessing: OrderedDict[str, float] = OrderedDict()
        self._asking: dict[bytes, asyncio.Lock] = {}

    async def principal(self, digest: bytes, address: str, secret: bytes = b"") -> Principal | None:
        """Give whom a key of this HMAC stands for; None: it opens nothing.

        Parameters
        ----------
        address
            Where the request comes from: it may name few keys that are not known here.
        secret
            The key itself, which the database may know by the HMAC of an older key.

        Raises
        ------
        StoreUnavailableError
            The database does not answer, and the key was not seen lately.
        ApiError
            429: the address named too many keys that are not known.
        """
        key = await self._look_up(digest, address, secret)
        return _principal(key) if key is not None and key.valid(self._clock()) else None

    async def create(self, key: StoredKey) -> tuple[str, StoredKey]:
        """Make a secret for a key, keep the key, and give both; the secret is nowhere else."""
        secret = MANAGED_PREFIX.decode() + secrets.token_urlsafe(32)
        digest = self._digests.digest(secret.encode()).hex()
        tenant = await self._user_id(key.user) if key.user else digest[:NAME_CHARACTERS]
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
            tokens_per_minute=key.tokens_per_minute,
            max_parallel_requests=key.max_parallel_requests,
            models=key.models,
            tools=key.tools,
            expires=key.expires,
        )
        await self.store.add(kept)
        return secret, kept

    async def change(self, key_id: str, values: Mapping[str, Any]) -> bool:
        """Set some of a key's fields; says whether there is such a key."""
        done = await self.store.update(key_id, values)
        self._forget()
        return done

    async def revoke(self, key_id: str) -> bool:
        """Revoke a key; says whether there is such a key."""
        done = await self.store.revoke(key_id, self._clock())
        self._forget()
        return done

    async def create_user(self, name: str) -> str | None:
        """Make a user and give its id; None: there is one of that name."""
        user_id = await self._user_id(name)
        return user_id if await self.users.add(user_id, name, self._clock()) else None

    async def disable_user(self, user_id: str, *, disabled: bool) -> bool:
        """Let a user's keys open nothing, or let them open again; says whether there is such a user."""
        done = await self.users.disable(user_id, self._clock() if disabled else None)
        self._forget()
        return done

    async def delete_user(self, user_id: str) -> bool:
        """Forget a user and revoke all of its keys; says whether there was such a user."""
        done = await self.users.delete(user_id, self._clock())
        self._forget()
        return done

    async def _user_id(self, name: str) -> str:
        """Give the id of the user of that name, which is a tenant's."""
        return await self.users.id_of(name) or await self._tenants.of(f"user:{name}".encode())

    def _forget(self) -> None:
        self._known.clear()
        self._unknown.clear()

    async def _look_up(self, digest: bytes, address: str, secret: bytes) -> StoredKey | None:
        remembered, key = self._remembered(digest)
        if remembered:
            return key
        # Whoever comes with the same key meanwhile waits for the one answer.
        lock = self._asking.setdefault(digest, asyncio.Lock())
        try:
            async with lock:
                remembered, key = self._remembered(digest)
                return key if remembered else await self._ask(digest, address, secret)
        finally:
            if not lock.locked():
                self._asking.pop(digest, None)

    def _remembered(self, digest: bytes) -> tuple[bool, StoredKey | None]:
        """Tell whether the database was asked lately, and what it knew."""
        # Not the clock's time, which may be set back.
        fresh = time.monotonic() - FRESH_SECONDS
        asked, key = self._known.get(digest, (float("-inf"), None))
        return (asked > fresh or self._unknown.get(digest, float("-inf")) > fresh), key

    async def _ask(self, digest: bytes, address: str, secret: bytes) -> StoredKey | None:
        now = time.monotonic()
        asked, known = self._known.get(digest, (float("-inf"), None))
        if known is None:
            self._check_guessing(network(address), now)
        try:
            older = [each.hex() for each in self._digests.older(secret)]
            key = await self.store.by_digest(digest.hex(), older)
            if key is not None and known is None and key.digest != digest.hex():
                # Found by this one when the older keys are gone; other replicas may know the older ones alone.
                await self.store.add_digest(digest.hex(), key.id)
        except StoreUnavailableError:
            if known is not None and now - asked < STALE_SECONDS:
                return known
            raise
        if key is None:
            self._known.pop(digest, None)
            _remember(self._unknown, digest, now, MAX_UNKNOWN)
            await self._count_guess(network(address), now)
        else:
            _remember(self._known, digest, (now, key), MAX_KNOWN)
        return key

    async def _count_guess(self, address: str, now: float) -> None:
        verdict = await self._guesses.hit(address, GUESSES, GUESS_SECONDS)
        if not verdict.remaining:
            _remember(self._guessing, address, now + verdict.retry_after, MAX_UNKNOWN)

    def _check_guessing(self, address: str, now: float) -> None:
        wait = math.ceil(self._guessing.get(address, now) - now)
        if wait > 0:
            raise ApiError(
                429,
                f"Too many unknown API keys came from this address. Try again in {wait} s.",
                error_type="rate_limit_error",
                code="too_many_unknown_keys",
                headers={"retry-after": str(wait)},
            )


def _remember(among: OrderedDict[K, V], key: K, value: V, at_most: int) -> None:
    among[key] = value
    among.move_to_end(key)
    if len(among) > at_most:
        among.popitem(last=False)


def _principal(key: StoredKey) -> Principal:
    limited = key.rate_limit_requests is not None and key.rate_limit_window is not None
    return Principal(
        key.tenant,
        key.id,
        frozenset(key.scopes),
        (key.rate_limit_requests or 0, key.rate_limit_window or 0) if limited else None,
        key.budget_daily,
        key.budget_monthly,
        key.tokens_per_minute,
        key.max_parallel_requests,
        None if key.models is None else frozenset(key.models),
        None if key.tools is None else frozenset(key.tools),
    )
