"""Generated credentials: Secrets that are created once and then never rendered again.

A room declares what a Secret must hold; the engine fills what is missing at creation and leaves what is there. So a
password survives an operator upgrade, a restored volume and a new resource of the same name.
"""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass

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

    def missing(self, existing: Mapping[str, str]) -> dict[str, str]:
        """Return the keys that the Secret lacks, with fresh values; keys that exist keep theirs."""
        return {key: value for key, value in self.fill(existing, token).items() if key not in existing}


def token() -> str:
    """Return a fresh random token."""
    return secrets.token_urlsafe(_TOKEN_BYTES)


def single(key: str) -> Fill:
    """Fill a Secret that holds one random value."""
    return lambda existing, fresh: {key: existing.get(key) or fresh()}
