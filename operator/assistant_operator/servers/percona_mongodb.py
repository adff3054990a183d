"""What a `PerconaServerMongoDB` says: where its database is, what opens it, and whether it serves.

Names follow version 1.22 of Percona's operator, in https://github.com/percona/percona-server-mongodb-operator: Services
in pkg/psmdb/service.go and pkg/naming/naming.go, users in pkg/controller/perconaservermongodb/custom_users.go and
https://docs.percona.com/percona-operator-for-mongodb/app-users.html, defaults in pkg/apis/psmdb/v1/psmdb_defaults.go.
"""

from collections.abc import Mapping

import yaml

from assistant_operator import conditions
from assistant_operator.health.workload import Health
from assistant_operator.rooms.binding import Binding
from assistant_operator.servers import mongodb_objects
from assistant_operator.servers.fields import Body, name, part, service
from assistant_operator.spec.base import OperatorRef, SecretKeyRef

GROUP = "psmdb.percona.com"
KIND = "PerconaServerMongoDB"
PLURAL = "perconaservermongodbs"
OPERATOR = "Percona Operator for MongoDB"

_PORT = 27017
_REPLICA_SET = "rs0"
"""Name of the first replica set where it has none."""
_USERS = "percona-server-mongodb-users"
"""Secret with the operator's own users where `secrets.users` names no other one."""
_ADMIN = "MONGODB_DATABASE_ADMIN"
"""How the keys of that Secret begin that have the user who may read and write every database."""
_PASSWORD = "password"  # noqa: S105 - a key, no password


def binding(body: Body) -> Binding:
    """Return how the database is reached: a sharded one by its routers, any other by the members of its replica set."""
    spec = part(body, "spec")
    options: dict[str, str] = {}
    if _sharded(spec):
        hosts = _routers(body)
    else:
        replica_set = _first(spec).get("name") or _REPLICA_SET
        hosts = [f"{service(body, replica_set)}:{_port(spec)}"]
        options["replicaSet"] = replica_set
    username, password, authenticates_in = _account(body)
    tls = _clients_use_tls(spec)
    options |= {"authSource": authenticates_in} | ({"tls": "true"} if tls else {})
    return Binding(
        url=mongodb_objects.url(hosts, options),
        username=username,
        password=password,
        ca=SecretKeyRef(name=part(spec, "secrets").get("ssl") or f"{name(body)}-ssl", key="ca.crt") if tls else None,
    )


def health(body: Body) -> Health:
    """Return what the status says."""
    status = part(body, "status")
    state, exist, ready = status.get("state") or "", status.get("size") or 0, status.get("ready") or 0
    what = f"{KIND} {name(body)}: {ready}/{exist} members are ready"
    if state == "ready":
        return Health(True, conditions.READY, f"{what}.", exist, ready)
    reason = conditions.PROGRESSING if state in ("", "initializing", "sharding") else state.capitalize()
    said = status.get("message") or _failing(status) or state
    return Health(False, reason, f"{what}: {said}" if said else f"{what}.", exist, ready)


def problem(body: Body, _: OperatorRef) -> str | None:
    """Say what keeps it from being used: servers that ask every client for a certificate."""
    spec = part(body, "spec")
    if part(spec, "tls").get("mode") != "requireTLS" or _clients_use_tls(spec):
        return None
    server = "spec.sharding.mongos" if _sharded(spec) else "spec.replsets[0]"
    return (
        f"{KIND} {name(body)} asks every client for a certificate, which the assistant's runtime has not. Add to its "
        f"{server}.configuration: net: {{tls: {{allowConnectionsWithoutCertificates: true}}}}"
    )


def _account(body: Body) -> tuple[str | SecretKeyRef, SecretKeyRef, str]:
    """Return the user, where its password is, and the database in which it is kept."""
    spec = part(body, "spec")
    user = mongodb_objects.user(spec.get("users") or [])
    if user is None:
        secret = part(spec, "secrets").get("users") or _USERS
        username, password = (SecretKeyRef(name=secret, key=f"{_ADMIN}_{end}") for end in ("USER", "PASSWORD"))
        return username, password, "admin"
    given = user.get("passwordSecretRef")
    if given:
        password = SecretKeyRef(name=given["name"], key=given.get("key") or _PASSWORD)
    else:
        password = SecretKeyRef(name=f"{name(body)}-custom-user-secret", key=user["name"])
    return user["name"], password, mongodb_objects.authenticates_in(user)


def _clients_use_tls(spec: Body) -> bool:
    """Tell whether clients without a certificate of their own may use TLS; where not, they do without TLS.

    The operator gives every server an authority, and a server that has one asks clients for certificates unless told
    otherwise: https://www.mongodb.com/docs/manual/reference/configuration-options/
    """
    tls = part(_network(spec), "tls")
    return part(spec, "tls").get("mode") != "disabled" and bool(tls.get("allowConnectionsWithoutCertificates"))


def _network(spec: Body) -> Body:
    """Return the part `net` of the configuration of the servers that clients reach, a text in YAML."""
    server = part(spec, "sharding", "mongos") if _sharded(spec) else _first(spec)
    try:
        return part({"configuration": yaml.safe_load(server.get("configuration") or "")}, "configuration", "net")
    except yaml.YAMLError:
        return {}


def _port(spec: Body) -> int:
    return int(_network(spec).get("port") or _PORT)


def _routers(body: Body) -> list[str]:
    """Return the addresses of the routers: one Service, or one for each pod."""
    mongos = part(body, "spec", "sharding", "mongos")
    port = mongos.get("port") or _PORT
    if not part(mongos, "expose").get("servicePerPod"):
        return [f"{service(body, 'mongos')}:{port}"]
    return [f"{service(body, f'mongos-{ordinal}')}:{port}" for ordinal in range(mongos.get("size") or 1)]


def _failing(status: Body) -> str | None:
    """Return what the first replica set that is not ready says of itself."""
    sets: Mapping[str, Body] = status.get("replsets") or {}
    said = (f"{which}: {found['message']}" for which, found in sorted(sets.items()) if found.get("message"))
    return next(said, None)


def _sharded(spec: Body) -> bool:
    return bool(part(spec, "sharding").get("enabled"))


def _first(spec: Body) -> Body:
    sets: list[Body] = spec.get("replsets") or []
    return sets[0] if sets else {}
