"""The reranker: pods of a server that the user chooses, each with a volume for the models that it downloads."""

from dataclasses import replace

from assistant_operator.rooms import manifests
from assistant_operator.rooms.binding import Binding, Bindings, external
from assistant_operator.rooms.component import Component, Workload
from assistant_operator.rooms.facts import Facts
from assistant_operator.rooms.manifests import Object, env
from assistant_operator.rooms.probes import http, probes
from assistant_operator.servers.base import Server, pod_template, stateful_set
from assistant_operator.spec.assistant import AIAssistant
from assistant_operator.spec.reranker import ExternalReranker, ManagedReranker

NAME = "reranker"
PORT = 8000

_USER_ID = 1000
"""Any user will do: nothing but the volume and /tmp is written."""
_CACHE = "/cache"
_VOLUMES = {manifests.SCRATCH: manifests.scratch("1Gi")}
_IMMUTABLE = {"volumeClaimTemplates": "spec.reranker.managed.storage"}


def _settings(assistant: AIAssistant) -> ManagedReranker:
    return assistant.spec.reranker.settings


def _server(assistant: AIAssistant) -> Server:
    return Server(assistant, NAME, _settings(assistant), image=NAME)


def _binding(assistant: AIAssistant) -> Binding:
    server = _server(assistant)
    return Binding(url=f"http://{server.name}:{PORT}", port=PORT, pod_labels=server.selector)


def _external(server: ExternalReranker) -> Binding:
    return replace(external(server), api_key=server.api_key_from)


def _objects(assistant: AIAssistant, facts: Facts, _: Bindings) -> list[Object]:
    server = _server(assistant)
    template = pod_template(
        server,
        user_id=_USER_ID,
        containers=[_container(assistant)],
        volumes=list(_VOLUMES.values()),
        config_hash=facts.config_hash([]),
        topologySpreadConstraints=manifests.spread(server.selector),
    )
    return [
        manifests.service(server.name, assistant, NAME, PORT, "http"),
        # Each pod loads its model by itself, so that none waits for another.
        stateful_set(server, template, replicas=_settings(assistant).replicas, podManagementPolicy="Parallel"),
    ]


def _container(assistant: AIAssistant) -> Object:
    settings = _settings(assistant)
    path = settings.health_path
    return manifests.container(
        NAME,
        settings.image.reference(""),  # the spec's rules promise a repository
        settings.image,
        settings.resources,
        args=settings.args,
        ports=[{"name": "http", "containerPort": PORT, "protocol": "TCP"}],
        env=[
            env("MODEL_NAME", assistant.spec.reranker.model),
            env("PORT", PORT),
            env("HOME", _CACHE),
            # PyTorch asks for the user's name at its start, and the image has none for this user.
            env("USER", NAME),
            env("HF_HOME", f"{_CACHE}/huggingface"),
        ],
        volumeMounts=[{"name": "data", "mountPath": _CACHE}, *manifests.mounts(_VOLUMES)],
        # The first start downloads the model: half an hour.
        **probes(alive=http(path, "http"), ready=http(path, "http"), start_period=10, start_seconds=1800),
    )


COMPONENT = Component(
    name=NAME,
    condition="RerankerReady",
    workloads=lambda assistant: [Workload("StatefulSet", _server(assistant).name, NAME, _IMMUTABLE)],
    enabled=lambda spec: spec.reranker.enabled,
    block="spec.reranker",
    backend=lambda spec: spec.reranker,
    binding=_binding,
    external=_external,
    objects=_objects,
)
