"""The Ingress in front of the assistant's API, with TLS from a Secret or from a cert-manager issuer."""

from collections.abc import Sequence
from typing import Any

from assistant_operator import conditions, names
from assistant_operator.conditions import Condition, condition
from assistant_operator.rooms.manifests import Object, new_object
from assistant_operator.spec.assistant import AIAssistant, IngressTLS

_COMPONENT = "runtime"
_CONDITION = "IngressReady"
_API = ("/v1", "/docs", "/openapi.json", "/health")
"""The API, its description, and what a monitor elsewhere asks.

/ready and /metrics ask for no key, too, but tell of servers within the cluster.
"""


def objects(assistant: AIAssistant, _: Sequence[Object]) -> list[Object]:
    """Build the Ingress, or nothing where it is off."""
    ingress = assistant.spec.ingress
    if not ingress.enabled:
        return []
    rules = [_rule(ingress.host, assistant.name, *_API), *_page(assistant)]
    # The page may share the API's name: the longest path wins.
    tls = {"hosts": list(dict.fromkeys(rule["host"] for rule in rules)), "secretName": tls_secret(assistant)}
    spec = {"ingressClassName": ingress.class_name, "rules": rules, "tls": [tls] if ingress.tls else None}
    rendered = new_object("networking.k8s.io/v1", "Ingress", assistant.name, assistant, _COMPONENT, spec=spec)
    annotations = {**_issuer(ingress.tls), **ingress.annotations}
    if annotations:
        rendered["metadata"]["annotations"] = annotations
    return [rendered]


def _rule(host: str | None, service: str, *paths: str) -> Object:
    backend = {"service": {"name": service, "port": {"name": "http"}}}
    leads = [{"path": path, "pathType": "Prefix", "backend": backend} for path in paths]
    return {"host": host, "http": {"paths": leads}}


def _page(assistant: AIAssistant) -> list[Object]:
    """Return the chat page's rule, where it has a host."""
    ui = assistant.spec.ui
    return [_rule(ui.host, names.child(assistant.name, "ui"), "/")] if ui.enabled and ui.host else []


def tls_secret(assistant: AIAssistant) -> str | None:
    """Return the name of the Secret whose certificate the Ingress serves, None without TLS."""
    tls = assistant.spec.ingress.tls
    return (tls.secret_name or names.child(assistant.name, "tls")) if tls else None


def assess(assistant: AIAssistant, *, exists: bool, certified: bool) -> Condition:
    """Judge the Ingress: whether it exists, and the Secret of its certificate, if any, too."""
    if not exists:
        return condition(_CONDITION, False, conditions.PROGRESSING, "It is not there yet.")
    if not certified:
        return condition(_CONDITION, False, conditions.SECRET_NOT_FOUND, _missing_certificate(assistant))
    return condition(_CONDITION, True, conditions.READY, f"{assistant.url} leads to the Service.")


def _missing_certificate(assistant: AIAssistant) -> str:
    tls, secret = assistant.spec.ingress.tls, tls_secret(assistant)
    if tls and tls.issuer_ref:
        return f"cert-manager has not issued the certificate in Secret {secret} yet; see: kubectl get certificate"
    return (
        f"spec.ingress.tls.secretName: there is no Secret {secret} in namespace {assistant.namespace}. "
        f"Create it with: kubectl -n {assistant.namespace} create secret tls {secret} --cert=FILE --key=FILE"
    )


def _issuer(tls: IngressTLS | None) -> dict[str, Any]:
    """Annotate for cert-manager: https://cert-manager.io/docs/usage/ingress/."""
    if not tls or not tls.issuer_ref:
        return {}
    kind = "cluster-issuer" if tls.issuer_ref.kind == "ClusterIssuer" else "issuer"
    return {f"cert-manager.io/{kind}": tls.issuer_ref.name}
