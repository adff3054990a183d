"""MongoDB in the spec: conversations, the audit log, and the jobs of several writers."""

from typing import Literal

from assistant_operator.spec.base import (
    Backend,
    External,
    ManagedServer,
    OperatorRef,
    Resources,
    Storage,
    accepted_kinds,
    one_mode,
)
from assistant_operator.spec.values import MongoDBURL, Size

KINDS = (("psmdb.percona.com", "PerconaServerMongoDB"), ("mongodbcommunity.mongodb.com", "MongoDBCommunity"))
"""API groups and kinds that `operatorRef` may name."""


class MongoDBStorage(Storage):
    """The volume of a MongoDB."""

    size: Size = "8Gi"
    """Capacity of the volume."""


class ManagedMongoDB(ManagedServer):
    """A MongoDB that the operator runs."""

    topology: Literal["standalone", "replicaSet"] = "standalone"
    """One server, or a replica set of three that goes on without one of them. It can't be changed once it runs."""
    resources: Resources = Resources(
        requests={"cpu": "100m", "memory": "256Mi"}, limits={"cpu": "1000m", "memory": "1Gi"}
    )
    """Compute resources of each server."""
    storage: MongoDBStorage = MongoDBStorage()
    """Volume of each server. It stays when the AIAssistant is deleted, unless `deletionPolicy` is Delete."""


class ExternalMongoDB(External):
    """A MongoDB that runs elsewhere."""

    url: MongoDBURL | None = None
    """URL of the database, such as mongodb://mongodb.example.com:27017/ai_assistant."""


class MongoDB(Backend):
    """MongoDB: conversations, the audit log, and the jobs of several writers."""

    rules = (one_mode("managed", "operatorRef", "external"), accepted_kinds(*KINDS))

    enabled: bool = True
    """Whether the assistant uses MongoDB. Without it sessions are kept in PostgreSQL, else in each runtime pod."""
    managed: ManagedMongoDB | None = None
    """Settings of the MongoDB that the operator runs."""
    operator_ref: OperatorRef | None = None
    """An object of Percona's or MongoDB's own operator."""
    external: ExternalMongoDB | None = None
    """A MongoDB that runs elsewhere."""

    @property
    def settings(self) -> ManagedMongoDB:
        """Settings of the server that the operator runs: those given, or the defaults."""
        return self.managed or _DEFAULTS


_DEFAULTS = ManagedMongoDB()
"""Made once: a pass asks for them many times."""
