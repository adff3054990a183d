"""SECRET_KEY: one key is derived for each purpose, and what was made with the secret before it is still found."""

import asyncio
import hashlib
import hmac
from pathlib import Path
from typing import Any, get_args

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from assistant_runtime.audit_check import verify
from assistant_runtime.security.key_ring import LABEL, KeyRing, Purpose, key_ring_of
from assistant_runtime.settings import Settings
from assistant_runtime.stores.choice import choose_stores
from assistant_runtime.stores.keys import SqlKeys, StoredKey
from tests.support.mongodb import MongoServer
from tests.support.runtime import Reply, Runtime, run_runtime
from tests.support.upstream import Upstream

ADMIN = "admin-0123456789"
FIRST, SECOND, THIRD = ("1" * 32, "2" * 32, "3" * 32)


async def ask(runtime: Runtime, key: str, method: str, path: str, body: Any = None) -> Reply:
    headers = {"authorization": f"Bearer {key}"}
    async with runtime.client.request(method, f"{runtime.url}/v1/{path}", json=body, headers=headers) as answer:
        return Reply(answer.status, dict(answer.headers), await answer.read())


async def begun(runtime: Runtime, key: str) -> str:
    return str((await ask(runtime, key, "POST", "sessions", {})).json["id"])


def test_every_purpose_has_a_key_of_its_own() -> None:
    keys = [KeyRing(FIRST.encode()).key(purpose) for purpose in get_args(Purpose)]
    assert len({*keys, FIRST.encode(), *(key[:16] for key in keys)}) == 2 * len(keys) + 1
    assert KeyRing(SECOND.encode(), FIRST.encode()).older("cache") == (KeyRing(FIRST.encode()).key("cache"),)
    assert key_ring_of(Settings(secret_key=FIRST)).older("audit") == ()


@pytest.fixture(params=["sqlite", "mongodb"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """Settings of where sessions are kept, and keys beside them."""
    settings: dict[str, Any] = {"api_keys": ADMIN, "data_dir": str(tmp_path)}
    if request.param == "sqlite":
        return settings
    server: MongoServer = request.getfixturevalue("mongodb")
    login = {"mongodb_username": server.username, "mongodb_password": server.password}
    return {**settings, "mongodb_url": f"{server.url}/{tmp_path.name}?authSource=admin", **login}


async def test_a_secret_is_changed_without_loss(upstream: Upstream, kept: dict[str, Any]) -> None:
    async with run_runtime(upstream, secret_key=FIRST, **kept) as runtime:
        made = (await ask(runtime, ADMIN, "POST", "keys", {"name": "one", "user": "carol"})).json["key"]
        sessions = {key: [await begun(runtime, key)] for key in (ADMIN, made)}
    grace = {"secret_key": SECOND, "secret_key_previous": FIRST}
    # Two at once, as replicas are while one after the other learns of the change.
    async with run_runtime(upstream, **grace, **kept) as runtime:
        for key, known in sessions.items():
            assert (await ask(runtime, key, "GET", f"sessions/{known[0]}")).status == 200
            known.append(await begun(runtime, key))
        another = (await ask(runtime, ADMIN, "POST", "keys", {"name": "two", "user": "carol"})).json["key"]
    sessions[another] = sessions[made]
    async with run_runtime(upstream, secret_key=FIRST, **kept) as runtime:
        assert (await ask(runtime, made, "GET", f"sessions/{sessions[made][1]}")).status == 200, "an old replica"
    later = ({"secret_key": SECOND}, {"secret_key": THIRD, "secret_key_previous": SECOND}, {"secret_key": THIRD})
    for settings in later:
        async with run_runtime(upstream, **settings, **kept) as runtime:
            for key, known in sessions.items():
                found = (await ask(runtime, key, "GET", "sessions")).json["data"]
                assert {session["id"] for session in found} == set(known)


async def test_without_the_secret_before_it_nothing_is_found(upstream: Upstream, kept: dict[str, Any]) -> None:
    async with run_runtime(upstream, secret_key=FIRST, **kept) as runtime:
        made = (await ask(runtime, ADMIN, "POST", "keys", {"name": "one"})).json["key"]
        session = await begun(runtime, ADMIN)
    async with run_runtime(upstream, secret_key=SECOND, **kept) as runtime:
        assert (await ask(runtime, made, "GET", "models")).status == 401
        assert (await ask(runtime, ADMIN, "GET", f"sessions/{session}")).status == 404


async def test_what_the_first_version_kept_is_found(upstream: Upstream, kept: dict[str, Any]) -> None:
    """It named tenants and knew keys by HMACs with SECRET_KEY itself."""
    made = "ak-of-the-first-version"
    digests = {key: hmac.digest(FIRST.encode(), key.encode(), hashlib.sha256).hex() for key in (ADMIN, made)}
    stores = choose_stores(Settings.load(secret_key=FIRST, **kept))
    assert stores.database is not None
    for backend in stores.backends:
        await backend.open()
    await SqlKeys(stores.database).add(
        StoredKey(
            id="key_1",
            digest=digests[made],
            hint="sion",
            name="old",
            user="",
            tenant=digests[made][:16],
            scopes=("chat", "sessions"),
            created=1.0,
        )
    )
    sessions = {key: await stores.conversations.create(digest[:16], "old", {}) for key, digest in digests.items()}
    for backend in stores.backends:
        await backend.aclose()
    changes = ({"secret_key": FIRST}, {"secret_key": SECOND, "secret_key_previous": FIRST}, {"secret_key": SECOND})
    for settings in changes:
        async with run_runtime(upstream, **settings, **kept) as runtime:
            for key, session in sessions.items():
                assert (await ask(runtime, key, "GET", f"sessions/{session.id}")).json["title"] == "old"


async def test_the_audit_log_is_verified_over_a_change(upstream: Upstream, tmp_path: Path) -> None:
    common = {"api_keys": ADMIN, "data_dir": str(tmp_path), "audit_enabled": True}
    grace = {"secret_key": SECOND, "secret_key_previous": FIRST, **common}
    for settings in ({"secret_key": FIRST, **common}, grace):
        async with run_runtime(upstream, **settings) as runtime:
            await ask(runtime, ADMIN, "GET", "sessions")
    codes = [
        await asyncio.to_thread(verify, Settings.load(**settings), None)
        for settings in (grace, {"secret_key": SECOND, **common}, {"secret_key": THIRD, **common})
    ]
    assert codes == [0, 1, 1]


@pytest.mark.parametrize("purpose", get_args(Purpose))
@pytest.mark.parametrize("secret", [b"s" * 16, b"s" * 200, "gehe\u00efm".encode() * 9])
def test_keys_are_derived_by_hkdf(secret: bytes, purpose: Purpose) -> None:
    expected = HKDF(SHA256(), 32, salt=None, info=f"{LABEL}{purpose}".encode()).derive(secret)
    assert KeyRing(secret).key(purpose) == expected
