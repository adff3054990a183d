"""The client's address, seen through at most one proxy.

Only the last entry of X-Forwarded-For was written by the proxy in front of us; whatever stands before it came from the
client, and would let it choose its own rate limit.
"""

from starlette.types import Scope


def client_address(scope: Scope, *, behind_proxy: bool) -> str:
    """Give the address of whoever asks; empty for a UNIX socket."""
    if behind_proxy:
        forwarded = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
        if forwarded:
            return bytes(forwarded[-1]).rpartition(b",")[2].strip().decode("latin-1")
    client = scope.get("client")
    return client[0] if client else ""


def forwarded_scheme(scope: Scope) -> str:
    """Give the scheme that the proxy in front was asked with."""
    for name, value in scope["headers"]:
        if name == b"x-forwarded-proto" and value in {b"http", b"https"}:
            return bytes(value).decode()
    return str(scope["scheme"])
