"""Redis: response cache, rate limits and the hot state of sessions; one server, or a cluster of six."""

from dataclasses import replace
from functools import partial

from assistant_operator.rooms.binding import Binding, Bindings, external
from assistant_operator.rooms.component import Component, ReferencedKind, Workload
from assistant_operator.rooms.connection import Connection
from assistant_operator.rooms.facts import Facts
from assistant_operator.rooms.manifests import Object
from assistant_operator.rooms.setup import Setup
from assistant_operator.servers import opstree_redis, redis, redis_cluster
from assistant_operator.servers.base import Server
from assistant_operator.spec.assistant import AIAssistant
from assistant_operator.spec.redis import ExternalRedis, ManagedRedis
from assistant_operator.spec.values import quantity

NAME = "redis"

_IMMUTABLE = {"volumeClaimTemplates": "spec.redis.managed.storage"}


def _settings(assistant: AIAssistant) -> ManagedRedis:
    return assistant.spec.redis.settings


def _is_cluster(assistant: AIAssistant) -> bool:
    return _settings(assistant).topology == "cluster"


def _server(assistant: AIAssistant) -> Server:
    """Return the server; a cluster is another one, so that neither meets the other's volumes, pods and names."""
    part = f"{NAME}-cluster" if _is_cluster(assistant) else NAME
    return Server(assistant, part, _settings(assistant), image=NAME)


def _binding(assistant: AIAssistant) -> Binding:
    server = _server(assistant)
    return redis_cluster.binding(server) if _is_cluster(assistant) else redis.binding(server)


def _external(block: ExternalRedis) -> Binding:
    settings: dict[str, str] = {"TOPOLOGY": block.topology} if block.topology != "standalone" else {}
    if block.sentinel_master:
        settings["SENTINEL_MASTER"] = block.sentinel_master
    if not block.sentinel_auth_enabled:
        settings["SENTINEL_AUTH_ENABLED"] = "false"
    passwords = {"SENTINEL_PASSWORD": block.sentinel_password_from} if block.sentinel_password_from else {}
    return replace(external(block), settings=settings, secret_settings=passwords)


def _objects(assistant: AIAssistant, facts: Facts, _: Bindings) -> list[Object]:
    max_memory = int(quantity(_settings(assistant).max_memory))
    options = (f"maxmemory {max_memory}", "maxmemory-policy volatile-ttl")
    if _is_cluster(assistant):
        return redis_cluster.objects(_server(assistant), facts, *options)
    return redis.objects(_server(assistant), facts, *options)


def _setups(assistant: AIAssistant, facts: Facts) -> list[Setup]:
    return redis_cluster.setups(_server(assistant), facts) if _is_cluster(assistant) else []


def _connections(assistant: AIAssistant, _: Bindings) -> list[Connection]:
    return redis_cluster.connections(_server(assistant)) if _is_cluster(assistant) else []


def _workload(assistant: AIAssistant) -> Workload:
    server = _server(assistant)
    return Workload("StatefulSet", server.name, server.component, _IMMUTABLE)


_referenced = partial(ReferencedKind, group=opstree_redis.GROUP, operator=opstree_redis.OPERATOR)

COMPONENT = Component(
    name=NAME,
    condition="RedisReady",
    workloads=lambda assistant: [_workload(assistant)],
    enabled=lambda spec: spec.redis.enabled,
    block="spec.redis",
    backend=lambda spec: spec.redis,
    binding=_binding,
    external=_external,
    referenced=(
        _referenced(
            kind="RedisCluster",
            plural="redisclusters",
            binding=opstree_redis.cluster_binding,
            health=opstree_redis.cluster_health,
        ),
        _referenced(
            kind="RedisReplication",
            plural="redisreplications",
            binding=opstree_redis.replication_binding,
            health=opstree_redis.replication_health,
        ),
        _referenced(
            kind="RedisSentinel",
            plural="redissentinels",
            binding=opstree_redis.sentinel_binding,
            health=opstree_redis.sentinel_health,
            problem=opstree_redis.sentinel_problem,
        ),
    ),
    objects=_objects,
    setups=_setups,
    connections=_connections,
    credentials=lambda assistant: [redis.credential(_server(assistant))],
)
