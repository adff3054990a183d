"""What a PerconaServerMongoDB says of its database; the fields are those of version 1.22 of its operator."""

from typing import Any

import pytest

from assistant_operator.rooms.manifests import Object
from assistant_operator.servers.percona_mongodb import binding, health, problem
from assistant_operator.spec.base import OperatorRef, SecretKeyRef

REF = OperatorRef(api_version="psmdb.percona.com/v1", kind="PerconaServerMongoDB", name="main")
WITHOUT_CERTIFICATES = "net: {port: 27018, tls: {allowConnectionsWithoutCertificates: true}}"


def _object(spec: Object | None = None, **status: Any) -> Object:
    return {"metadata": {"name": "main", "namespace": "data"}, "spec": spec or {}, "status": status}


def test_without_users_the_operators_administrator_of_databases_is_used() -> None:
    bound = binding(_object())
    assert bound.url == "mongodb://main-rs0.data:27017/ai_assistant?replicaSet=rs0&authSource=admin"
    assert bound.username == SecretKeyRef(name="percona-server-mongodb-users", key="MONGODB_DATABASE_ADMIN_USER")
    assert bound.password == SecretKeyRef(name="percona-server-mongodb-users", key="MONGODB_DATABASE_ADMIN_PASSWORD")
    assert bound.ca is None


def test_the_user_of_the_assistants_database_is_used() -> None:
    users = [
        {"name": "$external", "db": "$external", "roles": []},
        {"name": "reports", "roles": [{"name": "read", "db": "reports"}]},
        {"name": "assistant", "db": "apps", "roles": [{"name": "readWrite", "db": "ai_assistant"}]},
    ]
    bound = binding(_object({"users": users, "replsets": [{"name": "rs1"}]}))
    assert bound.url == "mongodb://main-rs1.data:27017/ai_assistant?replicaSet=rs1&authSource=apps"
    assert (bound.username, bound.password) == (
        "assistant",
        SecretKeyRef(name="main-custom-user-secret", key="assistant"),
    )


def test_a_password_of_the_users_is_used() -> None:
    users = [{"name": "a", "passwordSecretRef": {"name": "chosen"}}]
    assert binding(_object({"users": users})).password == SecretKeyRef(name="chosen", key="password")


def test_tls_is_used_where_clients_need_no_certificate() -> None:
    bound = binding(_object({"replsets": [{"configuration": WITHOUT_CERTIFICATES}]}))
    assert bound.url == "mongodb://main-rs0.data:27018/ai_assistant?replicaSet=rs0&authSource=admin&tls=true"
    assert bound.ca == SecretKeyRef(name="main-ssl", key="ca.crt")
    off = {"tls": {"mode": "disabled"}, "replsets": [{"configuration": WITHOUT_CERTIFICATES}]}
    assert binding(_object(off)).ca is None


def test_a_sharded_one_is_reached_by_its_routers() -> None:
    mongos: Object = {"size": 2, "port": 27019, "configuration": "net: {tls: {}}"}
    assert binding(_object({"sharding": {"enabled": True, "mongos": mongos}})).url == (
        "mongodb://main-mongos.data:27019/ai_assistant?authSource=admin"
    )
    mongos["expose"] = {"servicePerPod": True}
    assert binding(_object({"sharding": {"enabled": True, "mongos": mongos}})).url == (
        "mongodb://main-mongos-0.data:27019,main-mongos-1.data:27019/ai_assistant?authSource=admin"
    )


def test_one_that_demands_certificates_can_not_be_used() -> None:
    demanding: Object = {"tls": {"mode": "requireTLS"}, "replsets": [{"name": "rs0", "configuration": "net: [: bad"}]}
    found = problem(_object(demanding), REF)
    assert found
    assert "spec.replsets[0].configuration: net: {tls: {allowConnectionsWithoutCertificates: true}}" in found
    sharded = problem(_object({**demanding, "sharding": {"enabled": True}}), REF)
    assert sharded
    assert "spec.sharding.mongos.configuration" in sharded
    assert problem(_object({**demanding, "replsets": [{"configuration": WITHOUT_CERTIFICATES}]}), REF) is None
    assert problem(_object(), REF) is None


@pytest.mark.parametrize(
    ("status", "ready", "reason", "message"),
    [
        (
            {"state": "ready", "size": 3, "ready": 3},
            True,
            "Ready",
            "PerconaServerMongoDB main: 3/3 members are ready.",
        ),
        ({}, False, "Progressing", "PerconaServerMongoDB main: 0/0 members are ready."),
        (
            {"state": "initializing", "size": 3, "ready": 1, "replsets": {"rs0": {"message": "rs0-1: back-off"}}},
            False,
            "Progressing",
            "PerconaServerMongoDB main: 1/3 members are ready: rs0: rs0-1: back-off",
        ),
        (
            {"state": "error", "message": "create system users: no secret", "size": 3},
            False,
            "Error",
            "PerconaServerMongoDB main: 0/3 members are ready: create system users: no secret",
        ),
        ({"state": "paused", "size": 0}, False, "Paused", "PerconaServerMongoDB main: 0/0 members are ready: paused"),
    ],
)
def test_its_health_is_its_operators_word(status: Object, ready: bool, reason: str, message: str) -> None:
    found = health(_object(**status))
    assert (found.ready, found.reason, found.message) == (ready, reason, message)
