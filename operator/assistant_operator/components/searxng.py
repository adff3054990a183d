"""SearXNG: web search for the assistant's tools, as stateless pods with a generated secret key.

settings.yml starts from SearXNG's own defaults, turns on the JSON answers that the tools read, and takes what the spec
adds. Its limiter is off: it is made against strangers, and here only the assistant asks.
"""

from collections.abc import Mapping
from typing import Any

from assistant_operator import labels, names
from assistant_operator.rooms import manifests
from assistant_operator.rooms.binding import Binding, Bindings
from assistant_operator.rooms.component import Component, Workload
from assistant_operator.rooms.connection import ANYWHERE, Connection
from assistant_operator.rooms.credentials import Credential, single
from assistant_operator.rooms.facts import Facts
from assistant_operator.rooms.manifests import Object
from assistant_operator.rooms.probes import http, probes
from assistant_operator.spec.assistant import AIAssistant
from assistant_operator.spec.base import SecretKeyRef
from assistant_operator.spec.searxng import ManagedSearXNG

NAME = "searxng"
PORT = 8080

_USER_ID = 977
"""User `searxng` of the official image."""
_SEARCHES_AT_ONCE = 16
"""A search waits seconds for its slowest engine. With the image's own 4, twenty searches at once kept all probes
waiting until the pod counted as dead; 16 answered three times as many, for 25 MB more.
"""


def _name(assistant: AIAssistant) -> str:
    return names.child(assistant.name, NAME)


def _settings(assistant: AIAssistant) -> ManagedSearXNG:
    return assistant.spec.searxng.settings


def _secret_key(assistant: AIAssistant) -> SecretKeyRef:
    return SecretKeyRef(name=_name(assistant), key="secret-key")


def _binding(assistant: AIAssistant) -> Binding:
    return Binding(
        url=f"http://{_name(assistant)}:{PORT}",
        port=PORT,
        pod_labels=labels.selector(assistant.name, NAME),
    )


def _configuration(assistant: AIAssistant) -> str:
    """Return the text of settings.yml."""
    base: Object = {
        "use_default_settings": True,
        "server": {"limiter": False, "image_proxy": False},
        "search": {"formats": ["html", "json"]},
    }
    merged = _merge(base, _settings(assistant).settings)
    return manifests.yaml_text(merged)


def _merge(base: Any, given: Any) -> Any:
    """Put what is given over a default, key by key; a list is replaced as a whole."""
    if not isinstance(base, dict) or not isinstance(given, dict):
        return given
    return {**base, **{key: _merge(base.get(key), value) for key, value in given.items()}}


def _objects(assistant: AIAssistant, facts: Facts, _: Bindings) -> list[Object]:
    name, config = _name(assistant), _configuration(assistant)
    return [
        manifests.config_map(name, assistant, NAME, {"settings.yml": config}),
        manifests.service(name, assistant, NAME, PORT, "http"),
        _deployment(assistant, facts, config),
    ]


def _deployment(assistant: AIAssistant, facts: Facts, config: str) -> Object:
    name, settings = _name(assistant), _settings(assistant)
    volumes = {
        "/etc/searxng": {"name": "config", "configMap": {"name": name}},
        "/var/cache/searxng": manifests.scratch("256Mi", "cache"),
        manifests.SCRATCH: manifests.scratch("256Mi"),
    }
    selector = labels.selector(assistant.name, NAME)
    template = manifests.pod_template(
        assistant,
        NAME,
        user_id=_USER_ID,
        containers=[_container(assistant, facts, volumes)],
        volumes=list(volumes.values()),
        image=settings.image,
        config_hash=facts.config_hash([_secret_key(assistant)], config),
        overlay=settings.pod_template,
        topologySpreadConstraints=manifests.spread(selector),
    )
    spec = {
        "replicas": 0 if assistant.spec.suspend else settings.replicas,
        "selector": {"matchLabels": selector},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
        "template": template,
    }
    return manifests.new_object("apps/v1", "Deployment", name, assistant, NAME, spec=spec)


def _container(assistant: AIAssistant, facts: Facts, volumes: Mapping[str, Object]) -> Object:
    settings = _settings(assistant)
    return manifests.container(
        NAME,
        settings.image.reference(facts.images[NAME]),
        settings.image,
        settings.resources,
        ports=[{"name": "http", "containerPort": PORT, "protocol": "TCP"}],
        env=[
            # The program itself reads SEARXNG_SECRET, in place of server.secret_key.
            manifests.secret_env("SEARXNG_SECRET", _secret_key(assistant)),
            # The image listens on [::], and so does not start on a node whose kernel has no IPv6:
            # https://github.com/searxng/searxng/issues/5059, container/dist.dockerfile
            manifests.pod_ip("GRANIAN_HOST"),
            manifests.env("GRANIAN_BLOCKING_THREADS", _SEARCHES_AT_ONCE),
        ],
        volumeMounts=manifests.mounts(volumes),
        **probes(alive=http("/healthz", "http"), ready=http("/healthz", "http")),
    )


def _connections(_: AIAssistant, __: Bindings) -> list[Connection]:
    return [Connection(NAME, host=ANYWHERE)]  # the search engines


COMPONENT = Component(
    name=NAME,
    condition="SearXNGReady",
    workloads=lambda assistant: [Workload("Deployment", _name(assistant), NAME)],
    enabled=lambda spec: spec.searxng.enabled,
    block="spec.searxng",
    backend=lambda spec: spec.searxng,
    binding=_binding,
    objects=_objects,
    connections=_connections,
    credentials=lambda assistant: [Credential(_name(assistant), NAME, single("secret-key"))],
)
