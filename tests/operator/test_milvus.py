"""Milvus as an object of its operator: where it is, and how it is."""

from typing import Any

import pytest

from assistant_operator.components import milvus
from assistant_operator.manifests import Object

(KIND,) = milvus.COMPONENT.referenced


def _object(**status: Any) -> Object:
    return {"metadata": {"name": "vectors", "namespace": "team"}, "status": status}


def test_it_is_reached_where_its_status_says() -> None:
    assert KIND.binding(_object(endpoint="vectors-milvus.team:19530")).url == "http://vectors-milvus.team:19530"


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
