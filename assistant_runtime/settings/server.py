"""The API's process: who may call, what is measured, and how it ends."""

import re
import secrets
from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, PrivateAttr, SecretStr

from assistant_runtime.settings.process import ProcessGroup
from assistant_runtime.settings.values import CertificatesFile, SecretList, StringList, http_url

MIN_SECRET_CHARACTERS = 16
"""Below this a key for HMAC can be guessed offline from one cache key."""

RANDOM_SECRET_BYTES = 32
"""The output size of SHA-256: more adds nothing to an HMAC key."""


def _otlp_url(value: Any) -> Any:
    return http_url(value, "http://collector:4318")


OTLP_HEADER = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+=[ !#-+\--:<-\[\]-~]*"
"""One header as OpenTelemetry's SDK takes it: a name, and printable ASCII without the signs that separate."""


def _otlp_headers(value: Any) -> Any:
    """Check headers here: the SDK would log one that it can't read, and it may be a secret."""
    if not isinstance(value, str):
        return value
    if not re.fullmatch(rf"{OTLP_HEADER}(\s*,\s*{OTLP_HEADER})*", value.strip()):
        raise ValueError("write name=value pairs with commas between, such as authorization=Bearer%20..., URL-encoded")
    return value.strip()


def _origins(value: tuple[str, ...]) -> tuple[str, ...]:
    """Check origins: another form would be compared with those of browsers, and never be the same."""
    if not all(re.fullmatch(r"\*|null|[a-z][-+.a-z0-9]*://[^/?#@A-Z\s]+", origin) for origin in value):
        raise ValueError(
            "write origins as browsers send them, in lower case and without a slash at the end, such as "
            "https://chat.example.com, or `*`"
        )
    return value


OtlpURL = Annotated[str, BeforeValidator(_otlp_url)]


class ServerGroup(ProcessGroup):
    """The API: access, limits, metrics and shutdown."""

    workers: int = Field(
        1,
        ge=1,
        le=64,
        description=(
            "Processes that serve the port together. More than one needs SECRET_KEY, REDIS_URL, and "
            "MONGODB_URL or DATABASE_URL. In a cluster, use replicas instead."
        ),
    )

    secret_key: SecretStr | None = Field(
        None,
        description=(
            "Secret of at least 16 characters; the keys for tenants, API keys, cache, fences and audit are "
            "derived from it. Every replica needs the same one. Empty outside production: random for each "
            "process."
        ),
    )
    secret_key_previous: SecretStr | None = Field(
        None,
        description=(
            "The SECRET_KEY before a change. While this is set, keys and data that were created with it are "
            "still found (docs/security.md)."
        ),
    )
    behind_proxy: bool = Field(
        default=False,
        description=(
            "Trust the last entries of X-Forwarded-For and X-Forwarded-Proto. Set it only if exactly one "
            "proxy is in front."
        ),
    )
    cors_origins: Annotated[StringList, AfterValidator(_origins)] = Field(
        (),
        description="Origins from which browsers may call, such as https://chat.example.com, comma-separated, or `*`.",
    )
    api_keys: SecretList = Field(
        (),
        description=(
            "Keys that clients may use, separated by commas or newlines. Without these and OIDC_ISSUER there is no "
            "authentication."
        ),
    )
    rate_limit_enabled: bool = Field(default=True, description="Limit requests for each API key or client address.")
    rate_limit_requests: int = Field(100, ge=1, le=100_000, description="Requests admitted in each window.")
    rate_limit_window: int = Field(60, ge=1, le=86_400, description="Length of the sliding window in seconds.")

    metrics_collection_enabled: bool = Field(default=True, description="Collect metrics and serve them at /metrics.")
    prometheus_enabled: bool = Field(default=True, description="Serve the metrics to Prometheus.")
    prometheus_port: int | None = Field(
        None,
        ge=1,
        le=65535,
        description="TCP port for /metrics alone, such as 9090. Empty: /metrics is served with the API.",
    )
    otel_exporter_otlp_endpoint: OtlpURL | None = Field(
        None,
        description=(
            "Base URL of the OpenTelemetry collector that receives traces over HTTP, such as "
            "http://collector:4318. Empty: no traces."
        ),
    )
    otel_exporter_otlp_headers: Annotated[SecretStr | None, BeforeValidator(_otlp_headers)] = Field(
        None,
        description="Headers for the collector: `name=value` pairs, comma-separated, with URL-encoded values.",
    )
    otel_exporter_otlp_certificate: CertificatesFile = Field(
        None, description="File of certificates (PEM) to trust for the collector."
    )
    otel_service_name: str = Field("assistant-runtime", min_length=1, description="Name of this service in traces.")
    max_concurrent_requests: int = Field(
        1000,
        ge=1,
        le=100_000,
        description="Requests to the API that are handled at once; more get 503 with Retry-After.",
    )
    max_event_loop_lag_seconds: float = Field(
        2.0, gt=0, le=60, description="How late the event loop may run, twice in a row, before /ready reports it."
    )
    max_request_bytes: int = Field(
        4 * 1024 * 1024, ge=1024, description="Largest request body in bytes; a larger one gets 413."
    )
    request_head_timeout_seconds: float = Field(
        30.0,
        gt=0,
        le=3600,
        description="Seconds for a request's line and headers, from the first byte or the new connection on.",
    )
    request_body_timeout_seconds: float = Field(
        30.0,
        gt=0,
        le=3600,
        description=(
            "Seconds that a request's body may pause, or be behind REQUEST_MIN_BYTES_PER_SECOND, before it gets 408."
        ),
    )
    request_min_bytes_per_second: int = Field(
        500, ge=1, le=1_000_000_000, description="Slowest accepted rate of a request's body, in bytes a second."
    )
    stalled_write_timeout_seconds: float = Field(
        60.0,
        gt=0,
        le=3600,
        description="Seconds that an answer waits for a client that does not read, before the connection is cut.",
    )
    max_connections: int = Field(
        10_000,
        ge=1,
        le=1_000_000,
        description=(
            "Connections that a process keeps, at most half of the files that it may open. A new one replaces "
            "an idle one; if none is idle, it gets 503."
        ),
    )
    drain_delay_seconds: float = Field(
        5.0, ge=0, le=600, description="Seconds to keep accepting requests after SIGTERM, while /ready says 503."
    )
    shutdown_grace_seconds: int = Field(
        30, ge=0, le=3600, description="Seconds that requests in flight have to finish after the drain delay."
    )

    _random_secret: SecretStr = PrivateAttr(default_factory=lambda: SecretStr(secrets.token_hex(RANDOM_SECRET_BYTES)))

    @property
    def hmac_key(self) -> bytes:
        """What every key is derived from: `secret_key`, or a random one that lives as long as these settings."""
        return (self.secret_key or self._random_secret).get_secret_value().encode()

    @property
    def metrics_port(self) -> int | None:
        """The port for the metrics alone; None: there is none."""
        return self.prometheus_port if self.metrics_collection_enabled and self.prometheus_enabled else None

    def problems(self) -> Iterable[str]:
        """Say what is not safe."""
        yield from self._problems_of_workers()
        if self.prometheus_port == self.port:
            yield "PROMETHEUS_PORT: give a port other than PORT, or leave it empty to serve /metrics on PORT"
        if self.secret_key and len(self.secret_key.get_secret_value()) < MIN_SECRET_CHARACTERS:
            yield f"SECRET_KEY: use at least {MIN_SECRET_CHARACTERS} characters, as from `openssl rand -hex 32`"
        if self.secret_key_previous and self.secret_key is None:
            yield "SECRET_KEY_PREVIOUS: set SECRET_KEY as well, to the secret that comes after it"
        if self.environment != "production":
            return
        if self.secret_key is None:
            yield "SECRET_KEY: set it in production, the same for every replica, as from `openssl rand -hex 32`"
        if not self.api_keys and not getattr(self, "oidc_issuer", None):
            yield "API_KEYS: set at least one key in production, or anyone who reaches the port spends your tokens"
        if self.debug:
            yield "DEBUG: turn it off in production, its answers tell internals"

    def _problems_of_workers(self) -> Iterable[str]:
        """Say what keeps several workers from being one assistant: they share nothing but servers."""
        if self.workers == 1:
            return
        if self.secret_key is None:
            yield "WORKERS: several need SECRET_KEY, or each takes the same client for another tenant"
        if getattr(self, "redis_url", None) is None:
            yield "WORKERS: several need REDIS_URL, or each has limits and a cache of its own"
        if not (getattr(self, "mongodb_url", None) or getattr(self, "database_url", None)):
            yield "WORKERS: several need MONGODB_URL or DATABASE_URL, or each has sessions of its own"
        for name in ("data_dir", "local_model_port"):
            if getattr(self, name, None) is not None:
                yield f"WORKERS: leave it at 1 with {name.upper()}, whose files or port one process has for itself"
