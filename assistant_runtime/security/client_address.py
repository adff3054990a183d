"""The client's address and scheme, seen through at most one proxy.

Only the last entry of a header was written by the proxy in front of us; whatever stands before it came from the client,
and would let it choose its own rate limit.
"""

import re
from contextlib import suppress
from ipaddress import IPv6Address, IPv6Network, ip_address

from starlette.types import Scope

CLIENT_PREFIX = 64
"""Bits of the smallest network that a client is given."""

_WITH_PORT = re.compile(r"^(?:\[(?P<six>[^\]]+)\](?::\d+)?|(?P<four>[^:]+):\d+)$")
"""Some proxies write the client's port too, which is another with every connection."""


def client_address(scope: Scope, *, behind_proxy: bool) -> str:
    """Give the address of whoever asks, the proxy's where it names nobody's; empty for a UNIX socket."""
    if behind_proxy:
        entry = _last_entry(scope, b"x-forwarded-for")
        found = _WITH_PORT.match(entry)
        with suppress(ValueError):
            return str(ip_address((found["six"] or found["four"]) if found else entry))
    client = scope.get("client")
    return _plain(client[0]) if client else ""


def _plain(address: str) -> str:
    """Give the IPv4 address of a client that connected to a socket of both families."""
    return address.removeprefix("::ffff:") if "." in address else address


def network(address: str) -> str:
    """Give whom an address belongs to as far as it can tell: of IPv6 the first half, which one client has whole."""
    with suppress(ValueError):
        found = ip_address(address.partition("%")[0])
        if isinstance(found, IPv6Address) and found.ipv4_mapped is None:
            return str(IPv6Network((found, CLIENT_PREFIX), strict=False))
    return address


def forwarded_scheme(scope: Scope) -> str:
    """Give the scheme that the proxy in front was asked with."""
    told = _last_entry(scope, b"x-forwarded-proto").lower()
    return told if told in {"http", "https"} else str(scope["scheme"])


def _last_entry(scope: Scope, header: bytes) -> str:
    values = [value for name, value in scope["headers"] if name == header]
    return bytes(values[-1]).rpartition(b",")[2].strip().decode("latin-1") if values else ""
