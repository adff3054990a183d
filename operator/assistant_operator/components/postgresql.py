"""PostgreSQL: users, API keys and usage, where they shall outlive the runtime's pods."""

from assistant_operator.rooms.binding import Bindings
from assistant_operator.rooms.component import Component, ReferencedKind, Workload
from assistant_operator.rooms.facts import Facts
from assistant_operator.rooms.manifests import Object
from assistant_operator.servers import cloudnative_pg, postgresql
from assistant_operator.servers.postgresql import Database
from assistant_operator.spec.assistant import AIAssistant
from assistant_operator.spec.postgresql import ManagedPostgreSQL

NAME = "postgresql"

_IMMUTABLE = {"volumeClaimTemplates": "spec.postgresql.managed.storage"}

_DATABASE = "ai_assistant"
_USER = "assistant"


def _settings(assistant: AIAssistant) -> ManagedPostgreSQL:
    return assistant.spec.postgresql.settings


def _server(assistant: AIAssistant) -> Database:
    return Database(assistant, NAME, _settings(assistant), image=NAME, database=_DATABASE, user=_USER)


def _objects(assistant: AIAssistant, facts: Facts, _: Bindings) -> list[Object]:
    connections = _settings(assistant).max_connections
    return postgresql.objects(_server(assistant), facts, f"max_connections={connections}")


COMPONENT = Component(
    name=NAME,
    condition="PostgreSQLReady",
    workloads=lambda assistant: [Workload("StatefulSet", _server(assistant).name, NAME, _IMMUTABLE)],
    enabled=lambda spec: spec.postgresql.enabled,
    block="spec.postgresql",
    backend=lambda spec: spec.postgresql,
    binding=lambda assistant: postgresql.binding(_server(assistant)),
    referenced=(
        ReferencedKind(
            cloudnative_pg.GROUP,
            cloudnative_pg.KIND,
            cloudnative_pg.PLURAL,
            cloudnative_pg.OPERATOR,
            cloudnative_pg.binding,
            cloudnative_pg.health,
        ),
    ),
    objects=_objects,
    credentials=lambda assistant: [postgresql.credential(_server(assistant))],
)
