"""What sends spans to a collector: OpenTelemetry's exporter, which trusts what all other clients here trust.

Import this where spans are sent and nowhere else: the SDK is loaded with it.
"""

import ssl
from typing import Any

import requests
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.util.re import parse_env_headers
from requests.adapters import HTTPAdapter
from requests.exceptions import SSLError

from assistant_runtime.trust import distrust, system_file, trusting

CA_SETTING = "OTEL_EXPORTER_OTLP_CERTIFICATE"

EXPORT_SECONDS = 5.0
"""How long one batch may take, with its repetitions."""


def span_exporter(endpoint: str, headers: str, ca_file: str | None) -> OTLPSpanExporter:
    """Give the exporter.

    Parameters
    ----------
    endpoint
        The collector's root; spans go to its /v1/traces.
    headers
        What each request to the collector carries, as OTEL_EXPORTER_OTLP_HEADERS writes it.
    ca_file
        Certificates to trust in place of the system's.
    """
    session = requests.Session()
    session.mount("https://", _Trusting(trusting(ca_file)))
    return OTLPSpanExporter(
        endpoint=f"{endpoint}/v1/traces",
        # Without a file, requests would add authorities of its own to those of the context.
        certificate_file=ca_file or system_file(),
        headers=parse_env_headers(headers, liberal=True),
        timeout=EXPORT_SECONDS,
        session=session,
    )


class _Trusting(HTTPAdapter):
    """Connects with a context of ours, and says what to do about a certificate that it refuses."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__()

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options, ssl_context=self._context)

    def send(self, *arguments: Any, **options: Any) -> requests.Response:
        try:
            return super().send(*arguments, **options)
        except SSLError as error:
            reason = distrust(error, CA_SETTING)
            raise (SSLError(f"(the collector {reason})") if reason else error) from None
