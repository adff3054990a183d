"""Redis, standalone: response cache and rate limits, with a password and an append-only file on a volume."""

from collections.abc import Callable, Mapping

from assistant_operator import labels, manifests, names
from assistant_operator.assistant import AIAssistant
from assistant_operator.binding import Binding, Bindings
from assistant_operator.components.base import Component, Workload
from assistant_operator.credentials import Credential
from assistant_operator.facts import Facts
from assistant_operator.manifests import Object
from assistant_operator.spec.base import SecretKeyRef
from assistant_operator.spec.redis import ManagedRedis
from assistant_operator.values import quantity

NAME = "redis"
PORT = 6379

_USER_ID = 999
"""User `redis` of the official image. Any other image works too: nothing but the volume is written."""

_IMMUTABLE = {"volumeClaimTemplates": "spec.redis.managed.storage"}

_CONFIG = """\
include /etc/redis/auth/auth.conf
dir /data
port {port}
appendonly yes
maxmemory {max_memory}
maxmemory-policy allkeys-lru
"""


def _name(assistant: AIAssistant) -> str:
    return names.child(assistant.name, NAME)


def _settings(assistant: AIAssistant) -> ManagedRedis:
    return assistant.spec.redis.managed or ManagedRedis()


def _credential(assistant: AIAssistant) -> Credential:
    host = _name(assistant)

    def fill(existing: Mapping[str, str], fresh: Callable[[], str]) -> dict[str, str]:
        password = existing.get("password") or fresh()
        return {
            "password": password,
            "url": f"redis://:{password}@{host}:{PORT}/0",
            # The server reads its password from a file, so that it is in no argument list and no environment.
            "auth.conf": f"requirepass {password}\nmasterauth {password}\n",
        }

    return Credential(host, NAME, fill)


def _binding(assistant: AIAssistant) -> Binding:
    name = _name(assistant)
    return Binding(
        url=SecretKeyRef(name=name, key="url"),
        port=PORT,
        pod_labels=labels.selector(assistant.name, NAME),
    )


def _objects(assistant: AIAssistant, facts: Facts, _: Bindings) -> list[Object]:
    name = _name(assistant)
    max_memory = int(quantity(_settings(assistant).max_memory))
    config = _CONFIG.format(port=PORT, max_memory=max_memory)
    return [
        manifests.config_map(name, assistant, NAME, {"redis.conf": config}),
        manifests.service(name, assistant, NAME, PORT, "redis"),
        _stateful_set(assistant, facts, facts.config_hash([SecretKeyRef(name=name, key="auth.conf")], config)),
    ]


def _stateful_set(assistant: AIAssistant, facts: Facts, config_hash: str) -> Object:
    name, settings = _name(assistant), _settings(assistant)
    retention = {"whenDeleted": assistant.spec.deletion_policy, "whenScaled": "Retain"}
    template = manifests.pod_template(
        assistant,
        NAME,
        user_id=_USER_ID,
        containers=[_container(assistant, facts)],
        volumes=[
            {"name": "config", "configMap": {"name": name}},
            {
                "name": "auth",
                "secret": {"secretName": name, "items": [{"key": "auth.conf", "path": "auth.conf"}]},
            },
        ],
        image=settings.image,
        config_hash=config_hash,
        overlay=settings.pod_template,
        # The server writes its append-only file and ends on SIGTERM; rewriting a full file may take a while.
        terminationGracePeriodSeconds=60,
    )
    return manifests.new_object(
        "apps/v1",
        "StatefulSet",
        name,
        assistant,
        NAME,
        spec={
            "replicas": 0 if assistant.spec.suspend else 1,
            "serviceName": name,
            "selector": {"matchLabels": labels.selector(assistant.name, NAME)},
            "persistentVolumeClaimRetentionPolicy": retention,
            "template": template,
            "volumeClaimTemplates": [manifests.volume_claim("data", assistant, NAME, settings.storage)],
        },
    )


def _container(assistant: AIAssistant, facts: Facts) -> Object:
    settings = _settings(assistant)
    password = SecretKeyRef(name=_name(assistant), key="password")
    return manifests.container(
        "redis",
        settings.image.reference(facts.images[NAME]),
        settings.image,
        settings.resources,
        command=["redis-server", "/etc/redis/redis.conf"],
        ports=[{"name": "redis", "containerPort": PORT, "protocol": "TCP"}],
        env=[manifests.secret_env("REDISCLI_AUTH", password)],
        # redis-cli exits 0 on an error reply, so readiness compares the answer; while a large file loads the
        # server is alive (liveness) and not ready.
        startupProbe=manifests.exec_probe("redis-cli", "ping", periodSeconds=2, failureThreshold=30, timeoutSeconds=5),
        livenessProbe=manifests.exec_probe("redis-cli", "ping", periodSeconds=10, timeoutSeconds=5),
        readinessProbe=manifests.exec_probe(
            "sh", "-c", 'test "$(redis-cli ping)" = PONG', periodSeconds=5, timeoutSeconds=5
        ),
        volumeMounts=[
            {"name": "data", "mountPath": "/data"},
            {
                "name": "config",
                "mountPath": "/etc/redis/redis.conf",
                "subPath": "redis.conf",
                "readOnly": True,
            },
            {"name": "auth", "mountPath": "/etc/redis/auth", "readOnly": True},
        ],
    )


COMPONENT = Component(
    name=NAME,
    condition="RedisReady",
    workloads=lambda assistant: [Workload("StatefulSet", _name(assistant), NAME, _IMMUTABLE)],
    enabled=lambda spec: spec.redis.enabled,
    block="spec.redis",
    backend=lambda spec: spec.redis,
    binding=_binding,
    objects=_objects,
    credentials=lambda assistant: [_credential(assistant)],
)
