"""The Ingress in front of the assistant's API, with TLS from a Secret or from a cert-manager issuer."""

from collections.abc import Sequence
from typing import Any

from assistant_operator import conditions, names
from assistant_operator.conditions import Condition, condition
from assistant_operator.rooms.binding import Bindings
from assistant_operator.rooms.facts import Facts
from assistant_operator.rooms.manifests import Object, new_object
from assistant_operator.rooms.policy import Lookup, Policy
from assistant_operator.spec.assistant import AIAssistant
from assistant_operator.spec.base import KeyRef, SecretKeyRef
from assistant_operator.spec.ingress import IngressTLS
from assistant_operator.spec.values import seconds

_COMPONENT = "runtime"
_CONDITION = "IngressReady"
_API = ("/v1", "/docs", "/openapi.json", "/health")
"""The API, its description, and what a monitor elsewhere asks.

/ready and /metrics ask for no key, too, but tell of servers within the cluster.
"""


def _objects(assistant: AIAssistant, _: Facts, __: Bindings, ___: Sequence[Object]) -> list[Object]:
    ingress = assistant.spec.ingress
    rules = [_rule(ingress.host, assistant.name, *_API), *_page(assistant)]
    # The page may share the API's name: the longest path wins.
    tls = {"hosts": list(dict.fromkeys(rule["host"] for rule in rules)), "secretName": _tls_secret(assistant)}
    spec = {"ingressClassName": ingress.class_name, "rules": rules, "tls": [tls] if ingress.tls else None}
    rendered = new_object("networking.k8s.io/v1", "Ingress", assistant.name, assistant, _COMPONENT, spec=spec)
    own = {**_patience(assistant), **_issuer(ingress.tls), **ingress.annotations}
    rendered["metadata"]["annotations"] = rendered["metadata"].get("annotations", {}) | own
    return [rendered]


def _rule(host: str | None, service: str, *paths: str) -> Object:
    backend = {"service": {"name": service, "port": {"name": "http"}}}
    leads = [{"path": path, "pathType": "Prefix", "backend": backend} for path in paths]
    return {"host": host, "http": {"paths": leads}}


def _page(assistant: AIAssistant) -> list[Object]:
    """Return the chat page's rule, where it has a host."""
    ui = assistant.spec.ui
    return [_rule(ui.host, names.child(assistant.name, "ui"), "/")] if ui.enabled and ui.host else []


def _tls_secret(assistant: AIAssistant) -> str | None:
    """Return the name of the Secret whose certificate the Ingress serves, None without TLS."""
    tls = assistant.spec.ingress.tls
    return (tls.secret_name or names.child(assistant.name, "tls")) if tls else None


def _references(assistant: AIAssistant) -> list[KeyRef]:
    secret = _tls_secret(assistant)
    return [SecretKeyRef(name=secret, key="tls.crt")] if secret else []


def _assess(assistant: AIAssistant, seen: Lookup) -> Condition:
    """Judge the Ingress: whether it exists, and the Secret of its certificate, if any, too."""
    secret = _tls_secret(assistant)
    if seen("Ingress", assistant.name) is None:
        return condition(_CONDITION, False, conditions.PROGRESSING, "It is not there yet.")
    if secret and seen("Secret", secret) is None:
        return condition(_CONDITION, False, conditions.SECRET_NOT_FOUND, _missing_certificate(assistant))
    return condition(_CONDITION, True, conditions.READY, f"{assistant.url} leads to the Service.")


def _missing_certificate(assistant: AIAssistant) -> str:
    tls, secret = assistant.spec.ingress.tls, _tls_secret(assistant)
    if tls and tls.issuer_ref:
        return f"cert-manager has not issued the certificate in Secret {secret} yet; see: kubectl get certificate"
    return (
        f"spec.ingress.tls.secretName: there is no Secret {secret} in namespace {assistant.namespace}. "
        f"Create it with: kubectl -n {assistant.namespace} create secret tls {secret} --cert=FILE --key=FILE"
    )


def _patience(assistant: AIAssistant) -> dict[str, str]:
    """Annotate for ingress-nginx: its 60 s would end answers that are not streamed, which come all at once."""
    longest = max(seconds(provider.timeout) for provider in assistant.providers.items)
    return {"nginx.ingress.kubernetes.io/proxy-read-timeout": str(longest)}


def _issuer(tls: IngressTLS | None) -> dict[str, Any]:
    """Annotate for cert-manager: https://cert-manager.io/docs/usage/ingress/."""
    if not tls or not tls.issuer_ref:
        return {}
    kind = "cluster-issuer" if tls.issuer_ref.kind == "ClusterIssuer" else "issuer"
    return {f"cert-manager.io/{kind}": tls.issuer_ref.name}


POLICY = Policy(
    name="ingress",
    objects=_objects,
    enabled=lambda spec: spec.ingress.enabled,
    condition=_CONDITION,
    references=_references,
    assess=_assess,
)
