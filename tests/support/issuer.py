"""An identity provider: a real HTTP server that tells its public keys, and signs tokens with the private ones."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import rsa

AUDIENCE = "assistant"


@dataclass
class Issuer:
    """An identity provider."""

    url: str = ""
    """Who it says it is, and where it says that its keys are."""
    keys: dict[str, Any] = field(default_factory=dict)
    fetches: int = 0
    port: int = 0

    def token(self, key_id: str, algorithm: str = "RS256", **claims: Any) -> str:
        """Sign a token; a claim that is None is left out."""
        now = int(time.time())
        all_claims = {"iss": self.url, "aud": AUDIENCE, "sub": "alice", "iat": now, "exp": now + 600, **claims}
        given = {name: value for name, value in all_claims.items() if value is not None}
        return jwt.encode(given, self.keys[key_id], algorithm=algorithm, headers={"kid": key_id})

    async def configuration(self, _: web.Request) -> web.Response:
        return web.json_response({"issuer": self.url, "jwks_uri": f"{self.url}/keys"})

    async def listed(self, _: web.Request) -> web.Response:
        self.fetches += 1
        public = []
        for key_id, key in self.keys.items():
            kind = jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else jwt.algorithms.ECAlgorithm
            public.append({**kind.to_jwk(key.public_key(), as_dict=True), "kid": key_id, "use": "sig"})
        return web.json_response({"keys": public})


@asynccontextmanager
async def run_issuer(port: int = 0) -> AsyncIterator[Issuer]:
    """Serve one on a loopback port, a free one unless it is given, with a key `first`."""
    issuer = Issuer(keys={"first": rsa.generate_private_key(65537, 2048)})
    application = web.Application()
    application.router.add_get("/.well-known/openid-configuration", issuer.configuration)
    application.router.add_get("/keys", issuer.listed)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        issuer.port = runner.addresses[0][1]
        issuer.url = f"http://127.0.0.1:{issuer.port}"
        yield issuer
    finally:
        await runner.cleanup()
