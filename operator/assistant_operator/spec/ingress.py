"""The block `ingress`: the way from outside the cluster."""

from typing import Annotated, Literal

from pydantic import Field

from assistant_operator.spec.base import Model
from assistant_operator.spec.rules import Rule
from assistant_operator.spec.values import Host, ObjectName


class IssuerRef(Model):
    """A cert-manager issuer."""

    name: ObjectName
    """Name of the issuer."""
    kind: Literal["Issuer", "ClusterIssuer"] = "ClusterIssuer"
    """Kind of the issuer."""


class IngressTLS(Model):
    """TLS of the Ingress."""

    rules = (
        Rule(
            cel="has(self.secretName) || has(self.issuerRef)",
            message="spec.ingress.tls: give secretName (a TLS Secret that exists) or issuerRef (a cert-manager issuer)",
            holds=lambda tls: bool(tls.secret_name or tls.issuer_ref),
        ),
    )

    secret_name: ObjectName | None = None
    """TLS Secret to serve. Default, with an issuer: <name>-tls."""
    issuer_ref: IssuerRef | None = None
    """cert-manager issuer that fills the Secret, named in the Ingress's annotation."""


class Ingress(Model):
    """An Ingress in front of the assistant's API."""

    rules = (
        Rule(
            cel="!self.enabled || has(self.host)",
            message="spec.ingress.host: an enabled Ingress needs the DNS name to serve, such as assistant.example.com",
            holds=lambda ingress: not ingress.enabled or bool(ingress.host),
        ),
    )

    enabled: bool = False
    """Whether an Ingress is created."""
    class_name: ObjectName | None = None
    """IngressClass that serves it. Default: the cluster's default class."""
    host: Host | None = None
    """DNS name that it serves."""
    annotations: Annotated[dict[str, str], Field(max_length=64)] = {}
    """Annotations for the ingress controller. Default for ingress-nginx: a read timeout as long as the providers'."""
    tls: IngressTLS | None = None
    """TLS. Default: plain HTTP."""
