"""What a `MongoDBCommunity` says: where its database is, what opens it, and whether it serves.

Names follow version 0.13 of MongoDB's operator, in https://github.com/mongodb/mongodb-kubernetes-operator, whose
successor, mongodb-kubernetes, serves the same kind: Service, replica set and Secrets in
api/v1/mongodbcommunity_types.go, what is in the Secrets in controllers/mongodb_users.go, TLS in
controllers/mongodb_tls.go.
"""

import re

from assistant_operator import conditions
from assistant_operator.health.workload import Health
from assistant_operator.rooms.binding import Binding
from assistant_operator.servers import mongodb_objects
from assistant_operator.servers.fields import Body, name, part, service
from assistant_operator.spec.base import CertificateKeyRef, OperatorRef, SecretKeyRef

GROUP = "mongodbcommunity.mongodb.com"
KIND = "MongoDBCommunity"
PLURAL = "mongodbcommunity"
OPERATOR = "MongoDB's Kubernetes operator"

_PORT = 27017
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LONGEST_NAME = 253


def binding(body: Body) -> Binding:
    """Return how the replica set is reached, as one of the users that the object describes."""
    spec = part(body, "spec")
    user = mongodb_objects.user(_users(body))
    username, password = _account(body, user) if user else (None, None)
    options = {"replicaSet": _replica_set(body)}
    options |= {"authSource": mongodb_objects.authenticates_in(user)} if user else {}
    options |= {"tls": "true"} if _tls(spec).get("enabled") else {}
    return Binding(
        url=mongodb_objects.url(_hosts(body), options),
        username=username,
        password=password,
        ca=_authority(spec),
    )


def health(body: Body) -> Health:
    """Return what the status says."""
    status = part(body, "status")
    phase, members = status.get("phase") or "Pending", status.get("currentMongoDBMembers") or 0
    what = f"{KIND} {name(body)} is {phase}, with {members} members"
    if phase == "Running":
        return Health(True, conditions.READY, f"{what}.", members, members)
    reason = conditions.PROGRESSING if phase == "Pending" else phase
    return Health(False, reason, f"{what}: {status['message']}" if status.get("message") else f"{what}.", members)


def problem(body: Body, _: OperatorRef) -> str | None:
    """Say what keeps it from being used: no user with a password, or an authority that it does not name."""
    spec = part(body, "spec")
    if mongodb_objects.user(_users(body)) is None:
        return (
            f"{KIND} {name(body)} has no user with a password. Add one to its spec.users, with the role readWrite on "
            f"the database {mongodb_objects.DATABASE}."
        )
    if _tls(spec).get("enabled") and _authority(spec) is None:
        return (
            f"{KIND} {name(body)} has TLS and does not name the certificates to trust. Give its spec.security.tls "
            "caCertificateSecretRef or caConfigMapRef, a Secret or ConfigMap with the key ca.crt."
        )
    return None


def _users(body: Body) -> list[Body]:
    """Return the users whose password can be had in this namespace."""
    found: list[Body] = part(body, "spec").get("users") or []
    return [user for user in found if _told_here(body, user) or part(user, "passwordSecretRef").get("name")]


def _told_here(body: Body, user: Body) -> bool:
    """Tell whether the operator writes the user's Secret into the object's own namespace."""
    namespace = body["metadata"]["namespace"]
    told: bool = (user.get("connectionStringSecretNamespace") or namespace) == namespace
    return told


def _account(body: Body, user: Body) -> tuple[str | SecretKeyRef, SecretKeyRef]:
    """Return a user's name and password: as the operator's Secret for its clients has them, else as the object does."""
    if _told_here(body, user):
        secret = user.get("connectionStringSecretName") or _normalised(
            f"{name(body)}-{mongodb_objects.authenticates_in(user)}-{user['name']}"
        )
        return SecretKeyRef(name=secret, key="username"), SecretKeyRef(name=secret, key="password")
    given = user["passwordSecretRef"]
    return user["name"], SecretKeyRef(name=given["name"], key=given.get("key") or "password")


def _normalised(text: str) -> str:
    """Make a name that an object may have, as the operator does it."""
    if _SUBDOMAIN.fullmatch(text) and len(text) <= _LONGEST_NAME:
        return text
    return re.sub("-+", "-", re.sub("[^a-z0-9-]+", "-", text.lower())).strip("-")[:_LONGEST_NAME]


def _hosts(body: Body) -> list[str]:
    """Return the members as the status lists them, whose names their certificates have; before that, their Service."""
    told = re.match("mongodb://([^/?]+)", part(body, "status").get("mongoUri") or "")
    if told:
        return told[1].split(",")
    given = part(body, "spec", "statefulSet", "spec").get("serviceName")
    host = f"{given}.{body['metadata']['namespace']}" if given else service(body, "svc")
    return [f"{host}:{_port(part(body, 'spec'))}"]


def _replica_set(body: Body) -> str:
    override = part(body, "spec", "automationConfig", "replicaSet").get("id")
    return override or name(body)


def _port(spec: Body) -> int:
    """Return mongod's port, which its configuration may have as `net.port` or nested."""
    configuration = part(spec, "additionalMongodConfig")
    return int(configuration.get("net.port") or part(configuration, "net").get("port") or _PORT)


def _authority(spec: Body) -> CertificateKeyRef | None:
    """Return where the certificates to trust are; its operator asks a Secret first, and takes the key ca.crt."""
    tls = _tls(spec)
    if not tls.get("enabled"):
        return None
    if secret := part(tls, "caCertificateSecretRef").get("name"):
        return CertificateKeyRef(name=secret)
    config_map = part(tls, "caConfigMapRef").get("name")
    return CertificateKeyRef(name=config_map, kind="ConfigMap") if config_map else None


def _tls(spec: Body) -> Body:
    return part(spec, "security", "tls")
