"""Generated credentials: Secrets that are created once and then never rendered again.

A room declares what a Secret must hold; the engine fills what is missing and leaves what is there, except for values
that derive from others, such as a URL from its password. So a password survives an operator upgrade, a restored volume
and a new resource of the same name, and one that a person writes is taken up everywhere.
"""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import quote

Fill = Callable[[Mapping[str, str], Callable[[], str]], dict[str, str]]
"""From the values that exist and a source of fresh tokens to all values that the Secret must hold."""

_TOKEN_BYTES = 24
"""192 bits of chance, 32 URL-safe characters: beyond guessing and safe within a URL."""


@dataclass(frozen=True)
class Credential:
    """A Secret to generate: its name, the component it belongs to, and how to fill it."""

    name: str
    component: str
    fill: Fill

    def changes(self, existing: Mapping[str, str]) -> dict[str, str]:
        """Return what the Secret lacks, and what no longer follows from the values that it has.

        A value that a person wrote out of a file ends in a newline, which belongs to no password.
        """
        clean = {key: value.strip() for key, value in existing.items()}
        return {key: value for key, value in self.fill(clean, token).items() if existing.get(key) != value}


def token() -> str:
    """Return a fresh random token."""
    return secrets.token_urlsafe(_TOKEN_BYTES)


def in_url(password: str) -> str:
    """Return a password as it stands in a URL: a person may have written one with any characters."""
    return quote(password, safe="")


def single(key: str) -> Fill:
    """Fill a Secret that holds one random value."""
    return lambda existing, fresh: {key: existing.get(key) or fresh()}
