"""What is known of one request while it is answered."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import getrandbits
from typing import Any

from starlette.types import Scope

from assistant_runtime.security.accounts import Account
from assistant_runtime.security.principal import Principal

REQUEST_ID = re.compile(rb"^[A-Za-z0-9._:-]{1,128}$")
"""An id from outside goes into logs and headers: nothing but plain characters, and not endless."""


NAMED = "headers_by_name"
"""In a request's state: its headers, once one was asked for."""

NOBODY = Principal("", "", frozenset())
"""Whoever asks before the Gate has found out, or where it need not."""


@dataclass(slots=True)
class RequestContext:
    """One request's identity, and what its log line will say."""

    request_id: str
    principal: Principal = NOBODY
    opened: Account | None = None
    """The request's account, once it is admitted."""
    status: int = 0
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    """Response headers that middleware adds."""
    facts: dict[str, Any] = field(default_factory=dict)
    """Further fields of the log line, such as provider and cache."""

    @property
    def account(self) -> Account:
        """The account that pays for what this request asks of models."""
        assert self.opened is not None, "only an admitted request spends"  # noqa: S101 - a defect, no state of the world
        return self.opened

    @property
    def tenant(self) -> str:
        """Whose sessions, documents and cached answers the request is about."""
        return self.principal.tenant


def open_context(scope: Scope) -> RequestContext:
    """Give a new request its context, keeping the caller's X-Request-Id if it has a sane one."""
    state = scope.setdefault("state", {})
    given = header(scope, b"x-request-id")
    sane = given is not None and REQUEST_ID.match(given)
    request_id = given.decode() if given and sane else f"req_{getrandbits(128):032x}"
    context = RequestContext(request_id)
    state["context"] = context
    return context


def context_of(scope: Scope) -> RequestContext:
    """Give the request's context."""
    context: RequestContext = scope["state"]["context"]
    return context


def header(scope: Scope, name: bytes) -> bytes | None:
    """Give the first header of that lower-case name; all of them are looked up at once, because many are asked for."""
    state = scope["state"]
    named: dict[bytes, bytes] | None = state.get(NAMED)
    if named is None:
        named = state[NAMED] = dict(reversed(scope["headers"]))
    return named.get(name)


def encoded(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """Give headers as ASGI wants them."""
    return [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in headers.items()]
