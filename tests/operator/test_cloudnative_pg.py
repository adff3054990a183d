"""What a Cluster of CloudNativePG says of its database; the fields are those of its version 1.27."""

from typing import Any

import pytest

from assistant_operator.servers.cloudnative_pg import binding, health
from assistant_operator.spec.base import SecretKeyRef


def _cluster(spec: dict[str, Any] | None = None, **status: Any) -> dict[str, Any]:
    return {"metadata": {"name": "main", "namespace": "data"}, "spec": spec or {}, "status": status}


def test_the_application_reaches_the_primary_with_the_secret_that_the_operator_makes() -> None:
    bound = binding(_cluster())
    assert bound.url == "postgresql://main-rw.data:5432/app"
    assert bound.username == SecretKeyRef(name="main-app", key="username")
    assert bound.password == SecretKeyRef(name="main-app", key="password")
    assert bound.ca == SecretKeyRef(name="main-ca", key="ca.crt")


@pytest.mark.parametrize("method", ["initdb", "recovery", "pg_basebackup"])
def test_a_database_and_a_secret_of_the_users_are_used(method: str) -> None:
    bootstrap = {"bootstrap": {method: {"database": "assistants", "secret": {"name": "chosen"}}}}
    bound = binding(_cluster(bootstrap, certificates={"serverCASecret": "our-ca"}))
    assert bound.url == "postgresql://main-rw.data:5432/assistants"
    assert {secret.name for secret in bound.references()} == {"chosen", "our-ca"}


def test_it_serves_when_its_operator_says_so() -> None:
    ready = {"type": "Ready", "status": "True", "reason": "ClusterIsReady"}
    found = health(_cluster(conditions=[ready], instances=3, readyInstances=3))
    assert (found.ready, found.reason, found.message) == (True, "Ready", "Cluster main: 3/3 instances are ready.")


def test_what_its_operator_says_is_passed_on() -> None:
    unready = {"type": "Ready", "status": "False", "reason": "ClusterIsNotReady", "message": "Cluster Is Not Ready"}
    found = health(_cluster(conditions=[unready], instances=3, readyInstances=2, phase="Failing over"))
    assert (found.ready, found.reason) == (False, "ClusterIsNotReady")
    assert found.message == "Cluster main: 2/3 instances are ready: Failing over"


@pytest.mark.parametrize(
    ("status", "reason", "message"),
    [("False", "DeletingPods", "Hibernation is in progress"), ("True", "Hibernated", "Cluster has been hibernated")],
)
def test_one_that_is_put_to_sleep_serves_nobody_though_its_operator_calls_it_ready(
    status: str, reason: str, message: str
) -> None:
    ready = {"type": "Ready", "status": "True", "reason": "ClusterIsReady"}
    asleep = {"type": "cnpg.io/hibernation", "status": status, "reason": reason, "message": message}
    found = health(_cluster(conditions=[ready, asleep], instances=3, phase="Cluster in healthy state"))
    assert (found.ready, found.reason) == (False, reason)
    assert found.message == f"Cluster main: 0/3 instances are ready: {message}"


def test_one_without_an_instance_that_serves_is_on_its_way_though_its_operator_calls_it_ready() -> None:
    ready = {"type": "Ready", "status": "True", "reason": "ClusterIsReady"}
    found = health(_cluster(conditions=[ready], instances=3, phase="Cluster in healthy state"))
    assert (found.ready, found.reason, found.message) == (
        False,
        "Progressing",
        "Cluster main: 0/3 instances are ready.",
    )


@pytest.mark.parametrize("body", [_cluster(), {"metadata": {"name": "main", "namespace": "data"}, "status": None}])
def test_one_that_its_operator_has_not_looked_at_is_on_its_way(body: dict[str, Any]) -> None:
    assert (health(body).ready, health(body).reason) == (False, "Progressing")
