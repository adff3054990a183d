"""Milvus, standalone: one server that holds its own etcd and keeps everything on one volume.

Its settings come as environment variables, which win over its files; what the spec adds is its user.yaml. The etcd in
it has no password, so that it listens on the pod's loopback only.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

from assistant_operator.rooms import manifests
from assistant_operator.rooms.binding import Binding, Bindings, external
from assistant_operator.rooms.component import Component, ReferencedKind, Workload
from assistant_operator.rooms.credentials import Credential
from assistant_operator.rooms.facts import Facts
from assistant_operator.rooms.manifests import Object, env, secret_env
from assistant_operator.rooms.probes import http, probes
from assistant_operator.servers import milvus_operator
from assistant_operator.servers.base import Server, container, pod_template, stateful_set
from assistant_operator.spec.assistant import AIAssistant
from assistant_operator.spec.base import SecretKeyRef
from assistant_operator.spec.milvus import ExternalMilvus

NAME = "milvus"
PORT = 19530
_HEALTH_PORT = 9091

_USER_ID = 999
"""User `milvus` of the official images since 3.0. Those before have no such user, and any will do."""
_GROUP_ID = 0
"""The images' programs may be run by their owner and their group only: by root before 3.0, by `milvus` since then.

Source: build/docker/milvus/ubuntu22.04/Dockerfile, https://github.com/milvus-io/milvus/pull/44524
"""
_GRACE_SECONDS = 30
"""The server may ignore SIGTERM. What it has acknowledged is in its log on the volume, so that being killed is safe."""
_DATA = "/var/lib/milvus"
_CONFIG = "/milvus/configs"
_IMMUTABLE = {"volumeClaimTemplates": "spec.milvus.managed.storage"}

_ETCD_CONFIG = """\
listen-client-urls: http://127.0.0.1:2379
advertise-client-urls: http://127.0.0.1:2379
quota-backend-bytes: 4294967296
auto-compaction-mode: revision
auto-compaction-retention: '1000'
"""
"""As in Milvus' own script for a single server, except for the address:
https://github.com/milvus-io/milvus/blob/master/scripts/standalone_embed.sh
"""


def _server(assistant: AIAssistant) -> Server:
    return Server(assistant, NAME, assistant.spec.milvus.settings, NAME)


def _password(server: Server) -> SecretKeyRef:
    return SecretKeyRef(name=server.name, key="password")


def _fill(existing: Mapping[str, str], fresh: Callable[[], str]) -> dict[str, str]:
    return {"username": "root", "password": existing.get("password") or fresh()}


def _binding(assistant: AIAssistant) -> Binding:
    server = _server(assistant)
    return Binding(
        url=f"http://{server.name}:{PORT}",
        username=SecretKeyRef(name=server.name, key="username"),
        password=_password(server),
        port=PORT,
        pod_labels=server.selector,
    )


def _external(server: ExternalMilvus) -> Binding:
    return replace(
        external(server),
        username=server.username_from,
        password=server.password_from,
        api_key=server.api_key_from,
    )


def _objects(assistant: AIAssistant, facts: Facts, _: Bindings) -> list[Object]:
    server, settings = _server(assistant), assistant.spec.milvus.settings
    files = {"embedEtcd.yaml": _ETCD_CONFIG, "user.yaml": manifests.yaml_text(settings.config)}
    template = pod_template(
        server,
        user_id=_USER_ID,
        group_id=_GROUP_ID,
        containers=[_container(server, facts)],
        volumes=[
            {"name": "config", "configMap": {"name": server.name}},
            manifests.scratch("1Gi"),
        ],
        config_hash=facts.config_hash([_password(server)], *files.values()),
        terminationGracePeriodSeconds=_GRACE_SECONDS,
    )
    return [
        manifests.config_map(server.name, assistant, NAME, files),
        manifests.service(server.name, assistant, NAME, PORT, "grpc"),
        stateful_set(server, template),
    ]


def _environment(server: Server) -> list[Object]:
    return [
        env("DEPLOY_MODE", "STANDALONE"),
        env("ETCD_USE_EMBED", True),
        env("ETCD_DATA_DIR", f"{_DATA}/etcd"),
        env("ETCD_CONFIG_PATH", f"{_CONFIG}/embedEtcd.yaml"),
        env("COMMON_STORAGETYPE", "local"),
        # The default differs between versions; the log on the volume must be readable after an upgrade.
        env("MQ_TYPE", "rocksmq"),
        env("METRICS_PORT", _HEALTH_PORT),
        env("COMMON_SECURITY_AUTHORIZATIONENABLED", True),
        secret_env("COMMON_SECURITY_DEFAULTROOTPASSWORD", _password(server)),
    ]


def _container(server: Server, facts: Facts) -> Object:
    return container(
        server,
        facts,
        NAME,
        args=["milvus", "run", "standalone"],
        ports=[
            {"name": "grpc", "containerPort": PORT, "protocol": "TCP"},
            {"name": "health", "containerPort": _HEALTH_PORT, "protocol": "TCP"},
        ],
        env=_environment(server),
        volumeMounts=[
            {"name": "data", "mountPath": _DATA},
            *(
                {"name": "config", "mountPath": f"{_CONFIG}/{file}", "subPath": file, "readOnly": True}
                for file in ("embedEtcd.yaml", "user.yaml")
            ),
            {"name": "tmp", "mountPath": manifests.SCRATCH},
        ],
        # It loads its log at its start, which may take minutes after a crash.
        **probes(alive=http("/healthz", "health"), ready=http("/healthz", "health"), start_period=5),
    )


COMPONENT = Component(
    name=NAME,
    condition="MilvusReady",
    workloads=lambda assistant: [Workload("StatefulSet", _server(assistant).name, NAME, _IMMUTABLE)],
    enabled=lambda spec: spec.milvus.enabled,
    block="spec.milvus",
    backend=lambda spec: spec.milvus,
    binding=_binding,
    external=_external,
    referenced=(
        ReferencedKind(
            milvus_operator.GROUP,
            milvus_operator.KIND,
            milvus_operator.PLURAL,
            milvus_operator.OPERATOR,
            milvus_operator.binding,
            milvus_operator.health,
            milvus_operator.problem,
            milvus_operator.completed,
        ),
    ),
    objects=_objects,
    credentials=lambda assistant: [Credential(_server(assistant).name, NAME, _fill)],
)
