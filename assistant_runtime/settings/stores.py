"""The stores: Redis, MongoDB, Milvus and PostgreSQL. Without its URL, each has an embedded stand-in.

A URL may hold user and password. Where they stand beside it instead, as other operators' Secrets have them, they have
variables of their own.
"""

import re
from collections.abc import Iterable
from urllib.parse import parse_qs, urlsplit

from pydantic import Field, SecretStr

from assistant_runtime.settings.values import Group

REDIS_URL_OPTIONS = frozenset(
    {"db", "username", "password", "protocol", "health_check_interval"}
    | {"ssl_ca_certs", "ssl_ca_path", "ssl_cert_reqs", "ssl_certfile", "ssl_check_hostname", "ssl_keyfile"}
)
"""What REDIS_URL may ask for after its `?`; timeouts and retries are the runtime's own."""


def _redis_url_problem(url: str) -> str | None:
    """Say what is wrong with the URL, without the password in it."""
    remedy = "write redis://[user:password@]host:6379/0, rediss://... for TLS, or unix:///path"
    if not re.match(r"^(redis|rediss|unix)://", url):
        return remedy
    try:
        parts = urlsplit(url)
        usable = parts.port != 0 and bool(parts.path if parts.scheme == "unix" else parts.hostname)
    except ValueError:
        usable = False
    if not usable:
        return remedy
    unknown = sorted(set(parse_qs(parts.query, keep_blank_values=True)) - REDIS_URL_OPTIONS)
    if unknown:
        return f"the options {', '.join(unknown)} are unknown; there are {', '.join(sorted(REDIS_URL_OPTIONS))}"
    return None if parts.scheme == "unix" or re.match(r"^(/\d*)?$", parts.path) else remedy


class StoresGroup(Group):
    """What the runtime keeps, and where."""

    redis_url: SecretStr | None = Field(
        None, description="Redis for rate limits and cache. Empty: both are kept in this process."
    )
    redis_cache_enabled: bool = Field(default=True, description="Cache answers that were not streamed.")
    cache_ttl: int = Field(3600, ge=1, le=2_592_000, description="Seconds that a cached answer is kept.")
    cache_compression: bool = Field(default=True, description="Compress cached answers with zstd.")

    def problems(self) -> Iterable[str]:
        """Say which URL can't be used."""
        problem = _redis_url_problem(self.redis_url.get_secret_value()) if self.redis_url else None
        if problem:
            yield f"REDIS_URL: {problem}"
