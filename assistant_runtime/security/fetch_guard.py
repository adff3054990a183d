"""The guard under every fetch whose address a user or a model can choose.

Without it, a page that says "fetch http://169.254.169.254/" reads the cloud's credentials, and a name of the cluster
reaches what was never meant to be public. A host is resolved once and the connection goes to the very addresses that
were checked, so that a name which changes between check and use gains nothing; every redirect is checked again. A URL
is read once, too, as aiohttp reads it: another reader may see a name where it sees an address, as in ①②⑦.0.0.1.
"""

import asyncio
import ipaddress
import re
import socket
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from assistant_runtime.errors import ToolError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Lookup = Callable[[str, int], Awaitable[Sequence[str]]]

MAX_REDIRECTS = 5
"""As many as a page that moved needs, with http to https and the language added."""

MAX_PAGE_BYTES = 4 * 1024 * 1024
"""Far more than the text of any page that a model can read."""

MAX_URL_CHARACTERS = 4096

CLUSTER_NAME = re.compile(r"(^|\.)(svc|local|internal|localhost|localdomain|intranet|lan|corp|home|arpa)$")
"""Names that stand for something inside a cluster, a cloud or an office; so does a name without a dot."""

REFUSED_V4 = (ipaddress.ip_network("168.63.129.16/32"),)
"""Public by its number, but inside Azure the host's own service."""

TRANSLATED = tuple(
    ipaddress.ip_network(network) for network in ("::/96", "64:ff9b::/96", "64:ff9b:1::/48", "::ffff:0:0:0/96")
)
"""IPv6 networks that hold an IPv4 address in their last 32 bits: compatible, NAT64 (twice), translated."""

ISATAP = (0x00005EFE, 0x02005EFE)
"""Third quarter of an IPv6 address whose last 32 bits are an IPv4 address (ISATAP)."""

TEXT_TYPES = re.compile(r"^(text/|application/(xhtml\+xml|json|xml|rss\+xml|atom\+xml|ld\+json|markdown))")


@dataclass(frozen=True, slots=True)
class Page:
    """What was fetched."""

    url: str
    """Where it was found in the end."""
    content_type: str
    body: bytes
    charset: str
    """As the server said; empty where it did not."""


class FetchGuard:
    """Fetches pages that may be fetched.

    Parameters
    ----------
    allowed
        Hosts, `*.domain` and networks that are not public and may be fetched from all the same.
    lookup
        Resolves a host to addresses; for tests.
    """

    def __init__(self, allowed: Iterable[str] = (), lookup: Lookup | None = None) -> None:
        self._lookup = lookup or _system_lookup
        self._hosts: list[str] = []
        self._networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = []
        for entry in allowed:
            try:
                self._networks.append(ipaddress.ip_network(entry, strict=False))
            except ValueError:
                self._hosts.append(entry.lower().rstrip("."))

    async def check(self, url: str) -> str:
        """Check an address that another server will fetch, and give it as it was checked: without odd characters.

        That server resolves it again by itself.

        Raises
        ------
        ToolError
            It may not be fetched.
        """
        checked = self._checked(url)
        host = _host(checked)
        if _literal(host) is None:
            await self.resolve(host, 443)
        return str(checked)

    async def resolve(self, host: str, port: int) -> list[Address]:
        """Give the host's addresses, once all of them are known to be allowed; raises ToolError."""
        try:
            found = [ipaddress.ip_address(each.partition("%")[0]) for each in await self._lookup(host, port)]
        except (OSError, UnicodeError):  # the latter of a name that can't be written for a look-up
            raise ToolError(f"the host {host} is not known") from None
        if not found:
            raise ToolError(f"the host {host} has no address")
        if not self._is_allowed_host(host):
            for address in found:
                self._check_address(address, host)
        return found

    async def fetch(self, url: str, *, max_bytes: int = MAX_PAGE_BYTES, seconds: float = 30.0) -> Page:
        """Fetch a page of text, following redirects.

        Parameters
        ----------
        max_bytes
            Size after decompression; a longer page is refused.
        seconds
            For everything together.

        Raises
        ------
        ToolError
            It may not be fetched, is no text, too long, or does not answer.
        """
        connector = aiohttp.TCPConnector(resolver=_GuardedResolver(self), use_dns_cache=False, force_close=True)
        timeout = aiohttp.ClientTimeout(total=None)
        try:
            async with (
                asyncio.timeout(seconds),
                aiohttp.ClientSession(
                    connector=connector, cookie_jar=aiohttp.DummyCookieJar(), timeout=timeout
                ) as session,
            ):
                return await self._follow(session, url, max_bytes)
        except TimeoutError:
            raise ToolError(f"the page did not answer within {seconds:g} seconds") from None
        except aiohttp.InvalidURL:
            raise ToolError("the URL can't be used") from None
        except (aiohttp.ClientError, OSError) as error:
            raise ToolError(f"the page can't be reached ({type(error).__name__})") from None

    async def _follow(self, session: aiohttp.ClientSession, url: str, max_bytes: int) -> Page:
        checked = self._checked(url)
        for _ in range(MAX_REDIRECTS + 1):
            headers = {"accept": "text/html, text/*;q=0.9, application/json;q=0.8"}
            async with session.get(checked, allow_redirects=False, headers=headers) as response:
                location = response.headers.get("location")
                if 300 <= response.status < 400 and location:  # noqa: PLR2004 - HTTP's numbers
                    checked = self._checked(location, checked)
                    continue
                return await _read(response, str(checked), max_bytes)
        raise ToolError(f"the page redirects more than {MAX_REDIRECTS} times")

    def _checked(self, url: str, base: URL | None = None) -> URL:
        """Read a URL, and see that it may be asked as far as it tells itself; raises ToolError."""
        try:
            parsed = base.join(URL(url)) if base else URL(url)
            host, port = _host(parsed), parsed.explicit_port
        except ValueError:
            host, port, parsed = "", None, URL()
        if parsed.scheme not in {"http", "https"} or not host or port == 0 or len(url) > MAX_URL_CHARACTERS:
            raise ToolError("the URL must be http:// or https:// with a host")
        if parsed.raw_user is not None or parsed.raw_password is not None:
            raise ToolError("the URL must not contain a user or password")
        if self._is_allowed_host(host):
            return parsed
        literal = _literal(host)
        if literal is not None:
            self._check_address(literal, host)
        elif "." not in host or CLUSTER_NAME.search(host):
            raise _refused(host)
        return parsed

    def _is_allowed_host(self, host: str) -> bool:
        host = host.lower().rstrip(".")
        return any(
            host.endswith(allowed[1:]) if allowed.startswith("*.") else host == allowed for allowed in self._hosts
        )

    def _check_address(self, address: Address, host: str) -> None:
        if any(address in network for network in self._networks):
            return
        if not all(_is_public(each) for each in (address, *_embedded(address))):
            raise _refused(host)


class _GuardedResolver(AbstractResolver):
    """Lets aiohttp connect only to addresses that were checked."""

    def __init__(self, guard: FetchGuard) -> None:
        self._guard = guard

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_UNSPEC,  # noqa: ARG002 - the interface is aiohttp's
    ) -> list[ResolveResult]:
        """Resolve once."""
        return [
            ResolveResult(
                hostname=host,
                host=str(address),
                port=port,
                family=socket.AF_INET if address.version == 4 else socket.AF_INET6,  # noqa: PLR2004 - IP's number
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in await self._guard.resolve(host, port)
        ]

    async def close(self) -> None:
        """Nothing is open."""


async def _system_lookup(host: str, port: int) -> Sequence[str]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


def _host(url: URL) -> str:
    return (url.raw_host or "").rstrip(".")


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None


def _is_public(address: Address) -> bool:
    return address.is_global and not address.is_multicast and not any(address in network for network in REFUSED_V4)


def _embedded(address: Address) -> Iterator[ipaddress.IPv4Address]:
    """Give the IPv4 addresses that an IPv6 one leads to."""
    if isinstance(address, ipaddress.IPv4Address):
        return
    if address.ipv4_mapped:
        yield address.ipv4_mapped
    if address.sixtofour:
        yield address.sixtofour
    if address.teredo:
        yield from address.teredo
    last = int(address) & 0xFFFFFFFF
    if any(address in network for network in TRANSLATED) or (int(address) >> 32) & 0xFFFFFFFF in ISATAP:
        yield ipaddress.IPv4Address(last)


def _refused(host: str) -> ToolError:
    return ToolError(f"{host} is not a public address, and FETCH_ALLOWED_HOSTS does not allow it")


async def _read(response: aiohttp.ClientResponse, url: str, max_bytes: int) -> Page:
    if response.status != 200:  # noqa: PLR2004 - HTTP's number
        raise ToolError(f"the page answered {response.status}")
    content_type = response.content_type
    if not TEXT_TYPES.match(content_type):
        raise ToolError(f"the page is {content_type}, not text")
    body = bytearray()
    async for part in response.content.iter_chunked(64 * 1024):
        body += part
        if len(body) > max_bytes:
            raise ToolError(f"the page is longer than {max_bytes} bytes")
    return Page(url, content_type, bytes(body), response.charset or "")
