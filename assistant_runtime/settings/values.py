"""What the groups of settings share: their base, and types that read a variable's text.

A group names its own problems, those that one field alone can't see; `Settings` asks every group.
"""

import ipaddress
import re
import socket
import ssl
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Self
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from assistant_runtime.errors import SettingsError


class Group(BaseSettings):
    """Base of every group of settings."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", validate_default=True, env_ignore_empty=True, str_strip_whitespace=True
    )

    @classmethod
    def load(cls, **overrides: Any) -> Self:
        """Read the environment.

        Raises
        ------
        SettingsError
            A variable is missing or bad; the message names each and its remedy, and holds no value.
        """
        try:
            return cls(**overrides)
        except ValidationError as error:
            raise SettingsError(describe(error)) from None

    def problems(self) -> Iterable[str]:
        """Say what can't work, one line a variable: its name and the remedy, without any value."""
        return ()


def _certificates(value: Any) -> Any:
    """Check that a file holds certificates, before the first connection finds out that it does not."""
    if not isinstance(value, str):
        return value
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=value)
    except ssl.SSLError:
        raise ValueError("the file holds no certificates: they are expected in PEM format") from None
    except OSError:
        raise ValueError("the file can't be read: give the path of a file of certificates in PEM format") from None
    return value


EVERY_ADDRESS = "*"
"""The host that stands for every address of this machine, of IPv4 and of IPv6, as far as it has them."""


def one_address(host: str) -> str:
    """Return the address for a program that listens on one: for every address that is `::`, where there is IPv6.

    On Linux a socket of `::` takes IPv4 connections too.
    """
    if host != EVERY_ADDRESS:
        return host
    return "::" if socket.has_dualstack_ipv6() else "0.0.0.0"  # noqa: S104 - what is asked for


def is_loopback(host: str) -> bool:
    """Whether a host, by its name or address, can only be this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def split_list(value: Any) -> Any:
    """Split "a, b" or one-per-line text into its entries; leave anything else to validation."""
    if not isinstance(value, str):
        return value
    return tuple(entry.strip() for entry in re.split(r"[,\n]", value) if entry.strip())


def upper(value: Any) -> Any:
    """Write a name in upper case; leave anything else to validation."""
    return value.upper() if isinstance(value, str) else value


def lower(value: Any) -> Any:
    """Write a name in lower case; leave anything else to validation."""
    return value.lower() if isinstance(value, str) else value


def http_url(value: Any, example: str) -> Any:
    """Check a server's root: http or https, a host, no user, query or fragment; a slash at its end is dropped.

    Raises
    ------
    ValueError
        It is something else; the message shows `example`.
    """
    if not isinstance(value, str):
        return value
    try:
        parts = urlsplit(value.strip())
        usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0 and "@" not in parts.netloc
    except ValueError:
        usable = False
    if not usable or re.search(r"[\s?#]", value.strip()):
        raise ValueError(
            f"write the API's root as http(s)://host[:port][/path], for example {example}, "
            "without user, query or fragment"
        )
    return value.strip().rstrip("/")


CertificatesFile = Annotated[str | None, BeforeValidator(_certificates)]
TimeoutSeconds = Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)]
StringList = Annotated[tuple[str, ...], NoDecode, BeforeValidator(split_list)]
SecretList = Annotated[tuple[SecretStr, ...], NoDecode, BeforeValidator(split_list)]


def describe(error: ValidationError) -> str:
    """Tell what is wrong with the settings, one line a variable, without any value (it may be a secret)."""
    return "\n".join(problem_lines(error, variable=True))


def problem_lines(error: ValidationError, *, variable: bool = False) -> Iterable[str]:
    """Give one line for each finding of pydantic; `variable` writes the field as a variable."""
    for detail in error.errors(include_input=False, include_url=False):
        message = detail["msg"].removeprefix("Value error, ")
        where = field_path(detail["loc"])
        if variable:
            where = where.upper()
        yield f"{where}: {message}" if where else message


def field_path(loc: Sequence[int | str]) -> str:
    """Write where a value is as a reader would: `messages[0].role`."""
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc)
    return path.removeprefix(".")
