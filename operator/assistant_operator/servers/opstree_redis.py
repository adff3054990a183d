"""What the objects of the OpsTree Redis operator say: where Redis is, what opens it, and whether it serves.

Names follow its version 0.26, in https://github.com/OT-CONTAINER-KIT/redis-operator: Services and ports in
internal/k8sutils/redis-{cluster,replication,sentinel}.go, the embedded Sentinels and `connectionInfo` in
api/redisreplication/v1beta2/redisreplication_types_helper.go, passwords and TLS in internal/agent/bootstrap/, and the
fields in api/*/v1beta2/. All of its servers have the default user only, so that no user name is found.
"""

from assistant_operator import conditions
from assistant_operator.health.workload import Health
from assistant_operator.rooms.binding import Binding
from assistant_operator.servers.fields import Body, name, part, service
from assistant_operator.spec.base import OperatorRef, SecretKeyRef

GROUP = "redis.redis.opstreelabs.in"
OPERATOR = "the OpsTree Redis operator"

_PORT = 6379
_SENTINEL_PORT = 26379
_AUTHORITY = "ca.crt"
"""Key with the certificates to trust where `TLS.ca` names no other one."""
_EMBEDDED_MASTER = "mymaster"
"""Name by which the Sentinels of a RedisReplication know the master."""
_SENTINEL_MASTER = "myMaster"
"""The same of a RedisSentinel, where `masterGroupName` is left to the default of its definition."""
_MASTER_PASSWORD = ("redisSentinelConfig", "redisReplicationPassword")
"""Where a RedisSentinel has the password of the servers that it watches; `redisSecret` is its own."""


def cluster_binding(cluster: Body) -> Binding:
    """Return how a RedisCluster is reached: by the Service of its leaders, who name the others."""
    spec = part(cluster, "spec")
    return Binding(
        url=_url(cluster, "leader", spec.get("port") or _PORT),
        password=_password(spec),
        ca=_authority(spec),
        settings={"TOPOLOGY": "cluster"},
    )


def cluster_health(cluster: Body) -> Health:
    """Return what the status of a RedisCluster says."""
    status = part(cluster, "status")
    state, reason = status.get("state"), status.get("reason")
    leaders, followers = status.get("readyLeaderReplicas") or 0, status.get("readyFollowerReplicas") or 0
    what = f"RedisCluster {name(cluster)}: {leaders} leaders and {followers} followers are ready"
    if state == "Ready":
        return Health(True, conditions.READY, f"{what}.")
    told = conditions.PROGRESSING if state in (None, "", "Initializing", "Bootstrap") else state
    return Health(False, told, f"{what}: {reason}." if reason else f"{what}.")


def replication_binding(replication: Body) -> Binding:
    """Return how the master of a RedisReplication is reached: by its Sentinels, or by the Service that follows it.

    Sentinels within a RedisReplication ask for no password and know no TLS; with TLS the Service is the way.
    """
    spec = part(replication, "spec")
    password, authority = _password(spec), _authority(spec)
    if not part(spec, "sentinel").get("size") or part(spec, "TLS"):
        return Binding(url=_url(replication, "master", _PORT), password=password, ca=authority)
    known = part(replication, "status", "connectionInfo").get("masterName")
    settings = {"TOPOLOGY": "sentinel", "SENTINEL_MASTER": known or _EMBEDDED_MASTER, "SENTINEL_AUTH_ENABLED": "false"}
    return Binding(url=_url(replication, "s-hl", _SENTINEL_PORT), password=password, settings=settings)


def replication_health(replication: Body) -> Health:
    """Return whether a RedisReplication has a master, which is what its status says."""
    master = part(replication, "status").get("masterNode")
    if master:
        return Health(True, conditions.READY, f"RedisReplication {name(replication)}: its master is {master}.")
    return Health(False, conditions.PROGRESSING, f"RedisReplication {name(replication)} has no master yet.")


def sentinel_binding(sentinel: Body) -> Binding:
    """Return how the master that a RedisSentinel watches is reached: by the Sentinels."""
    spec = part(sentinel, "spec")
    watched = spec.get("redisSentinelConfig")
    master = (watched.get("masterGroupName") or _SENTINEL_MASTER) if watched else _EMBEDDED_MASTER
    own = _password(spec)
    settings = {"TOPOLOGY": "sentinel", "SENTINEL_MASTER": master}
    return Binding(
        url=_url(sentinel, "sentinel", _SENTINEL_PORT),
        password=_secret_key(part(spec, *_MASTER_PASSWORD, "secretKeyRef")),
        ca=_authority(spec),
        settings=settings if own else {**settings, "SENTINEL_AUTH_ENABLED": "false"},
        secret_settings={"SENTINEL_PASSWORD": own} if own else {},
    )


def sentinel_health(sentinel: Body) -> Health:
    """Return that nothing is known: the status of a RedisSentinel has no field."""
    return Health(
        True,
        conditions.EXTERNAL,
        f"RedisSentinel {name(sentinel)}: its operator reports no state; /ready of the runtime tells if it answers.",
    )


def sentinel_problem(sentinel: Body, _: OperatorRef) -> str | None:
    """Say what keeps a RedisSentinel from being used: a password of the master that is in no Secret."""
    given = part(sentinel, "spec", *_MASTER_PASSWORD)
    if given and not given.get("secretKeyRef"):
        return (
            f"RedisSentinel {name(sentinel)} takes the master's password from elsewhere than a Secret. Give it by "
            "spec.redisSentinelConfig.redisReplicationPassword.secretKeyRef."
        )
    return None


def _url(body: Body, suffix: str, port: int) -> str:
    # Where there is a TLS block, the servers take no connection without TLS.
    scheme = "rediss" if part(body, "spec", "TLS") else "redis"
    return f"{scheme}://{service(body, suffix)}:{port}/0"


def _authority(spec: Body) -> SecretKeyRef | None:
    tls = part(spec, "TLS")
    secret = part(tls, "secret").get("secretName")
    return SecretKeyRef(name=secret, key=tls.get("ca") or _AUTHORITY) if secret else None


def _password(spec: Body) -> SecretKeyRef | None:
    return _secret_key(part(spec, "kubernetesConfig", "redisSecret"))


def _secret_key(selector: Body) -> SecretKeyRef | None:
    """Return a key of a Secret; the operator itself takes one only where both are given."""
    given = selector.get("name") and selector.get("key")
    return SecretKeyRef(name=selector["name"], key=selector["key"]) if given else None
