"""What a MongoDBCommunity says of its database; the fields are those of version 0.13 of its operator."""

from typing import Any

import pytest

from assistant_operator.rooms.manifests import Object
from assistant_operator.servers.mongodb_community import binding, health, problem
from assistant_operator.spec.base import CertificateKeyRef, OperatorRef, SecretKeyRef

REF = OperatorRef(api_version="mongodbcommunity.mongodb.com/v1", kind="MongoDBCommunity", name="main")
USER: Object = {"name": "assistant", "passwordSecretRef": {"name": "chosen"}, "roles": []}


def _object(spec: Object | None = None, **status: Any) -> Object:
    return {"metadata": {"name": "main", "namespace": "data"}, "spec": spec or {}, "status": status}


def test_it_is_reached_with_the_secret_that_its_operator_makes_for_clients() -> None:
    bound = binding(_object({"users": [USER]}))
    assert bound.url == "mongodb://main-svc.data:27017/ai_assistant?replicaSet=main&authSource=admin"
    assert bound.username == SecretKeyRef(name="main-admin-assistant", key="username")
    assert bound.password == SecretKeyRef(name="main-admin-assistant", key="password")
    assert bound.ca is None


@pytest.mark.parametrize(
    ("user", "secret"),
    [
        ({"connectionStringSecretName": "told"}, "told"),
        ({"name": "My_User", "db": "ai_assistant"}, "main-ai-assistant-my-user"),
    ],
)
def test_the_name_of_that_secret(user: Object, secret: str) -> None:
    assert binding(_object({"users": [USER | user]})).password == SecretKeyRef(name=secret, key="password")


def test_a_secret_in_another_namespace_can_not_be_read_so_that_the_users_own_is() -> None:
    bound = binding(_object({"users": [{**USER, "connectionStringSecretNamespace": "apps"}]}))
    assert (bound.username, bound.password) == ("assistant", SecretKeyRef(name="chosen", key="password"))


def test_names_of_the_users_are_kept() -> None:
    spec = {
        "users": [USER],
        "statefulSet": {"spec": {"serviceName": "mongo"}},
        "automationConfig": {"replicaSet": {"id": "rs"}},
    }
    for configuration in ({"net.port": 27018}, {"net": {"port": 27018}}):
        assert binding(_object({**spec, "additionalMongodConfig": configuration})).url == (
            "mongodb://mongo.data:27018/ai_assistant?replicaSet=rs&authSource=admin"
        )


def test_its_members_are_those_of_its_status() -> None:
    uri = "mongodb://main-0.main-svc.data.svc.cluster.local:27017,main-1.main-svc.data.svc.cluster.local:27017/?a=b"
    assert str(binding(_object({"users": [USER]}, mongoUri=uri)).url).startswith(uri.partition("/?")[0])


@pytest.mark.parametrize(
    ("given", "authority"),
    [
        ({"caCertificateSecretRef": {"name": "one"}}, CertificateKeyRef(name="one")),
        ({"caConfigMapRef": {"name": "one"}}, CertificateKeyRef(name="one", kind="ConfigMap")),
        (
            {"caConfigMapRef": {"name": "one"}, "caCertificateSecretRef": {"name": "other"}},
            CertificateKeyRef(name="other"),
        ),
    ],
)
def test_tls_takes_the_authority_that_it_names(given: Object, authority: CertificateKeyRef) -> None:
    found = _object({"users": [USER], "security": {"tls": {"enabled": True, **given}}})
    assert str(binding(found).url).endswith("&tls=true")
    assert binding(found).ca == authority
    assert problem(found, REF) is None


def test_tls_without_an_authority_can_not_be_used() -> None:
    found = problem(_object({"users": [USER], "security": {"tls": {"enabled": True}}}), REF)
    assert found
    assert "spec.security.tls caCertificateSecretRef or caConfigMapRef" in found


@pytest.mark.parametrize("users", [[], [{"name": "CN=assistant", "db": "$external"}]])
def test_one_without_a_user_of_ours_can_not_be_used(users: list[Object]) -> None:
    found = problem(_object({"users": users}), REF)
    assert found
    assert "has no user with a password. Add one to its spec.users" in found


@pytest.mark.parametrize(
    ("status", "ready", "reason", "message"),
    [
        (
            {"phase": "Running", "currentMongoDBMembers": 3},
            True,
            "Ready",
            "MongoDBCommunity main is Running, with 3 members.",
        ),
        ({}, False, "Progressing", "MongoDBCommunity main is Pending, with 0 members."),
        (
            {"phase": "Failed", "message": "error validating new Spec"},
            False,
            "Failed",
            "MongoDBCommunity main is Failed, with 0 members: error validating new Spec",
        ),
    ],
)
def test_its_health_is_its_operators_word(status: Object, ready: bool, reason: str, message: str) -> None:
    found = health(_object(**status))
    assert (found.ready, found.reason, found.message) == (ready, reason, message)
