"""Providers in the spec: the servers that answer, their order and shares, and what happens when one fails."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from assistant_operator.spec.base import CertificateKeyRef, Model, SecretKeyRef, map_list
from assistant_operator.spec.rules import Rule
from assistant_operator.spec.values import URL, ProviderName, Timeout

ModelName = Annotated[str, Field(min_length=1, max_length=256)]


class Provider(Model):
    """A server that speaks OpenAI's API and answers chat requests."""

    rules = (
        Rule(
            cel="!has(self.caFrom) || self.baseURL.startsWith('https://')",
            message="spec.providers.items.baseURL: write https://, or leave caFrom out: certificates are for TLS",
            holds=lambda provider: not provider.ca_from or provider.base_url.startswith("https://"),
        ),
    )

    name: ProviderName
    """Name of the provider, used in `preferred`, in model names (`name/model`), metrics and logs."""
    base_url: Annotated[URL, Field(alias="baseURL")]
    """Base URL of its API, usually ending in /v1, such as https://api.openai.com/v1."""
    model: ModelName
    """Model that answers when a request names none."""
    api_key_from: SecretKeyRef | None = None
    """Secret key that holds the provider's API key. Default: none is sent."""
    ca_from: CertificateKeyRef | None = None
    """Key with the certificates (PEM) to trust for the provider. Default: those that the image trusts."""
    timeout: Timeout = "10m"
    """Longest wait for the provider's first byte, and between two of its bytes."""
    weight: Annotated[int, Field(ge=0, le=1000)] = 0
    """Share of the requests among neighbours in the order that have one. 0: providers are asked strictly in order."""
    retries: Annotated[int, Field(ge=0, le=10)] = 2
    """Times that the provider is asked again, before the first token, when nobody else answered either."""
    any_model: bool = False
    """Whether it is asked for models that its list lacks, such as Azure's deployments. A sole provider always is."""


class CircuitBreaker(Model):
    """When a provider that keeps failing is left alone."""

    failures: Annotated[int, Field(ge=0, le=1000)] = 5
    """Failures in a row after which a provider is left alone. 0: never."""
    pause: Timeout = "10s"
    """Time for which it is left alone at first; then one request tries it, and each failure doubles the time."""


class Providers(Model):
    """The providers, and how one is chosen."""

    rules = (
        Rule(
            cel="!has(self.preferred) || self.items.exists(p, p.name == self.preferred)",
            message="spec.providers.preferred: must be the name of one of spec.providers.items",
            holds=lambda providers: (
                not providers.preferred or any(p.name == providers.preferred for p in providers.items)
            ),
            field_path=".preferred",
        ),
    )

    preferred: ProviderName | None = None
    """Name of the provider that is asked first. Default: the first of `items`."""
    fallback: bool = True
    """Whether the next provider is asked when one fails before its first token."""
    circuit_breaker: CircuitBreaker = CircuitBreaker()
    """When a provider that keeps failing is left alone."""
    embedding_model: ModelName | None = None
    """Model for embeddings that name none: `provider/model`, or one of the preferred provider. Default: none."""
    items: Annotated[
        list[Provider],
        Field(
            min_length=1,
            max_length=16,
            json_schema_extra=map_list("name"),
        ),
    ]
    """The providers, in the order in which they are asked."""

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        # The API server checks this by `x-kubernetes-list-type: map`.
        names = [provider.name for provider in self.items]
        if len(set(names)) < len(names):
            raise ValueError("spec.providers.items: every provider needs a name of its own")
        return self
