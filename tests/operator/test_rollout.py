"""A server that a wrong spec keeps from being ready is mended by mending the spec."""

from typing import Any

import pytest

from assistant_operator.rooms.manifests import Object
from tests.operator.test_reconcile import Bench

DELETED = ("delete", "Pod", "demo-redis-0")


async def _bench(*, observed: int = 2, topology: str = "standalone", **pod: Any) -> Bench:
    """An assistant whose Redis is updated from one template to another, with a pod."""
    bench = Bench(redis={"managed": {"topology": topology}})
    await bench.reconcile()
    name = "demo-redis-cluster" if topology == "cluster" else "demo-redis"
    live = bench.client.objects["StatefulSet", "default", name]
    status = {"observedGeneration": observed, "currentRevision": "old", "updateRevision": "new", "replicas": 1}
    bench.place({**live, "metadata": {**live["metadata"], "generation": 2}, "status": status})
    bench.place(_pod(live, **pod))
    await bench.reconcile()
    return bench


def _pod(stateful_set: Object, *, revision: str = "old", ready: str = "False", **metadata: Any) -> Object:
    labels = {**stateful_set["spec"]["template"]["metadata"]["labels"], "controller-revision-hash": revision}
    condition = {"type": "Ready", "status": ready, "lastTransitionTime": "2026-01-01T12:00:00Z"}
    return {
        "kind": "Pod",
        "metadata": {"name": "demo-redis-0", "labels": labels, **metadata},
        "status": {"conditions": [condition]},
    }


async def test_a_pod_of_an_older_template_that_is_not_ready_makes_way() -> None:
    assert DELETED in (await _bench()).client.writes()


@pytest.mark.parametrize(
    "pod",
    [
        {"revision": "new"},
        {"ready": "True"},
        {"deletionTimestamp": "2026-01-01T12:00:00Z"},
        {"observed": 1},
        {"topology": "cluster"},
    ],
    ids=["of the newest template", "ready", "going already", "template not seen by the controller", "of a cluster"],
)
async def test_any_other_pod_is_the_controllers_to_replace(pod: Any) -> None:
    assert DELETED not in (await _bench(**pod)).client.writes()
