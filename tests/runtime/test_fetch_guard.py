"""The guard under every fetch: what it refuses, in every spelling, and that a name can't change under it."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from assistant_runtime.errors import ToolError
from assistant_runtime.security.fetch_guard import FetchGuard
from tests.support.json_server import JsonServer, run_json_server

PRIVATE = [
    "127.0.0.1",
    "127.1.2.3",
    "0.0.0.0",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.100.100.200",
    "168.63.129.16",
    "224.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "fe80::1",
    "fd00:ec2::254",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::127.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::a00:1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::1",
    "2001:0:4136:e378:8000:63bf:f5ff:fffe",
    "2a00:1450:4001::5efe:10.0.0.1",
]


def resolving(*answers: Sequence[str]) -> FetchGuard:
    """A guard whose look-ups give these answers, one after the other, the last for ever."""
    left = list(answers)

    async def lookup(_: str, __: int) -> Sequence[str]:
        return left.pop(0) if len(left) > 1 else left[0]

    return FetchGuard(lookup=lookup)


@pytest.fixture
async def pages() -> AsyncIterator[JsonServer]:
    async with run_json_server() as server:
        yield server


@pytest.mark.parametrize("address", PRIVATE)
async def test_addresses_that_are_not_public_are_refused(address: str) -> None:
    host = f"[{address}]" if ":" in address else address
    with pytest.raises(ToolError, match="not a public address"):
        await FetchGuard().check(f"http://{host}/")
    with pytest.raises(ToolError, match="not a public address"):
        await resolving([address]).check("https://innocent.example.com/")
    with pytest.raises(ToolError, match="not a public address"):
        await resolving(["93.184.215.14", address]).check("https://half.example.com/")


@pytest.mark.parametrize(
    "host",
    [
        "redis",
        "localhost",
        "demo-redis.default.svc",
        "demo-redis.default.svc.cluster.local",
        "kubernetes.default.svc.cluster.local.",
        "metadata.google.internal",
        "a.localhost",
        "printer.lan",
    ],
)
async def test_names_of_the_cluster_are_refused_without_a_look_up(host: str) -> None:
    with pytest.raises(ToolError, match="not a public address"):
        await resolving(["93.184.215.14"]).check(f"http://{host}/")


ODD = [
    "2130706433",
    "0x7f.1",
    "0177.0.0.1",
    "127.1",
    "①②⑦.0.0.1",
    "127。0.0.1",
    "127.0.0.\N{FULLWIDTH DIGIT ONE}",
    "127%2e0.0.1",
]


@pytest.mark.parametrize("host", ODD)
async def test_odd_spellings_of_an_address_are_refused(pages: JsonServer, host: str) -> None:
    pages.answer("GET", "/page", "a secret", content_type="text/plain")
    pages.answer("GET", "/", "", status=302, headers={"location": f"//{host}:{pages.port}/page"})
    with pytest.raises(ToolError):
        await FetchGuard().fetch(f"http://{host}:{pages.port}/page")
    with pytest.raises(ToolError):
        await FetchGuard(["localhost"]).fetch(f"http://localhost:{pages.port}/")
    assert [request.path for request in pages.requests] == ["/"]


@pytest.mark.parametrize("url", ["http://①⑥⑨.254.169.254/", "http://169.254.169。254/"])
async def test_an_address_in_other_characters_is_refused_to_another_server_too(url: str) -> None:
    with pytest.raises(ToolError, match="not a public address"):
        await resolving(["93.184.215.14"]).check(url)


async def test_another_server_is_given_the_url_that_was_checked() -> None:
    assert await resolving(["93.184.215.14"]).check("HTTP://BÜCHER.example/ä") == "http://xn--bcher-kva.example/%C3%A4"


@pytest.mark.parametrize("url", ["http://a..example/", f"http://{'a' * 70}.example/"])
async def test_a_name_that_none_can_have_is_not_known(url: str) -> None:
    with pytest.raises(ToolError, match="is not known"):
        await FetchGuard().fetch(url)


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://example.com/",
        "gopher://example.com/",
        "http://",
        "http:///path",
        "//example.com",
        "http://user:pw@example.com/",
        "http://example.com:0/",
        "http://[::1",
        "http://example.com:port/",
        "",
    ],
)
async def test_urls_that_are_none_are_refused(url: str) -> None:
    with pytest.raises(ToolError, match="URL"):
        await resolving(["93.184.215.14"]).check(url)


@given(st.integers(min_value=0, max_value=2**32 - 1))
def test_an_ipv4_address_is_refused_in_every_form_or_in_none(number: int) -> None:
    plain = f"{number >> 24}.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
    high, low = f"{number >> 16:x}", f"{number & 0xFFFF:x}"

    def refused(address: str) -> bool:
        try:
            asyncio.run(resolving([address]).check("http://any.example.com/"))
        except ToolError:
            return True
        return False

    if refused(plain):
        for form in (f"::ffff:{plain}", f"64:ff9b::{plain}", f"2002:{high}:{low}::1", f"::{plain}"):
            assert refused(form), form


async def test_a_public_address_passes_and_an_allowed_one_too() -> None:
    await resolving(["93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"]).check("https://example.com/")
    await FetchGuard(["10.1.0.0/16"]).check("http://10.1.2.3/")
    with pytest.raises(ToolError):
        await FetchGuard(["10.1.0.0/16"]).check("http://10.2.2.3/")

    async def lookup(_: str, __: int) -> Sequence[str]:
        return ["10.9.9.9"]

    guard = FetchGuard(["docs.corp.example", "*.wiki.example"], lookup)
    for url in ("http://docs.corp.example/", "http://a.wiki.example/"):
        await guard.check(url)
    for url in ("http://xdocs.corp.example/", "http://xwiki.example/", "http://docs.corp.example.evil.com/"):
        with pytest.raises(ToolError):
            await guard.check(url)


async def test_a_redirect_to_the_metadata_address_is_refused(pages: JsonServer) -> None:
    pages.answer("GET", "/", "", status=302, headers={"location": "http://169.254.169.254/latest/meta-data/"})
    with pytest.raises(ToolError, match=r"169\.254\.169\.254 is not a public address"):
        await FetchGuard(["127.0.0.1/32"]).fetch(f"{pages.url}/")


async def test_a_name_that_changes_between_check_and_use_gains_nothing(pages: JsonServer) -> None:
    pages.answer("GET", "/page", "the first server", content_type="text/plain")
    asked: list[str] = []

    async def lookup(host: str, _: int) -> Sequence[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["127.0.0.2"]

    async with run_json_server("127.0.0.2", pages.port) as hidden:
        hidden.answer("GET", "/page", "a secret", content_type="text/plain")
        guard = FetchGuard(["127.0.0.1/32"], lookup)
        page = await guard.fetch(f"http://changing.example.com:{pages.port}/page")
        assert page.body == b"the first server"
        assert asked == ["changing.example.com"]
        with pytest.raises(ToolError, match="not a public address"):
            await guard.fetch(f"http://changing.example.com:{pages.port}/page")
        assert hidden.requests == []


async def test_redirects_are_followed_a_few_times(pages: JsonServer) -> None:
    pages.answer("GET", "/a", "", status=301, headers={"location": "/b"})
    pages.answer("GET", "/b", "found", content_type="text/plain")
    pages.answer("GET", "/round", "", status=302, headers={"location": "/round"})
    guard = FetchGuard(["127.0.0.1/32"])
    page = await guard.fetch(f"{pages.url}/a")
    assert (page.url, page.body) == (f"{pages.url}/b", b"found")
    with pytest.raises(ToolError, match="redirects more than"):
        await guard.fetch(f"{pages.url}/round")


async def _endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"content-type": "text/plain"})
    await response.prepare(request)
    while True:
        await response.write(b"x" * 65536)


async def _silent(_: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError("unreachable")


async def test_size_time_and_type_are_bounded(pages: JsonServer) -> None:
    pages.handle("GET", "/endless", _endless)
    pages.handle("GET", "/silent", _silent)
    pages.answer("GET", "/image", "x", content_type="image/png")
    pages.answer("GET", "/gone", "x", status=404)
    guard = FetchGuard(["127.0.0.1/32"])
    for path, reason in (
        ("endless", "longer than 1000000 bytes"),
        ("image", "the page is image/png, not text"),
        ("gone", "answered 404"),
    ):
        with pytest.raises(ToolError, match=reason):
            await guard.fetch(f"{pages.url}/{path}", max_bytes=1_000_000)
    with pytest.raises(ToolError, match="did not answer within"):
        await guard.fetch(f"{pages.url}/silent", seconds=0.2)
