"""What the MongoDB kinds of other operators have in common: the database, and whose account is used."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

DATABASE = "ai_assistant"
"""The deployment guide's database."""

_EXTERNAL = "$external"
"""Database of the users that have no password here: certificates, LDAP."""


def url(hosts: Iterable[str], options: Mapping[str, str]) -> str:
    """Return the URL of the assistant's database, without a user or password."""
    return f"mongodb://{','.join(hosts)}/{DATABASE}?{urlencode(options)}"


def user(users: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Return the first user that has a role in the assistant's database, or else the first one; None without any."""
    usable = [found for found in users if found.get("db") != _EXTERNAL]
    meant = (found for found in usable if any(role.get("db") == DATABASE for role in found.get("roles") or ()))
    return next(meant, usable[0] if usable else None)


def authenticates_in(found: Mapping[str, Any]) -> str:
    """Return the database in which a user is kept; both operators' default is `admin`."""
    name: str = found.get("db") or "admin"
    return name
