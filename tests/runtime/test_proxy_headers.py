"""What a proxy in front says of a client: believed with BEHIND_PROXY, and nobody's word without."""

import asyncio
import json
from pathlib import Path

import pytest

from assistant_runtime.security.client_address import client_address
from tests.runtime.test_audit import in_sqlite
from tests.support.runtime import run_runtime
from tests.support.upstream import Upstream

KEY = "alice-0123456789"
PEER = "127.0.0.1"


async def test_behind_a_proxy_the_proxys_entry_counts(upstream: Upstream) -> None:
    async with run_runtime(upstream, rate_limit_requests=1, behind_proxy=True) as runtime:
        statuses = [
            (await runtime.chat(headers={"x-forwarded-for": forwarded})).status
            for forwarded in ("10.0.0.1", "10.0.0.2", "1.2.3.4, 10.0.0.1")
        ]
    assert statuses == [200, 200, 429], "the last entry is the proxy's; what stands before it is the client's word"


async def test_without_a_proxy_a_client_cant_choose_its_address(upstream: Upstream) -> None:
    async with run_runtime(upstream, rate_limit_requests=1) as runtime:
        statuses = [
            (await runtime.chat(headers={"x-forwarded-for": forwarded})).status
            for forwarded in ("10.0.0.1", "10.0.0.2")
        ]
    assert statuses == [200, 429]


@pytest.mark.parametrize(("behind_proxy", "address"), [(True, "10.0.0.1"), (False, PEER)])
async def test_the_audit_log_records_the_clients_address(
    upstream: Upstream, tmp_path: Path, behind_proxy: bool, address: str
) -> None:
    kept = {"api_keys": KEY, "secret_key": "s" * 32, "audit_enabled": True, "data_dir": str(tmp_path)}
    async with run_runtime(upstream, behind_proxy=behind_proxy, **kept) as runtime:
        assert (await runtime.chat(KEY, headers={"x-forwarded-for": "1.2.3.4, 10.0.0.1"})).status == 200
    bodies = await asyncio.to_thread(in_sqlite, tmp_path, "SELECT body FROM assistant_audit ORDER BY sequence")
    assert [event["address"] for event in map(json.loads, bodies) if event["event"] == "request"] == [address]


@pytest.mark.parametrize(
    ("behind_proxy", "forwarded", "scheme"),
    [
        (True, "https", "https"),
        (True, "HTTPS", "https"),
        (True, "http, https", "https"),
        (True, "javascript", "http"),
        (False, "https", "http"),
    ],
)
async def test_addresses_that_clients_are_given_have_the_proxys_scheme(
    upstream: Upstream, behind_proxy: bool, forwarded: str, scheme: str
) -> None:
    async with (
        run_runtime(upstream, behind_proxy=behind_proxy) as runtime,
        runtime.client.get(
            f"{runtime.url}/health/",
            headers={"host": "assistant.example.com", "x-forwarded-proto": forwarded},
            allow_redirects=False,
        ) as answer,
    ):
        assert answer.status == 307
        assert answer.headers["location"] == f"{scheme}://assistant.example.com/health"


@pytest.mark.parametrize(
    ("headers", "address"),
    [
        ([], PEER),
        (["10.0.0.1:41234"], "10.0.0.1"),
        (["[2001:db8::1]:41234"], "2001:db8::1"),
        (["2001:DB8:0::1"], "2001:db8::1"),
        (["1.2.3.4", "10.0.0.1"], "10.0.0.1"),
        (["10.0.0.1, "], PEER),
        (["unknown"], PEER),
    ],
)
def test_an_entry_counts_by_its_address_alone(headers: list[str], address: str) -> None:
    scope = {"client": (PEER, 1), "headers": [(b"x-forwarded-for", value.encode()) for value in headers]}
    assert client_address(scope, behind_proxy=True) == address
