"""Volumes grow in place where their class allows it. No provisioner runs here: the tests make the volumes."""

from typing import Any

import pytest

from tests.cluster.test_reconcile import create, gone
from tests.support.api import Object
from tests.support.kube import Kube, eventually

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("operator")]

CLAIM = "data-demo-redis-0"


def _class(kube: Kube, *, growing: bool) -> str:
    """Make a StorageClass of the test's own."""
    name = f"{kube.namespace}-class"
    kube.apply(
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {"name": name},
            "provisioner": "example.com/none",
            "allowVolumeExpansion": growing,
        }
    )
    return name


def _volume(kube: Kube, name: str) -> Object:
    claim = {"namespace": kube.namespace, "name": CLAIM}
    spec = {
        "storageClassName": name,
        "capacity": {"storage": "1Gi"},
        "accessModes": ["ReadWriteOnce"],
        "claimRef": {"apiVersion": "v1", "kind": "PersistentVolumeClaim", **claim},
        "csi": {"driver": "example.com", "volumeHandle": kube.namespace},
    }
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": f"{kube.namespace}-data"},
        "spec": spec,
    }


def _create(kube: Kube, storage_class: str, size: str = "1Gi", **spec: Any) -> None:
    create(kube, redis={"managed": {"storage": {"size": size, "storageClassName": storage_class}}}, **spec)


def _bound(kube: Kube, storage_class: str) -> None:
    _create(kube, storage_class)
    kube.apply(_volume(kube, storage_class))
    eventually(lambda: (kube.get("pvc", CLAIM) or {}).get("status", {}).get("phase") == "Bound", "the claim is bound")


def _size(kube: Kube) -> str:
    return kube.must("pvc", CLAIM)["spec"]["resources"]["requests"]["storage"]


def _grown(kube: Kube, size: str) -> None:
    """Say that the volume has a size, as its driver's resizer does."""
    patch = f'{{"status":{{"capacity":{{"storage":"{size}"}}}}}}'
    kube.run("patch", "pvc", CLAIM, "--subresource=status", f"--patch={patch}")


def test_a_volume_grows_where_its_class_allows_it(kube: Kube) -> None:
    name = _class(kube, growing=True)
    _bound(kube, name)
    pod = kube.must("pod", "demo-redis-0")["metadata"]["uid"]
    _create(kube, name, "2Gi")
    eventually(lambda: _size(kube) == "2Gi", "the claim asks for more")
    _grown(kube, "2Gi")
    assert not kube.condition("demo", "Stalled")
    assert kube.must("pod", "demo-redis-0")["metadata"]["uid"] == pod, "no pod restarts"
    _create(kube, name, "1Gi")
    stalled = kube.wait_for_reason("demo", "ImmutableField", "Stalled")
    assert stalled["message"].startswith("spec.redis.managed.storage.size: a volume can't shrink. Set it back to 2Gi")
    _create(kube, name, "3Gi")
    eventually(lambda: _size(kube) == "3Gi", "the claim asks for more again")
    eventually(lambda: not kube.condition("demo", "Stalled"), "no longer stalled")


def test_a_size_that_no_disk_can_have_is_taken_back(kube: Kube) -> None:
    name = _class(kube, growing=True)
    _bound(kube, name)
    _create(kube, name, "20Ti")
    eventually(lambda: _size(kube) == "20Ti", "the claim asks for more")
    _create(kube, name, "1Gi")
    stalled = kube.wait_for_reason("demo", "ImmutableField", "Stalled")
    assert f"Set it to more than the 1Gi that volume claim {CLAIM} has" in stalled["message"]
    _create(kube, name, "2Gi")
    eventually(lambda: _size(kube) == "2Gi", "the claim asks for less")
    eventually(lambda: not kube.condition("demo", "Stalled"), "no longer stalled")


def test_a_refused_growth_is_stalled_and_the_stack_is_untouched(kube: Kube) -> None:
    name = _class(kube, growing=False)
    _bound(kube, name)
    _create(kube, name, "2Gi", replicas=1)
    stalled = kube.wait_for_reason("demo", "ResizeRefused", "Stalled")
    assert stalled["message"].startswith(f"spec.redis.managed.storage.size: volume claim {CLAIM} can't grow to 2Gi: ")
    assert _size(kube) == "1Gi"
    assert kube.must("deployment", "demo-runtime")["spec"]["replicas"] == 3
    _create(kube, name, "1Gi", replicas=1)
    eventually(lambda: kube.must("deployment", "demo-runtime")["spec"]["replicas"] == 1, "it goes on")
    eventually(lambda: not kube.condition("demo", "Stalled"), "no longer stalled")


def test_another_class_is_stalled(kube: Kube) -> None:
    name = _class(kube, growing=True)
    _bound(kube, name)
    _create(kube, "other")
    stalled = kube.wait_for_reason("demo", "ImmutableField", "Stalled")
    assert stalled["message"].startswith("spec.redis.managed.storage.storageClassName: can't be changed")


def test_a_server_elsewhere_and_back_finds_volume_and_password_again(kube: Kube) -> None:
    create(kube)
    claim = eventually(lambda: kube.get("pvc", CLAIM), "the volume claim exists")["metadata"]["uid"]
    password = kube.secret("demo-redis")["password"]
    create(kube, redis={"external": {"url": "redis://redis.example.com:6379/0"}})
    gone(kube, "statefulset", "demo-redis")
    external = kube.wait_for_reason("demo", "External", "RedisReady")
    assert CLAIM in external["message"]
    events = eventually(
        lambda: [e for e in kube.list("events") if e["reason"] == "VolumesKept"], "an event names the volume"
    )
    assert CLAIM in events[0]["message"]
    create(kube)
    eventually(lambda: kube.get("statefulset", "demo-redis"), "Redis is back")
    assert kube.must("pvc", CLAIM)["metadata"]["uid"] == claim
    assert kube.secret("demo-redis")["password"] == password
