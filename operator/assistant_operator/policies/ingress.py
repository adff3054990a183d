"""The Ingress in front of the assistant's Service, with TLS from a Secret or from a cert-manager issuer."""

from typing import Any

from assistant_operator import names
from assistant_operator.assistant import AIAssistant, IngressTLS
from assistant_operator.manifests import Object, new_object

_COMPONENT = "runtime"


def objects(assistant: AIAssistant) -> list[Object]:
    """Build the Ingress, or nothing where it is off."""
    ingress = assistant.spec.ingress
    if not ingress.enabled:
        return []
    backend = {"service": {"name": assistant.name, "port": {"name": "http"}}}
    paths = [{"path": "/", "pathType": "Prefix", "backend": backend}]
    spec = {
        "ingressClassName": ingress.class_name,
        "rules": [{"host": ingress.host, "http": {"paths": paths}}],
        "tls": [{"hosts": [ingress.host], "secretName": tls_secret(assistant)}] if ingress.tls else None,
    }
    rendered = new_object("networking.k8s.io/v1", "Ingress", assistant.name, assistant, _COMPONENT, spec=spec)
    annotations = {**_issuer(ingress.tls), **ingress.annotations}
    if annotations:
        rendered["metadata"]["annotations"] = annotations
    return [rendered]


def tls_secret(assistant: AIAssistant) -> str | None:
    """Return the name of the Secret whose certificate the Ingress serves, None without TLS."""
    tls = assistant.spec.ingress.tls
    return (tls.secret_name or names.child(assistant.name, "tls")) if tls else None


def url(assistant: AIAssistant) -> str:
    """Return where the assistant answers: its Ingress, else its Service within the cluster."""
    ingress = assistant.spec.ingress
    if not ingress.enabled:
        return f"http://{assistant.name}.{assistant.namespace}.svc"
    return f"{'https' if ingress.tls else 'http'}://{ingress.host}"


def _issuer(tls: IngressTLS | None) -> dict[str, Any]:
    """Annotate for cert-manager: https://cert-manager.io/docs/usage/ingress/."""
    if not tls or not tls.issuer_ref:
        return {}
    kind = "cluster-issuer" if tls.issuer_ref.kind == "ClusterIssuer" else "issuer"
    return {f"cert-manager.io/{kind}": tls.issuer_ref.name}
