"""Who is asked how often: weights, retries, and the breaker that lets a failing provider rest."""

import asyncio
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant_runtime.errors import ProviderError
from assistant_runtime.providers import routing
from assistant_runtime.providers.breaker import MAX_REST_FACTOR, Breaker
from assistant_runtime.settings import Settings
from tests.support.runtime import cancelled, eventually, run_runtime
from tests.support.upstream import MODEL, Upstream, die_mid_stream, hang, refuses, run_upstream


def described(*upstreams: Upstream, **fields: Any) -> dict[str, Any]:
    """Give settings with these providers, all with the same further fields."""
    entries = [{"name": each.name, "base_url": each.url, "default_model": MODEL, **fields} for each in upstreams]
    return {"providers": entries, "redis_cache_enabled": False, "rate_limit_enabled": False}


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routing, "FIRST_PAUSE_SECONDS", 0.001)


async def test_load_is_spread_by_weight(upstream: Upstream, second: Upstream) -> None:
    settings = described(upstream, second)
    settings["providers"][0]["weight"], settings["providers"][1]["weight"] = 3, 1
    async with run_runtime(**settings) as runtime:
        replies = [await runtime.chat() for _ in range(200)]
    counts = Counter(reply.headers["x-provider"] for reply in replies)
    # 150 expected; the chance to be outside is less than one in a billion.
    assert 110 < counts["first"] < 190
    assert counts["first"] + counts["second"] == 200


async def test_without_weights_the_first_gets_all(upstream: Upstream, second: Upstream) -> None:
    async with run_runtime(**described(upstream, second)) as runtime:
        for _ in range(20):
            assert (await runtime.chat()).headers["x-provider"] == "first"


async def test_the_preferred_provider_is_asked_first(upstream: Upstream, second: Upstream) -> None:
    settings = described(upstream, second, weight=1) | {"preferred_provider": "second"}
    settings["providers"][1]["weight"] = 0
    async with run_runtime(**settings) as runtime:
        for _ in range(20):
            assert (await runtime.chat()).headers["x-provider"] == "second"


async def test_those_who_share_load_stand_in_for_each_other(upstream: Upstream, second: Upstream) -> None:
    upstream.default = refuses(500)
    async with run_upstream("third") as third:
        settings = described(upstream, second, third, weight=1)
        settings["providers"][2]["weight"] = 0
        async with run_runtime(**settings, provider_breaker_failures=0) as runtime:
            answered = {(await runtime.chat()).headers["x-provider"] for _ in range(20)}
    assert answered == {"second"}
    assert third.requests == []


async def test_each_provider_has_its_own_patience(upstream: Upstream, second: Upstream) -> None:
    upstream.default = second.default = hang
    settings = described(upstream, second)
    settings["providers"][0]["timeout"], settings["providers"][1]["timeout"] = 0.2, 0.3
    async with run_runtime(**settings) as runtime:
        reply = await runtime.chat()
    assert (reply.status, reply.error["code"]) == (504, "provider_timeout")
    assert reply.error["message"].count("did not answer in time") == 2


async def test_providers_that_share_load_share_the_cache(upstream: Upstream, second: Upstream) -> None:
    settings = described(upstream, second, weight=1) | {"redis_cache_enabled": True}
    async with run_runtime(**settings) as runtime:
        results = [(await runtime.chat()).headers["x-cache"] for _ in range(20)]
    assert results == ["miss"] + ["hit"] * 19


async def test_a_model_that_only_another_lists_is_asked_of_that_one(upstream: Upstream, second: Upstream) -> None:
    second.models = (MODEL, "rare")
    async with run_runtime(**described(upstream, second)) as runtime:
        await eventually(lambda: listed(runtime, "second/rare"))
        assert (await runtime.chat(model="rare")).headers["x-provider"] == "second"


async def listed(runtime: Any, model: str) -> bool:
    return model in str((await runtime.get("/v1/models")).json)


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.parametrize("stream", [False, True])
async def test_a_failure_that_passes_is_not_seen(upstream: Upstream, stream: bool) -> None:
    upstream.script = [refuses(503), refuses(429)]
    async with run_runtime(**described(upstream, retries=2)) as runtime:
        assert (await runtime.chat(stream=stream)).status == 200
    assert len(upstream.requests) == 3


@pytest.mark.usefixtures("no_pauses")
async def test_retries_end(upstream: Upstream) -> None:
    upstream.default = refuses(500)
    async with run_runtime(**described(upstream, retries=2)) as runtime:
        assert (await runtime.chat()).status == 502
    assert len(upstream.requests) == 3


async def test_nothing_is_sent_again_after_the_first_token(upstream: Upstream) -> None:
    upstream.default = die_mid_stream
    async with run_runtime(**described(upstream, retries=5)) as runtime:
        reply = await runtime.chat(stream=True)
    assert b'"truncated":true' in reply.body
    assert len(upstream.requests) == 1


@given(st.integers(0, 9), st.lists(st.integers(0, 60), max_size=3))
def test_a_pause_is_by_chance_and_has_its_bound(attempt: int, asked: list[int]) -> None:
    failures = [ProviderError(429, "later", code="provider_rate_limited", retry_after=str(each)) for each in asked]
    least = min(asked, default=0)
    pauses = {routing._pause(attempt, failures) - least for _ in range(8)}
    assert len(pauses) > 1
    assert min(pauses) >= 0
    assert max(pauses) <= routing.FIRST_PAUSE_SECONDS * 2**attempt


@pytest.mark.usefixtures("no_pauses")
async def test_another_provider_comes_before_a_retry(upstream: Upstream, second: Upstream) -> None:
    upstream.default = refuses(500)
    async with run_runtime(**described(upstream, second, retries=2)) as runtime:
        assert (await runtime.chat()).headers["x-provider"] == "second"
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("retry_after", ["3600", "Wed, 21 Oct 2026 07:28:00 GMT"])
async def test_a_retry_after_beyond_the_budget_is_the_clients(upstream: Upstream, retry_after: str) -> None:
    upstream.default = refuses(429, headers={"retry-after": retry_after})
    async with run_runtime(**described(upstream, retries=5)) as runtime:
        reply = await runtime.chat()
    assert (reply.status, reply.headers["retry-after"]) == (429, retry_after)
    assert len(upstream.requests) == 1


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.parametrize("retry_after", ["3600", "\u00b2"])
async def test_one_that_wants_hours_keeps_no_other_from_being_asked_again(
    upstream: Upstream, second: Upstream, retry_after: str
) -> None:
    upstream.script = [refuses(502)]
    second.default = refuses(429, headers={"retry-after": retry_after})
    async with run_runtime(**described(upstream, second, retries=2)) as runtime:
        assert (await runtime.chat()).headers["x-provider"] == upstream.name
    assert (len(upstream.requests), len(second.requests)) == (2, 1)


@pytest.mark.usefixtures("no_pauses")
async def test_one_that_is_left_alone_keeps_no_other_from_being_asked_again(
    upstream: Upstream, second: Upstream
) -> None:
    second.default = refuses(500)
    settings = described(upstream, second, retries=1) | {"provider_breaker_failures": 2}
    async with run_runtime(**settings, provider_breaker_seconds=3600) as runtime:
        await eventually(lambda: listed(runtime, f"second/{MODEL}"))
        assert [(await runtime.chat(model=f"second/{MODEL}")).status for _ in range(2)][-1] == 503
        upstream.script = [refuses(502)]
        assert (await runtime.chat()).headers["x-provider"] == upstream.name


@pytest.mark.parametrize("behaviour", [refuses(400), refuses(401)])
async def test_what_would_fail_again_is_not_retried(upstream: Upstream, behaviour: Any) -> None:
    upstream.default = behaviour
    async with run_runtime(**described(upstream, retries=5)) as runtime:
        await runtime.chat()
    assert len(upstream.requests) == 1


async def test_a_provider_that_keeps_failing_is_left_alone(upstream: Upstream, second: Upstream) -> None:
    upstream.default = refuses(500)
    settings = described(upstream, second, retries=0) | {"provider_breaker_failures": 3}
    async with run_runtime(**settings, provider_breaker_seconds=3600) as runtime:
        for _ in range(6):
            assert (await runtime.chat()).headers["x-provider"] == "second"
    assert len(upstream.requests) == 3


@pytest.mark.usefixtures("no_pauses")
async def test_a_request_that_is_sent_again_counts_once(upstream: Upstream) -> None:
    """One request that a provider can't bear must not keep the provider from everyone else."""
    upstream.script = [refuses(500)] * 5
    async with run_runtime(**described(upstream, retries=4), provider_breaker_failures=2) as runtime:
        assert (await runtime.chat()).status == 502
        assert (await runtime.chat()).status == 200


async def test_with_nobody_left_the_client_is_told_when_to_come_back(upstream: Upstream) -> None:
    upstream.default = refuses(500)
    settings = described(upstream, retries=0) | {"provider_breaker_failures": 1, "provider_breaker_seconds": 3600}
    async with run_runtime(**settings) as runtime:
        await runtime.chat()
        reply = await runtime.chat()
    assert (reply.status, reply.error["code"]) == (503, "provider_unavailable")
    assert 3590 < int(reply.headers["retry-after"]) <= 3600


async def test_one_request_tries_a_provider_that_rested(upstream: Upstream) -> None:
    upstream.script = [refuses(500)]
    settings = described(upstream, retries=0) | {"provider_breaker_failures": 1, "provider_breaker_seconds": 0.001}
    async with run_runtime(**settings) as runtime:
        assert (await runtime.chat()).status == 502
        await asyncio.sleep(0.002)
        assert (await runtime.chat()).status == 200
        assert (await runtime.chat()).status == 200


async def test_while_one_request_tries_the_others_go_elsewhere(upstream: Upstream, second: Upstream) -> None:
    upstream.script = [refuses(500), hang]
    settings = described(upstream, second, retries=0) | {"provider_breaker_failures": 1}
    async with run_runtime(**settings, provider_breaker_seconds=0.001) as runtime:
        assert (await runtime.chat()).headers["x-provider"] == "second"
        await asyncio.sleep(0.002)
        trying = asyncio.create_task(runtime.chat())
        await eventually(lambda: len(upstream.requests) == 2)
        assert (await runtime.chat()).headers["x-provider"] == "second"
        await cancelled(trying)
        await eventually(lambda: answers_first(runtime))


async def answers_first(runtime: Any) -> bool:
    return bool((await runtime.chat()).headers["x-provider"] == "first")


async def test_refused_requests_do_not_open_the_breaker(upstream: Upstream) -> None:
    upstream.script = [refuses(400), refuses(429), refuses(404), *[refuses(403, "Your input was flagged.")] * 5]
    async with run_runtime(**described(upstream, retries=0), provider_breaker_failures=1) as runtime:
        assert [(await runtime.chat()).status for _ in range(9)] == [400, 429, 404, *[403] * 5, 200]


def test_a_breaker_rests_longer_with_each_probe_that_fails() -> None:
    now = 0.0
    breaker = Breaker(2, 10.0, clock=lambda: now)
    breaker.failed(probe=False)
    assert breaker.closed
    breaker.failed(probe=False)
    rests = []
    for _ in range(6):
        rest = breaker.enter()
        assert rest > 0
        rests.append(rest)
        now += rest
        assert breaker.enter() == 0, "one may try"
        assert breaker.enter() > 0, "and only one"
        breaker.failed(probe=True)
    assert rests == [10.0, 20.0, 40.0, 80.0, 80.0, 80.0]
    assert max(rests) == 10.0 * MAX_REST_FACTOR
    now += 80.0
    assert breaker.enter() == 0
    breaker.abandoned(probe=True)
    assert breaker.enter() == 0, "the probe's client left, so another may try"
    breaker.succeeded()
    assert (breaker.closed, breaker.enter()) == (True, 0)


def test_a_file_of_certificates_must_be_there() -> None:
    with pytest.raises(Exception, match="OPENAI_COMPATIBLE_CA_FILE: the file can't be read"):
        Settings.load(openai_compatible_ca_file="/nowhere/ca.crt")


async def test_requests_above_the_bound_are_told_to_come_back(upstream: Upstream) -> None:
    upstream.default = hang
    async with run_runtime(upstream, max_concurrent_requests=10) as runtime:
        asking = [asyncio.create_task(runtime.chat()) for _ in range(10)]
        await eventually(lambda: len(upstream.requests) == 10)
        reply = await runtime.chat()
        assert (reply.status, reply.error["code"], reply.headers["retry-after"]) == (503, "server_saturated", "1")
        ready = await runtime.get("/ready")
        assert (ready.status, ready.json["checks"]["capacity"]["status"]) == (200, "saturated"), (
            "others may be full too"
        )
        await cancelled(*asking[:1])
        await eventually(lambda: has_room(runtime))
        await cancelled(*asking)


async def has_room(runtime: Any) -> bool:
    return bool((await runtime.ready())["checks"]["capacity"]["status"] == "up")


def test_requests_that_began_before_a_breaker_opened_are_no_probes() -> None:
    now = 0.0
    breaker = Breaker(1, 10.0, clock=lambda: now)
    breaker.failed(probe=False)
    now = 10.0
    assert breaker.enter() == 0
    breaker.abandoned(probe=False)
    breaker.failed(probe=False)
    assert breaker.enter() > 0, "the probe is still under way"
    breaker.failed(probe=True)
    assert breaker.enter() == 20.0, "one probe failed"
