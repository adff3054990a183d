"""Tokens of an OpenID Connect provider, checked here: signature, issuer, audience and times.

The provider's public keys are fetched at the start and from time to time, and again when a token names a key that is
not among them, but not more often than the floor allows: anyone can invent the name of a key. While the provider does
not answer, the keys that are known go on.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import httpx
import jwt
import structlog

from assistant_runtime.checks import optional
from assistant_runtime.errors import ApiError
from assistant_runtime.security.api_keys import refused
from assistant_runtime.security.principal import ALL_SCOPES, USER_SCOPES, Principal
from assistant_runtime.security.tenants import Tenants
from assistant_runtime.trust import distrust, trusting

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Signatures by a key pair alone: with a shared secret among them, a public key could be taken for one."""

LEEWAY_SECONDS = 30
"""By which clocks may differ."""

REFETCH_FLOOR_SECONDS = 30.0
"""Least time between two fetches of keys; so long a new key may be unknown at most."""

FIRST_FLOOR_SECONDS = 2.0
"""The same while there are no keys at all."""

REFRESH_SECONDS = 1800.0
"""After which keys are fetched again anyway, so that a withdrawn key ends."""

FETCH_SECONDS = 5.0


class OidcTokens:
    """Checks tokens.

    Parameters
    ----------
    issuer, audience
        What a token must name.
    tenant_claim
        Claim that names the tenant.
    scopes_claim
        Claim with the scopes; empty: every token has all but `admin`.
    tenants
        Names tenants.
    ca_file
        Certificates to trust for the issuer; None: the system's.
    clock
        Monotonic seconds.
    """

    def __init__(
        self,
        issuer: str,
        audience: str,
        tenants: Tenants,
        *,
        tenant_claim: str = "sub",
        scopes_claim: str = "",
        ca_file: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._issuer = issuer
        self._audience = audience
        self._tenants = tenants
        self._tenant_claim = tenant_claim
        self._scopes_claim = scopes_claim
        self._ca_file = ca_file
        self._clock = clock
        self._keys: dict[str, jwt.PyJWK] = {}
        self._tried = float("-inf")
        self._fetching = asyncio.Lock()
        self._status, self._detail = "starting", "not asked yet"
        self._log = structlog.get_logger(__name__)

    async def run(self) -> None:
        """Keep the keys at hand until cancelled."""
        while True:
            async with self._fetching:
                await self._fetch()
            await asyncio.sleep(REFRESH_SECONDS if self._status == "up" else REFETCH_FLOOR_SECONDS)

    def check(self) -> dict[str, Any]:
        """Give the readiness check, from memory; other keys go on without the provider."""
        return optional(self._status, self._detail)

    async def principal(self, token: bytes) -> Principal:
        """Give whom a token stands for.

        Raises
        ------
        ApiError
            401: the token is not valid, and why. 503: the provider's keys can't be had.
        """
        try:
            head = jwt.get_unverified_header(token)
            key = await self._key(str(head.get("kid", "")))
            claims = jwt.decode(
                token,
                key,
                algorithms=[name for name in ALGORITHMS if name == head.get("alg")],
                audience=self._audience,
                issuer=self._issuer,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except jwt.PyJWTError as error:
            raise refused(f"The token is not valid: {error}.") from None
        return await self._principal(claims)

    async def _principal(self, claims: dict[str, Any]) -> Principal:
        tenant = claims.get(self._tenant_claim)
        if not isinstance(tenant, str) or not tenant:
            raise refused(f"The token is not valid: it has no claim {self._tenant_claim!r} with a name in it.")
        return Principal(
            await self._tenants.of(f"oidc:{self._issuer} {tenant}".encode()),
            await self._tenants.of(f"oidc-subject:{self._issuer} {claims['sub']}".encode()),
            self._scopes(claims),
        )

    def _scopes(self, claims: dict[str, Any]) -> frozenset[str]:
        if not self._scopes_claim:
            return USER_SCOPES
        given = claims.get(self._scopes_claim, "")
        words = given.split() if isinstance(given, str) else given
        return frozenset(str(word) for word in words) & ALL_SCOPES if isinstance(words, list) else frozenset()

    async def _key(self, name: str) -> jwt.PyJWK:
        if self._due(name):
            # Also for whoever comes while a fetch is under way: what it brings decides.
            async with self._fetching:
                if self._due(name):
                    await self._fetch()
        if not self._keys:
            raise ApiError(
                503,
                "The identity provider does not answer, so tokens can't be checked. Try again.",
                error_type="server_error",
                code="identity_provider_unreachable",
                headers={"retry-after": "10"},
            )
        if name not in self._keys:
            raise refused("The token is not valid: it is signed with a key that the issuer does not publish.")
        return self._keys[name]

    def _due(self, name: str) -> bool:
        floor = REFETCH_FLOOR_SECONDS if self._keys else FIRST_FLOOR_SECONDS
        return name not in self._keys and self._clock() - self._tried >= floor

    async def _fetch(self) -> None:
        """Fetch the keys; what can't be had is logged, and the old ones go on."""
        try:
            trusted = trusting(self._ca_file)
            async with httpx.AsyncClient(timeout=FETCH_SECONDS, verify=trusted) as client:
                found = await _json(client, f"{self._issuer.rstrip('/')}/.well-known/openid-configuration")
                listed = await _json(client, self._keys_address(found))
            self._keys = {str(key.key_id or ""): key for key in jwt.PyJWKSet.from_dict(listed).keys}
            self._status, self._detail = "up", ""
        except (httpx.HTTPError, jwt.PyJWTError, OSError, ValueError, KeyError, TypeError) as error:
            untrusted = distrust(error, "OIDC_CA_FILE")
            detail = f"the issuer {untrusted}" if untrusted else str(error) or type(error).__name__
            self._log.warning("oidc_keys_not_fetched", issuer=self._issuer, detail=detail)
            meanwhile = "the keys that are known go on" if self._keys else "its tokens can't be checked"
            self._status, self._detail = "down", f"{detail}; {meanwhile}"
        self._tried = self._clock()

    def _keys_address(self, found: dict[str, Any]) -> str:
        if found.get("issuer") != self._issuer:
            raise ValueError("its configuration names another issuer than OIDC_ISSUER")
        return str(found["jwks_uri"])


async def _json(client: httpx.AsyncClient, url: str) -> dict[str, Any]:
    answer = await client.get(url)
    answer.raise_for_status()
    found: dict[str, Any] = answer.json()
    return found
