"""What the OpsTree Redis operator's objects say; the fields are those of its version 0.26, API version v1beta2."""

from typing import Any

import pytest

from assistant_operator.rooms.manifests import Object
from assistant_operator.servers import opstree_redis as redis
from assistant_operator.spec.base import OperatorRef, SecretKeyRef

PASSWORD = SecretKeyRef(name="redis-secret", key="password")
GIVEN: Object = {"redisSecret": {"name": "redis-secret", "key": "password"}}
TLS: Object = {"secret": {"secretName": "redis-tls"}}
REF = OperatorRef(api_version="redis.redis.opstreelabs.in/v1beta2", kind="RedisSentinel", name="main")


def _object(spec: Object | None = None, **status: Any) -> Object:
    return {"metadata": {"name": "main", "namespace": "data"}, "spec": spec or {}, "status": status}


def test_a_cluster_is_reached_by_its_leaders() -> None:
    bound = redis.cluster_binding(_object({"kubernetesConfig": GIVEN}))
    assert (bound.url, bound.settings) == ("redis://main-leader.data:6379/0", {"TOPOLOGY": "cluster"})
    assert (bound.password, bound.ca) == (PASSWORD, None)


def test_a_replication_is_reached_by_the_service_of_its_master() -> None:
    bound = redis.replication_binding(_object({"kubernetesConfig": GIVEN, "TLS": TLS}))
    assert (bound.url, bound.settings) == ("rediss://main-master.data:6379/0", {})
    assert (bound.password, bound.ca) == (PASSWORD, SecretKeyRef(name="redis-tls", key="ca.crt"))


def test_a_replication_with_sentinels_is_reached_by_them() -> None:
    bound = redis.replication_binding(_object({"sentinel": {"size": 3}, "kubernetesConfig": GIVEN}))
    assert bound.url == "redis://main-s-hl.data:26379/0"
    assert bound.settings == {"TOPOLOGY": "sentinel", "SENTINEL_MASTER": "mymaster", "SENTINEL_AUTH_ENABLED": "false"}
    assert bound.password == PASSWORD


def test_sentinels_of_a_replication_know_no_tls_so_that_the_service_is_used() -> None:
    bound = redis.replication_binding(_object({"sentinel": {"size": 3}, "TLS": TLS}))
    assert (bound.url, bound.settings) == ("rediss://main-master.data:6379/0", {})


def test_sentinels_have_a_password_of_their_own() -> None:
    watched = {"redisReplicationPassword": {"secretKeyRef": {"name": "redis-secret", "key": "password"}}}
    bound = redis.sentinel_binding(
        _object({"kubernetesConfig": {"redisSecret": {"name": "own", "key": "pw"}}, "redisSentinelConfig": watched})
    )
    assert bound.url == "redis://main-sentinel.data:26379/0"
    assert bound.settings == {"TOPOLOGY": "sentinel", "SENTINEL_MASTER": "myMaster"}
    assert (bound.password, bound.secret_settings) == (
        PASSWORD,
        {"SENTINEL_PASSWORD": SecretKeyRef(name="own", key="pw")},
    )
    assert {secret.name for secret in bound.references()} == {"redis-secret", "own"}


def test_sentinels_without_a_password_are_asked_without_one() -> None:
    bound = redis.sentinel_binding(_object())
    assert bound.settings["SENTINEL_AUTH_ENABLED"] == "false"
    assert not list(bound.references())


def test_a_password_that_is_in_no_secret_is_a_problem() -> None:
    given = {"redisReplicationPassword": {"configMapKeyRef": {"name": "a", "key": "b"}}}
    problem = redis.sentinel_problem(_object({"redisSentinelConfig": given}), REF)
    assert problem
    assert "spec.redisSentinelConfig.redisReplicationPassword.secretKeyRef" in problem
    assert redis.sentinel_problem(_object({"redisSentinelConfig": {"redisReplicationName": "main"}}), REF) is None


@pytest.mark.parametrize(
    ("status", "ready", "reason", "message"),
    [
        (
            {"state": "Ready", "reason": "RedisCluster is ready", "readyLeaderReplicas": 3, "readyFollowerReplicas": 3},
            True,
            "Ready",
            "RedisCluster main: 3 leaders and 3 followers are ready.",
        ),
        ({}, False, "Progressing", "RedisCluster main: 0 leaders and 0 followers are ready."),
        (
            {"state": "Bootstrap", "reason": "RedisCluster is bootstrapping", "readyLeaderReplicas": 3},
            False,
            "Progressing",
            "RedisCluster main: 3 leaders and 0 followers are ready: RedisCluster is bootstrapping.",
        ),
        (
            {"state": "Failed", "reason": "RedisCluster has too many unhealthy nodes"},
            False,
            "Failed",
            "RedisCluster main: 0 leaders and 0 followers are ready: RedisCluster has too many unhealthy nodes.",
        ),
    ],
)
def test_a_clusters_health_is_its_operators_word(status: Object, ready: bool, reason: str, message: str) -> None:
    health = redis.cluster_health(_object(**status))
    assert (health.ready, health.reason, health.message) == (ready, reason, message)


def test_a_replication_serves_when_it_has_a_master() -> None:
    assert redis.replication_health(_object(masterNode="main-1")).message == (
        "RedisReplication main: its master is main-1."
    )
    without = redis.replication_health(_object())
    assert (without.ready, without.reason) == (False, "Progressing")


def test_of_sentinels_nothing_is_known() -> None:
    health = redis.sentinel_health(_object())
    assert (health.ready, health.reason) == (True, "External")
    assert "reports no state" in health.message
