"""Redis: response cache, rate limits and the hot state of sessions."""

from assistant_operator.assistant import AIAssistant
from assistant_operator.binding import Bindings
from assistant_operator.components.base import Component, Workload
from assistant_operator.facts import Facts
from assistant_operator.manifests import Object
from assistant_operator.servers import redis
from assistant_operator.servers.base import Server
from assistant_operator.spec.redis import ManagedRedis
from assistant_operator.values import quantity

NAME = "redis"

_IMMUTABLE = {"volumeClaimTemplates": "spec.redis.managed.storage"}


def _settings(assistant: AIAssistant) -> ManagedRedis:
    return assistant.spec.redis.managed or ManagedRedis()


def _server(assistant: AIAssistant) -> Server:
    return Server(assistant, NAME, _settings(assistant), image=NAME)


def _objects(assistant: AIAssistant, facts: Facts, _: Bindings) -> list[Object]:
    max_memory = int(quantity(_settings(assistant).max_memory))
    options = (f"maxmemory {max_memory}", "maxmemory-policy allkeys-lru")
    return redis.objects(_server(assistant), facts, *options)


COMPONENT = Component(
    name=NAME,
    condition="RedisReady",
    workloads=lambda assistant: [Workload("StatefulSet", _server(assistant).name, NAME, _IMMUTABLE)],
    enabled=lambda spec: spec.redis.enabled,
    block="spec.redis",
    backend=lambda spec: spec.redis,
    binding=lambda assistant: redis.binding(_server(assistant)),
    objects=_objects,
    credentials=lambda assistant: [redis.credential(_server(assistant))],
)
