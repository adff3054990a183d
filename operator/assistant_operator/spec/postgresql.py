"""PostgreSQL in the spec: users, API keys and usage, where they shall outlive the runtime's pods."""

from typing import Annotated

from pydantic import Field

from assistant_operator.spec.base import (
    Backend,
    External,
    ManagedServer,
    Model,
    OperatorRef,
    Resources,
    Storage,
    accepted_kinds,
    one_mode,
)
from assistant_operator.spec.values import PostgreSQLURL, Size


class PostgreSQLStorage(Storage):
    """The volume of a PostgreSQL."""

    size: Size = "8Gi"
    """Capacity of the volume."""


class ManagedPostgreSQL(ManagedServer):
    """A PostgreSQL that the operator runs: one server with a volume. More than one: `operatorRef`."""

    resources: Resources = Resources(
        requests={"cpu": "100m", "memory": "256Mi"}, limits={"cpu": "1000m", "memory": "1Gi"}
    )
    """Compute resources of the server."""
    storage: PostgreSQLStorage = PostgreSQLStorage()
    """Volume of the database. It stays when the AIAssistant is deleted, unless `deletionPolicy` is Delete."""
    max_connections: Annotated[int, Field(ge=10, le=10_000)] = 200
    """Connections that the server takes. Each runtime pod opens up to `pool.size` + `pool.maxOverflow` of them."""


class ExternalPostgreSQL(External):
    """A PostgreSQL that runs elsewhere."""

    url: PostgreSQLURL | None = None
    """URL of the database, such as postgresql://postgresql.example.com:5432/ai_assistant."""


class Pool(Model):
    """The connections that each runtime pod keeps."""

    size: Annotated[int, Field(ge=1, le=1000)] = 20
    """Connections that are kept open."""
    max_overflow: Annotated[int, Field(ge=0, le=1000)] = 30
    """Connections beyond `size` that are opened when all of those are in use, and closed after."""


class PostgreSQL(Backend):
    """PostgreSQL: users, API keys and usage."""

    rules = (
        one_mode("managed", "operatorRef", "external"),
        accepted_kinds(("postgresql.cnpg.io", "Cluster")),
    )

    enabled: bool = False
    """Whether the assistant uses PostgreSQL."""
    pool: Pool = Pool()
    """The connections that each runtime pod keeps."""
    managed: ManagedPostgreSQL | None = None
    """Settings of the PostgreSQL that the operator runs."""
    operator_ref: OperatorRef | None = None
    """A Cluster of CloudNativePG (postgresql.cnpg.io), for more than one server."""
    external: ExternalPostgreSQL | None = None
    """A PostgreSQL that runs elsewhere."""

    @property
    def settings(self) -> ManagedPostgreSQL:
        """Settings of the server that the operator runs: those given, or the defaults."""
        return self.managed or _DEFAULTS


_DEFAULTS = ManagedPostgreSQL()
"""Made once: a pass asks for them many times."""
