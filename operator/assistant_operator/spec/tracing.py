"""Traces in the spec."""

from typing import Annotated

from pydantic import Field

from assistant_operator.spec.base import CertificateKeyRef, Model, SecretKeyRef, certificates_need_tls
from assistant_operator.spec.values import URL, SecretKey


class HeadersKeyRef(SecretKeyRef):
    """The key of a Secret that holds HTTP headers."""

    key: SecretKey = "headers"
    """Key within the Secret's data."""


class Tracing(Model):
    """OpenTelemetry traces of the runtime: a span a request, and within it one a model call and a tool call."""

    rules = (certificates_need_tls("endpoint", "spec.tracing.endpoint"),)

    endpoint: URL | None = None
    """Root of the collector, over HTTP, such as http://collector.observability.svc:4318. Default: no traces."""
    service_name: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    """Name of the assistant in traces. Default: the AIAssistant's name."""
    headers_from: HeadersKeyRef | None = None
    """Secret key with headers for the collector, as `name=value` pairs with commas between. Default: none."""
    ca_from: CertificateKeyRef | None = None
    """Key with the certificates (PEM) to trust for the collector. Default: those that the image trusts."""
