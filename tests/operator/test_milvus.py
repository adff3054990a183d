"""Milvus as an object of its operator: where it is, and how it is."""

from typing import Any

import pytest

from assistant_operator.components import milvus
from assistant_operator.rooms.component import ReferencedObject
from assistant_operator.rooms.manifests import Object
from assistant_operator.spec.base import CertificateKeyRef, PasswordKeyRef, SecretKeyRef
from assistant_operator.spec.milvus import MilvusRef, UsernameKeyRef

(KIND,) = milvus.COMPONENT.referenced
REF = MilvusRef(api_version="milvus.io/v1beta1", kind="Milvus", name="vectors")
ACCOUNT = REF.model_copy(
    update={"username_from": UsernameKeyRef(name="account"), "password_from": PasswordKeyRef(name="account")}
)
TLS: Object = {"serverPemPath": "/certs/server.pem", "caPemPath": "/certs/ca.pem"}
MOUNTED: Object = {
    "volumes": [{"name": "scratch", "emptyDir": {}}, {"name": "certs", "secret": {"secretName": "milvus-certs"}}],
    "volumeMounts": [{"name": "scratch", "mountPath": "/certs"}, {"name": "certs", "mountPath": "/certs"}],
}


def _object(**status: Any) -> Object:
    return {"metadata": {"name": "vectors", "namespace": "team"}, "status": status}


def test_it_is_reached_where_its_status_says() -> None:
    assert KIND.binding(_object(endpoint="vectors-milvus.team:19530")).url == "http://vectors-milvus.team:19530"


def _configured(security: Object, tls: Object | None = None, components: Object | None = None) -> Object:
    config = {"common": {"security": security}, "tls": tls or {}}
    return {**_object(), "spec": {"config": config, "components": components or {}}}


def _named(ref: MilvusRef) -> ReferencedObject:
    return ReferencedObject("spec.milvus.operatorRef", KIND, ref)


@pytest.mark.parametrize("config", [{"common": "x"}, {"common": {"security": []}}, {"tls": 1}, None])
def test_a_configuration_of_another_form_says_nothing(config: object) -> None:
    body = {**_object(), "spec": {"config": config}}
    assert _named(REF).binding(body).url == "http://vectors-milvus.team:19530"
    assert _named(REF).problem(body) is None


def test_the_account_is_what_the_reference_names() -> None:
    bound = _named(ACCOUNT).binding(_configured({"authorizationEnabled": True}))
    assert (bound.username, bound.password) == (ACCOUNT.username_from, ACCOUNT.password_from)
    assert (bound.url, bound.ca) == ("http://vectors-milvus.team:19530", None)


@pytest.mark.parametrize("value", [True, "true"])
def test_a_password_that_nobody_names_is_a_problem(value: object) -> None:
    found = _named(REF).problem(_configured({"authorizationEnabled": value}))
    assert found
    assert "name its keys by usernameFrom and passwordFrom" in found
    assert _named(ACCOUNT).problem(_configured({"authorizationEnabled": value})) is None
    assert _named(REF).problem(_object()) is None


def test_certificates_of_clients_are_a_problem() -> None:
    found = _named(ACCOUNT).problem(_configured({"tlsMode": 2}))
    assert found
    assert "spec.config.common.security.tlsMode to 1" in found


@pytest.mark.parametrize(
    ("tls", "components", "secret"),
    [
        (TLS, MOUNTED, SecretKeyRef(name="milvus-certs", key="ca.pem")),
        ({"serverPemPath": "/certs/server.pem"}, MOUNTED, SecretKeyRef(name="milvus-certs", key="server.pem")),
        (
            TLS,
            {
                "volumes": [
                    {"name": "c", "secret": {"secretName": "s", "items": [{"key": "ca.crt", "path": "ca.pem"}]}}
                ],
                "volumeMounts": [{"name": "c", "mountPath": "/certs"}],
            },
            SecretKeyRef(name="s", key="ca.crt"),
        ),
        (
            TLS,
            {
                "volumes": [{"name": "c", "secret": {"secretName": "s"}}],
                "volumeMounts": [{"name": "c", "mountPath": "/certs/ca.pem", "subPath": "ca.crt"}],
            },
            SecretKeyRef(name="s", key="ca.crt"),
        ),
        (TLS, {}, None),
        ({}, MOUNTED, None),
    ],
)
def test_the_certificates_to_trust_are_those_that_it_mounts(
    tls: Object, components: Object, secret: SecretKeyRef | None
) -> None:
    bound = _named(REF).binding(_configured({"tlsMode": "1"}, tls, components))
    assert (bound.url, bound.ca) == ("https://vectors-milvus.team:19530", secret)


def test_certificates_that_the_reference_names_are_trusted_instead_and_only_for_tls() -> None:
    ref = REF.model_copy(update={"ca_from": CertificateKeyRef(name="authority")})
    assert _named(ref).binding(_configured({"tlsMode": 1}, TLS, MOUNTED)).ca == ref.ca_from
    assert _named(ref).binding(_object()).ca is None


def test_without_a_status_it_is_reached_by_the_service_that_its_operator_makes() -> None:
    assert KIND.binding(_object()).url == "http://vectors-milvus.team:19530"


@pytest.mark.parametrize(
    ("status", "ready", "reason", "message"),
    [
        ({"status": "Healthy"}, True, "Ready", "Milvus vectors is Healthy."),
        ({}, False, "Progressing", "Milvus vectors is Pending."),
        (
            {
                "status": "Unhealthy",
                "conditions": [
                    {"type": "EtcdReady", "status": "True"},
                    {"type": "StorageReady", "status": "False", "message": "bucket not found"},
                ],
            },
            False,
            "Unhealthy",
            "Milvus vectors is Unhealthy: StorageReady: bucket not found",
        ),
        ({"status": "Stopped"}, False, "Stopped", "Milvus vectors is Stopped."),
    ],
)
def test_its_health_is_its_operators_word(status: Object, ready: bool, reason: str, message: str) -> None:
    health = KIND.health(_object(**status))
    assert (health.ready, health.reason, health.message) == (ready, reason, message)
