"""Redis: rate limits, cache and the hot state of sessions. Without its URL, all of it is kept in this process.

A URL may hold user and password. Where they stand beside it instead, as other operators' Secrets have them, they have
variables of their own, which win.
"""

import re
from collections.abc import Iterable
from typing import Annotated, Literal
from urllib.parse import parse_qs, urlsplit

from pydantic import BeforeValidator, Field, SecretStr

from assistant_runtime.settings.values import CertificatesFile, Group, lower

REDIS_URL_OPTIONS = frozenset(
    {"db", "username", "password", "protocol", "health_check_interval"}
    | {"ssl_ca_certs", "ssl_ca_path", "ssl_cert_reqs", "ssl_certfile", "ssl_check_hostname", "ssl_keyfile"}
)
"""What REDIS_URL may ask for after its `?`; timeouts and retries are the runtime's own."""


def redis_nodes(url: str) -> list[str]:
    """Give one URL for each host of a URL that names several: redis://:pw@a:6379,b:6379/0."""
    match = re.match(r"^(rediss?://(?:[^/?#]*@)?)([^/?#@]*)(.*)$", url, re.DOTALL)
    return [f"{match[1]}{host}{match[3]}" for host in match[2].split(",")] if match else [url]


def _redis_url_problem(url: str) -> str | None:
    """Say what is wrong with the URL of one server, without the password in it."""
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
    """Redis: limits, cache and recent messages."""

    redis_url: SecretStr | None = Field(
        None,
        description=(
            "Redis for rate limits, cache and recent messages of sessions, as redis://host:6379/0. For "
            "Sentinel and Cluster, any of its hosts, comma-separated: redis://a:26379,b:26379/0. Empty: kept "
            "in this process."
        ),
    )
    redis_username: str | None = Field(None, description="User of Redis, instead of one in REDIS_URL.")
    redis_password: SecretStr | None = Field(None, description="Password of Redis, instead of one in REDIS_URL.")
    redis_ca_file: CertificatesFile = Field(
        None, description="File of certificates (PEM) to trust for Redis; turns TLS on."
    )
    redis_topology: Annotated[Literal["standalone", "cluster", "sentinel"], BeforeValidator(lower)] = Field(
        "standalone", description="What REDIS_URL leads to: `standalone`, `cluster` or `sentinel`."
    )
    redis_sentinel_master: str = Field("mymaster", description="Name of the master that the Sentinels watch.")
    redis_sentinel_password: SecretStr | None = Field(
        None, description="Password of the Sentinels. Empty: user and password of Redis."
    )
    redis_sentinel_auth_enabled: bool = Field(
        default=True, description="Whether the Sentinels require a password when Redis does."
    )
    redis_cache_enabled: bool = Field(default=True, description="Cache answers that were not streamed.")
    cache_ttl: int = Field(3600, ge=1, le=2_592_000, description="Seconds that a cached answer is kept.")
    cache_compression: bool = Field(default=True, description="Compress cached answers with zstd.")

    idempotency_ttl: int = Field(
        86_400,
        ge=0,
        le=604_800,
        description=(
            "Seconds to keep the answer to a request with an Idempotency-Key, for repeats. 0: the header has no effect."
        ),
    )

    def problems(self) -> Iterable[str]:
        """Say what of Redis can't be used."""
        if self.redis_url is None:
            if self.redis_topology != "standalone":
                yield f"REDIS_TOPOLOGY: {self.redis_topology} needs REDIS_URL, with any of its hosts"
            return
        url = self.redis_url.get_secret_value()
        nodes = redis_nodes(url) if self.redis_topology != "standalone" else [url]
        problem = next(filter(None, map(_redis_url_problem, nodes)), None)
        if problem:
            yield f"REDIS_URL: {problem}"
            return
        if self.redis_topology != "standalone" and url.startswith("unix://"):
            yield "REDIS_URL: Sentinel and Cluster are reached over the network; write redis://host:port"
        if self.redis_topology == "cluster" and re.search(r"[^/]/[1-9]\d*(\?|$)|[?&]db=[1-9]", url):
            yield "REDIS_URL: a Redis Cluster has database 0 alone; end the URL with /0"
        if self.redis_ca_file and url.startswith("unix://"):
            yield "REDIS_CA_FILE: a UNIX socket has no TLS; leave this empty"
