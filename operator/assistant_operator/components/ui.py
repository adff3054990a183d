"""The chat page: a Deployment that serves it, and its Service.

It is a client of the assistant's own Service and has no secret: each person's key comes from their browser. One pod,
because a page's events belong to the process that a browser has its connection to.
"""

from collections.abc import Mapping

from assistant_operator import labels, names
from assistant_operator.rooms import manifests
from assistant_operator.rooms.binding import Bindings
from assistant_operator.rooms.component import Component, Workload
from assistant_operator.rooms.connection import Connection
from assistant_operator.rooms.facts import Facts
from assistant_operator.rooms.manifests import Object, env
from assistant_operator.rooms.probes import http, probes
from assistant_operator.spec.assistant import AIAssistant

NAME = "ui"
SERVICE_PORT = 80
PORT = 7860

_USER_ID = 10001
_RUNTIME, _RUNTIME_PORT = "runtime", 8000
"""Part and port of the pods behind the assistant's Service."""


def _name(assistant: AIAssistant) -> str:
    return names.child(assistant.name, NAME)


def _objects(assistant: AIAssistant, facts: Facts, _: Bindings) -> list[Object]:
    return [
        manifests.service_account(_name(assistant), assistant, NAME),
        manifests.service(_name(assistant), assistant, NAME, SERVICE_PORT, "http"),
        _deployment(assistant, facts),
    ]


def _deployment(assistant: AIAssistant, facts: Facts) -> Object:
    settings = assistant.spec.ui
    volumes = {manifests.SCRATCH: manifests.scratch("256Mi")}
    template = manifests.pod_template(
        assistant,
        NAME,
        user_id=_USER_ID,
        containers=[_container(assistant, facts, volumes)],
        volumes=list(volumes.values()),
        image=settings.image,
        config_hash=facts.config_hash([]),
        overlay=settings.pod_template,
        serviceAccountName=_name(assistant),
    )
    spec = {
        "replicas": 0 if assistant.spec.suspend else 1,
        "selector": {"matchLabels": labels.selector(assistant.name, NAME)},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
        "template": template,
    }
    return manifests.new_object("apps/v1", "Deployment", _name(assistant), assistant, NAME, spec=spec)


def _container(assistant: AIAssistant, facts: Facts, volumes: Mapping[str, Object]) -> Object:
    settings = assistant.spec.ui
    variables = [
        env("ASSISTANT_URL", f"http://{assistant.name}.{assistant.namespace}.svc/v1"),
        env("GRADIO_HOST", "*"),
        manifests.pod_ip("POD_IP"),
        env("GRADIO_PORT", PORT),
        env("LOG_LEVEL", assistant.spec.logging.level),
        env("LOG_FORMAT", assistant.spec.logging.format),
    ]
    return manifests.container(
        NAME,
        settings.image.reference(facts.images[NAME]),
        settings.image,
        settings.resources,
        ports=[{"name": "http", "containerPort": PORT, "protocol": "TCP"}],
        env=variables,
        volumeMounts=manifests.mounts(volumes),
        **probes(alive=http("/robots.txt", "http"), ready=http("/", "http"), ready_period=10),
    )


def _connections(_: AIAssistant, __: Bindings) -> list[Connection]:
    return [Connection(NAME, part=_RUNTIME, port=_RUNTIME_PORT)]


COMPONENT = Component(
    name=NAME,
    condition="UIReady",
    workloads=lambda assistant: [Workload("Deployment", _name(assistant), NAME)],
    enabled=lambda spec: spec.ui.enabled,
    block="spec.ui",
    objects=_objects,
    connections=_connections,
)
