"""The runtime's settings, one frozen class read from the environment.

Each field is an environment variable of the same name in upper case, so that this class is the whole contract with
whoever starts the runtime. A value that can't work stops the start with one message that names the variable and the
remedy: a server that starts half configured fails later, where it is harder to see why.
"""

import os
import re
import secrets
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal, Self
from urllib.parse import parse_qs, urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from assistant_runtime.errors import SettingsError

PROVIDER_NAME = r"^[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?$"
"""Provider names stand in model names ("name/model"), metric labels and URLs of dashboards."""

MIN_SECRET_CHARACTERS = 16
"""Below this a key for HMAC can be guessed offline from one cache key."""

RANDOM_SECRET_BYTES = 32
"""The output size of SHA-256: more adds nothing to an HMAC key."""

REDIS_URL_OPTIONS = frozenset(
    {"db", "username", "password", "protocol", "health_check_interval"}
    | {"ssl_ca_certs", "ssl_ca_path", "ssl_cert_reqs", "ssl_certfile", "ssl_check_hostname", "ssl_keyfile"}
)
"""What REDIS_URL may ask for after its `?`; timeouts and retries are the runtime's own."""


def split_list(value: Any) -> Any:
    """Split "a, b" or one-per-line text into its entries; leave anything else to validation."""
    if not isinstance(value, str):
        return value
    return tuple(entry.strip() for entry in re.split(r"[,\n]", value) if entry.strip())


def _upper(value: Any) -> Any:
    return value.upper() if isinstance(value, str) else value


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _provider_url(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        parts = urlsplit(value.strip())
        usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0 and "@" not in parts.netloc
    except ValueError:
        usable = False
    if not usable or re.search(r"[\s?#]", value.strip()):
        raise ValueError(
            "write the API's root as http(s)://host[:port][/path], for example https://openrouter.ai/api/v1, "
            "without user, query or fragment"
        )
    return value.strip().rstrip("/")


def provider_key(value: Any) -> Any:
    """Strip a provider's key: a Secret made from a file ends in a newline, which no HTTP header may hold.

    Raises
    ------
    ValueError
        What is left can't be sent.
    """
    if not isinstance(value, str):
        return value
    key = value.strip()
    if not (key.isascii() and key.isprintable()):
        raise ValueError("the key has characters that no HTTP header may hold: it must be one line of printable ASCII")
    return key or None


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


ProviderURL = Annotated[str, BeforeValidator(_provider_url)]
ProviderKey = Annotated[SecretStr | None, BeforeValidator(provider_key)]
ProviderName = Annotated[str, Field(pattern=PROVIDER_NAME)]
TimeoutSeconds = Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)]
StringList = Annotated[tuple[str, ...], NoDecode, BeforeValidator(split_list)]
SecretList = Annotated[tuple[SecretStr, ...], NoDecode, BeforeValidator(split_list)]


class ProviderSettings(BaseModel):
    """One OpenAI-compatible provider."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: ProviderName
    base_url: ProviderURL
    default_model: str = Field(min_length=1)
    timeout: TimeoutSeconds = 60.0
    api_key_env: str | None = None
    _api_key: SecretStr | None = PrivateAttr(default=None)

    @property
    def api_key(self) -> SecretStr | None:
        """The provider's key: given, or read from the variable that `api_key_env` names."""
        if self._api_key is None and self.api_key_env is not None:
            return SecretStr(provider_key(os.environ.get(self.api_key_env, "")) or "")
        return self._api_key


_PROVIDER_LIST: TypeAdapter[tuple[ProviderSettings, ...]] = TypeAdapter(tuple[ProviderSettings, ...])


def _parse_providers(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return _PROVIDER_LIST.validate_json(value) if value.strip() else ()
    except ValidationError as error:
        raise ValueError(f"write a JSON list of providers; {'; '.join(_problems(error))}") from None


ProviderList = Annotated[tuple[ProviderSettings, ...], NoDecode, BeforeValidator(_parse_providers)]


class Settings(BaseSettings):
    """What the runtime reads from its environment; every field has an effect."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", validate_default=True, env_ignore_empty=True)

    environment: Annotated[Literal["development", "staging", "production"], BeforeValidator(_lower)] = Field(
        "development",
        description="Where this runs. `production` refuses to start without SECRET_KEY and API_KEYS, and with DEBUG.",
    )
    log_level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], BeforeValidator(_upper)] = Field(
        "INFO", description="Lowest level that is logged."
    )
    log_format: Literal["json", "console"] | None = Field(
        None, description="`json` or `console`. Empty: console in development, json elsewhere."
    )
    debug: bool = Field(
        default=False,
        description="Log at DEBUG, and put an internal error's text into the 500 answer.",
    )
    host: str = Field("0.0.0.0", description="Address to listen on.")  # noqa: S104 - a container serves its pod's network
    port: int = Field(8000, ge=1, le=65535, description="TCP port to listen on.")

    secret_key: SecretStr | None = Field(
        None,
        description=(
            "HMAC key, at least 16 characters, for tenant ids and cache keys, so that no API key or prompt reaches "
            "Redis or a log. The same for every replica. Empty outside production: random for each process."
        ),
    )
    behind_proxy: bool = Field(
        default=False,
        description="Trust the last X-Forwarded-For entry and X-Forwarded-Proto: exactly one proxy is in front.",
    )
    cors_origins: StringList = Field((), description="Origins that browsers may call from, comma-separated, or `*`.")
    api_keys: SecretList = Field(
        (),
        description="Keys that clients may use, separated by commas or newlines. Empty: no authentication.",
    )

    openai_compatible_name: ProviderName = Field("openai_compatible", description="Name of the first provider.")
    openai_compatible_api_key: ProviderKey = Field(None, description="Key of the first provider; empty: none is sent.")
    openai_compatible_base_url: ProviderURL | None = Field(
        None, description="API root of the first provider, for example https://openrouter.ai/api/v1."
    )
    openai_compatible_default_model: str = Field(
        "", description="Model for requests that name none or `default`. Needed with OPENAI_COMPATIBLE_BASE_URL."
    )
    openai_compatible_timeout: TimeoutSeconds = Field(
        60.0, description="Seconds until the provider's first byte, and between bytes."
    )
    providers: ProviderList = Field(
        (),
        description=(
            'Further providers, a JSON list of {"name", "base_url", "default_model", "timeout", "api_key_env"}; '
            "`timeout` in seconds, `api_key_env` names the environment variable that holds the key."
        ),
    )
    preferred_provider: str | None = Field(None, description="Provider that is asked first. Empty: the first one.")
    enable_provider_fallback: bool = Field(
        default=True, description="Ask the next provider when one fails before its first token."
    )

    redis_url: SecretStr | None = Field(
        None, description="Redis for rate limits and cache. Empty: both are kept in this process."
    )
    redis_cache_enabled: bool = Field(default=True, description="Cache answers that were not streamed.")
    cache_ttl: int = Field(3600, ge=1, le=2_592_000, description="Seconds that a cached answer is kept.")
    cache_compression: bool = Field(default=True, description="Compress cached answers with zstd.")
    rate_limit_enabled: bool = Field(default=True, description="Limit requests for each API key or client address.")
    rate_limit_requests: int = Field(100, ge=1, le=100_000, description="Requests that a window admits.")
    rate_limit_window: int = Field(60, ge=1, le=86_400, description="Length of the sliding window in seconds.")

    metrics_collection_enabled: bool = Field(default=True, description="Collect metrics and serve them at /metrics.")
    max_request_bytes: int = Field(
        4 * 1024 * 1024, ge=1024, description="Largest request body in bytes; a bigger one is answered with 413."
    )
    drain_delay_seconds: float = Field(
        5.0, ge=0, le=600, description="Seconds to go on accepting after SIGTERM, while /ready says 503."
    )
    shutdown_grace_seconds: int = Field(
        30, ge=0, le=3600, description="Seconds that requests in flight have to finish after the drain delay."
    )

    _random_secret: SecretStr = PrivateAttr(default_factory=lambda: SecretStr(secrets.token_hex(RANDOM_SECRET_BYTES)))

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

    @property
    def hmac_key(self) -> bytes:
        """Key of every HMAC: `secret_key`, or a random one that lives as long as these settings."""
        return (self.secret_key or self._random_secret).get_secret_value().encode()

    @property
    def providers_in_order(self) -> tuple[ProviderSettings, ...]:
        """Every provider, the preferred one first."""
        everyone = (*self._first_provider(), *self.providers)
        return tuple(sorted(everyone, key=lambda provider: provider.name != self.preferred_provider))

    def _first_provider(self) -> Iterable[ProviderSettings]:
        if self.openai_compatible_base_url is None:
            return
        first = ProviderSettings(
            name=self.openai_compatible_name,
            base_url=self.openai_compatible_base_url,
            default_model=self.openai_compatible_default_model,
            timeout=self.openai_compatible_timeout,
        )
        first._api_key = self.openai_compatible_api_key  # noqa: SLF001 - a key is no field: fields are printed
        yield first

    @model_validator(mode="after")
    def _check(self) -> Self:
        problems = [*self._provider_problems(), *self._security_problems()]
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def _provider_problems(self) -> Iterable[str]:
        if self.openai_compatible_base_url and not self.openai_compatible_default_model:
            yield "OPENAI_COMPATIBLE_DEFAULT_MODEL: set the model that OPENAI_COMPATIBLE_BASE_URL serves by default"
            return
        names = [provider.name for provider in self.providers_in_order]
        if len(names) != len(set(names)):
            yield f"PROVIDERS: give each provider a name of its own; these are in use: {', '.join(sorted(names))}"
        if names and self.preferred_provider is not None and self.preferred_provider not in names:
            yield f"PREFERRED_PROVIDER: name one of the providers ({', '.join(names)})"
        for provider in self.providers:
            problem = _key_problem(provider)
            if problem:
                yield f"PROVIDERS: {problem}"

    def _security_problems(self) -> Iterable[str]:
        problem = _redis_url_problem(self.redis_url.get_secret_value()) if self.redis_url else None
        if problem:
            yield f"REDIS_URL: {problem}"
        if self.secret_key and len(self.secret_key.get_secret_value()) < MIN_SECRET_CHARACTERS:
            yield f"SECRET_KEY: use at least {MIN_SECRET_CHARACTERS} characters, as from `openssl rand -hex 32`"
        if self.environment != "production":
            return
        if self.secret_key is None:
            yield "SECRET_KEY: set it in production, the same for every replica, as from `openssl rand -hex 32`"
        if not self.api_keys:
            yield "API_KEYS: set at least one key in production, or anyone who reaches the port spends your tokens"
        if self.debug:
            yield "DEBUG: turn it off in production, its answers tell internals"


def _key_problem(provider: ProviderSettings) -> str | None:
    if provider.api_key_env is None:
        return None
    try:
        key = provider.api_key
    except ValueError as error:
        return f"{provider.api_key_env}: {error}"
    if key and key.get_secret_value():
        return None
    return f"set {provider.api_key_env}, which api_key_env of {provider.name} names"


def describe(error: ValidationError) -> str:
    """Tell what is wrong with the settings, one line a variable, without any value (it may be a secret)."""
    return "\n".join(_problems(error, variable=True))


def _problems(error: ValidationError, *, variable: bool = False) -> Iterable[str]:
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
