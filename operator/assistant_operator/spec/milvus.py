"""Milvus in the spec: the vectors of what the assistant knows."""

from assistant_operator.spec.base import (
    Backend,
    CertificateKeyRef,
    External,
    ManagedServer,
    OperatorRef,
    Overlay,
    PasswordKeyRef,
    Resources,
    SecretKeyRef,
    Storage,
    accepted_kinds,
    certificates_need_tls,
    one_mode,
)
from assistant_operator.spec.rules import Rule
from assistant_operator.spec.values import URL, SecretKey, Size

KINDS = (("milvus.io", "Milvus"),)
"""API groups and kinds that `operatorRef` may name."""


class MilvusStorage(Storage):
    """The volume of a Milvus."""

    size: Size = "10Gi"
    """Capacity of the volume."""


class ManagedMilvus(ManagedServer):
    """A Milvus that the operator runs: one standalone server with its own etcd, everything on one volume."""

    resources: Resources = Resources(
        requests={"cpu": "200m", "memory": "512Mi"}, limits={"cpu": "2000m", "memory": "4Gi"}
    )
    """Compute resources of the server. Loaded collections are held in memory."""
    storage: MilvusStorage = MilvusStorage()
    """Volume of everything it keeps. It stays when the AIAssistant is deleted, unless `deletionPolicy` is Delete."""
    config: Overlay = {}
    """Merged into milvus.yaml, as Milvus documents it: `queryNode`, `dataCoord` and so on."""


class UsernameKeyRef(SecretKeyRef):
    """The key of a Secret that holds a user name."""

    key: SecretKey = "username"
    """Key within the Secret's data."""


class ExternalMilvus(External):
    """A Milvus, or Zilliz Cloud, that runs elsewhere."""

    rules = (
        *External.rules,
        Rule(
            cel="has(self.usernameFrom) == has(self.passwordFrom) && !(has(self.apiKeyFrom) && has(self.passwordFrom))",
            message="external: give usernameFrom and passwordFrom together, or apiKeyFrom (a token) alone, or none",
            holds=lambda server: (
                bool(server.username_from) == bool(server.password_from)
                and not (server.api_key_from and server.password_from)
            ),
        ),
        certificates_need_tls("url", "external.url"),
    )

    url: URL | None = None
    """URL of the server, such as http://milvus.example.com:19530, or https:// for TLS."""
    username_from: UsernameKeyRef | None = None
    """Secret key that holds the user's name."""
    password_from: PasswordKeyRef | None = None
    """Secret key that holds the password."""
    api_key_from: SecretKeyRef | None = None
    """Secret key that holds a token, in place of user and password."""


class MilvusRef(OperatorRef):
    """A `Milvus` object of the Milvus operator. The users are in Milvus itself, so that no object tells of them."""

    rules = (
        Rule(
            cel="has(self.usernameFrom) == has(self.passwordFrom)",
            message="operatorRef: give usernameFrom and passwordFrom together, or neither",
            holds=lambda ref: bool(ref.username_from) == bool(ref.password_from),
        ),
    )

    username_from: UsernameKeyRef | None = None
    """Secret key that holds the user's name, for a Milvus with authorization."""
    password_from: PasswordKeyRef | None = None
    """Secret key that holds the password."""
    ca_from: CertificateKeyRef | None = None
    """Key with the certificates to trust where Milvus has TLS. Default: those that the object mounts."""


class Milvus(Backend):
    """Milvus: vector search for retrieval."""

    rules = (one_mode("managed", "operatorRef", "external"), accepted_kinds(*KINDS))

    enabled: bool = True
    """Whether the assistant keeps vectors in Milvus. Without it, it keeps no documents."""
    managed: ManagedMilvus | None = None
    """Settings of the Milvus that the operator runs."""
    operator_ref: MilvusRef | None = None
    """A `Milvus` object of the Milvus operator, for more than one server."""
    external: ExternalMilvus | None = None
    """A Milvus that runs elsewhere."""

    @property
    def settings(self) -> ManagedMilvus:
        """Settings of the server that the operator runs: those given, or the defaults."""
        return self.managed or _DEFAULTS


_DEFAULTS = ManagedMilvus()
"""Made once: a pass asks for them many times."""
