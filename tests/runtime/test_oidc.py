"""Tokens of an identity provider: a real one with real keys, on loopback."""

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from assistant_runtime.security import oidc
from tests.support.issuer import AUDIENCE, Issuer, run_issuer
from tests.support.runtime import Reply, Runtime, eventually, run_runtime
from tests.support.upstream import Upstream


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    async with run_issuer() as found:
        yield found


def settings(issuer: Issuer, **more: Any) -> dict[str, Any]:
    return {"oidc_issuer": issuer.url, "oidc_audience": AUDIENCE, **more}


async def test_a_valid_token_opens_all_but_administration(upstream: Upstream, issuer: Issuer) -> None:
    async with run_runtime(upstream, **settings(issuer)) as runtime:
        token = issuer.token("first")
        assert (await runtime.chat(token)).status == 200
        assert (await runtime.get("/v1/keys", {"authorization": f"Bearer {token}"})).status == 403
        assert (await runtime.chat()).status == 401


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "other"},
        {"iss": "https://other.example.com"},
        {"exp": 1},
        {"nbf": int(time.time()) + 3600},
        {"exp": None},
        {"sub": None},
    ],
    ids=["aud", "iss", "exp", "nbf", "no exp", "no sub"],
)
async def test_a_token_with_a_wrong_claim_is_refused(
    upstream: Upstream, issuer: Issuer, claims: dict[str, Any]
) -> None:
    async with run_runtime(upstream, **settings(issuer)) as runtime:
        reply = await runtime.chat(issuer.token("first", **claims))
    assert (reply.status, reply.error["code"]) == (401, "invalid_api_key")


async def test_a_forged_signature_is_refused(upstream: Upstream, issuer: Issuer) -> None:
    async with run_runtime(upstream, **settings(issuer)) as runtime:
        assert (await runtime.chat(issuer.token("first"))).status == 200
        forger = Issuer(issuer.url, {"first": rsa.generate_private_key(65537, 2048)})
        secret = Issuer(issuer.url, {"first": "x" * 32})
        unsigned = jwt.encode({"iss": issuer.url, "aud": AUDIENCE, "sub": "a"}, "", "none", headers={"kid": "first"})
        for token in (forger.token("first"), secret.token("first", "HS256"), unsigned):
            assert (await runtime.chat(token)).status == 401


async def test_a_new_key_of_the_issuer_is_found(
    upstream: Upstream, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(oidc, "REFETCH_FLOOR_SECONDS", 0.0)
    async with run_runtime(upstream, **settings(issuer)) as runtime:
        assert (await runtime.chat(issuer.token("first"))).status == 200
        issuer.keys["second"] = ec.generate_private_key(ec.SECP256R1())
        assert (await runtime.chat(issuer.token("second", "ES256"))).status == 200


async def test_whoever_comes_while_keys_are_fetched_waits_for_them(
    upstream: Upstream, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with run_runtime(upstream, **settings(issuer)) as runtime:
        assert {(await each).status for each in asyncio.as_completed(five(runtime, issuer.token("first")))} == {200}
        issuer.keys["second"] = ec.generate_private_key(ec.SECP256R1())
        monkeypatch.setattr(oidc, "REFETCH_FLOOR_SECONDS", 0.0)
        token = issuer.token("second", "ES256")
        assert {(await each).status for each in asyncio.as_completed(five(runtime, token))} == {200}


def five(runtime: Runtime, token: str) -> list[Coroutine[Any, Any, Reply]]:
    return [runtime.chat(token, user=str(number)) for number in range(5)]


async def test_invented_keys_dont_make_it_fetch(upstream: Upstream, issuer: Issuer) -> None:
    async with run_runtime(upstream, **settings(issuer)) as runtime:
        await runtime.chat(issuer.token("first"))
        for index in range(5):
            invented = Issuer(issuer.url, {f"invented{index}": issuer.keys["first"]})
            assert (await runtime.chat(invented.token(f"invented{index}"))).status == 401
    assert issuer.fetches == 1


async def test_scopes_and_tenants_come_from_claims(upstream: Upstream, issuer: Issuer) -> None:
    claims = settings(issuer, oidc_scopes_claim="scope", oidc_tenant_claim="org")
    async with run_runtime(upstream, **claims) as runtime:

        async def create(token: str) -> Any:
            headers = {"authorization": f"Bearer {token}"}
            async with runtime.client.post(f"{runtime.url}/v1/sessions", json={}, headers=headers) as answer:
                return answer.status, await answer.json()

        alice = issuer.token("first", scope="openid sessions", org="blue")
        status, session = await create(alice)
        assert status == 201
        assert (await runtime.chat(alice)).status == 403
        bob = issuer.token("first", sub="bob", scope=["sessions"], org="blue")
        found = await runtime.get(f"/v1/sessions/{session['id']}", {"authorization": f"Bearer {bob}"})
        assert found.status == 200
        assert (await create(issuer.token("first", scope="openid", org="blue")))[0] == 403
        assert (await create(issuer.token("first", scope="sessions")))[0] == 401


async def test_an_issuer_that_is_down_is_told(upstream: Upstream, issuer: Issuer) -> None:
    keys, issuer.keys = issuer.keys, {}
    async with run_runtime(upstream, **settings(issuer), api_keys="key-0123456789") as runtime:
        token = Issuer(issuer.url, keys).token("first")
        reply = await runtime.chat(token)
        assert (reply.status, reply.error["code"]) == (503, "identity_provider_unreachable")
        assert (await runtime.chat("key-0123456789")).status == 200
        issuer.keys = keys

        async def known() -> bool:
            return (await runtime.chat(token)).status == 200

        await eventually(known)
