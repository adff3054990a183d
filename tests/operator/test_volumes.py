"""Volumes grow where they can, and nothing else happens to them."""

from typing import Any

import pytest

from assistant_operator import labels
from assistant_operator.cluster.client import ApiError
from assistant_operator.errors import TransientError
from assistant_operator.rooms.manifests import Object
from tests.operator.recording import events
from tests.operator.test_reconcile import Bench, roll_out


def _sized(size: str | int, **storage: Any) -> dict[str, Any]:
    return {"redis": {"managed": {"storage": {"size": size, **storage}}}}


async def _bench(size: str = "1Gi", **spec: Any) -> Bench:
    """An assistant whose Redis has a bound volume of that size."""
    bench = Bench(**spec)
    await bench.reconcile()
    made = bench.client.objects["StatefulSet", "default", "demo-redis"]["spec"]["volumeClaimTemplates"][0]
    claim = {
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data-demo-redis-0", "labels": made["metadata"]["labels"]},
        "spec": {**made["spec"], "resources": {"requests": {"storage": size}}},
        "status": {"phase": "Bound"},
    }
    bench.place(claim)
    return bench


def _claimed(bench: Bench) -> str:
    claim = bench.client.objects["PersistentVolumeClaim", "default", "data-demo-redis-0"]
    return claim["spec"]["resources"]["requests"]["storage"]


def _stateful_set(bench: Bench) -> Object:
    return bench.client.objects["StatefulSet", "default", "demo-redis"]


def _calls(bench: Bench) -> list[tuple[str, str]]:
    return [(verb, kind) for verb, kind, _ in bench.client.calls if kind == "PersistentVolumeClaim"]


async def test_a_volume_grows_and_the_template_stays_as_it_was_made() -> None:
    bench = await _bench()
    template = _stateful_set(bench)["spec"]
    await bench.reconcile(**_sized("2Gi"))
    assert _calls(bench) == [("rehearse", "PersistentVolumeClaim"), ("merge", "PersistentVolumeClaim")]
    assert _claimed(bench) == "2Gi"
    assert _stateful_set(bench)["spec"] == template, "no pod restarts"
    assert not bench.condition("Stalled")
    await bench.reconcile()
    assert bench.client.calls == []


async def test_the_growth_of_a_volume_that_no_pod_uses_is_not_waited_for() -> None:
    """A volume that a pod left behind when there were more of them grows when it is mounted again."""
    bench = await _bench()
    used = bench.client.objects["PersistentVolumeClaim", "default", "data-demo-redis-0"]
    left: Object = {**used["metadata"], "name": "data-demo-redis-1", "uid": "left"}
    grows = {"phase": "Bound", "capacity": {"storage": "1Gi"}}
    bench.place({**used, "metadata": left, "spec": {"resources": {"requests": {"storage": "2Gi"}}}, "status": grows})
    roll_out(bench)
    await bench.reconcile()
    assert bench.condition("Ready")["status"] == "True"
    assert not bench.condition("Reconciling")


async def test_growth_goes_on_where_a_pass_was_cut_off() -> None:
    bench = await _bench()
    bench.client.refuse(ApiError(500, "InternalError", "etcd is away"), verb="apply")
    await bench.reconcile(**_sized("2Gi"))
    assert _claimed(bench) == "2Gi"
    bench.client.fail = lambda *_: None
    await bench.reconcile()
    assert bench.error is None
    assert _stateful_set(bench)["metadata"]["annotations"]["aiassistant.dev/volume-sizes"] == '{"data":"2Gi"}'


async def test_a_refused_growth_names_the_field_and_touches_nothing() -> None:
    bench = await _bench()
    bench.client.refuse(ApiError(403, "Forbidden", "the storageclass must support resize"), verb="rehearse")
    await bench.reconcile(replicas=1, **_sized("2Gi"))
    stalled = bench.condition("Stalled")
    assert stalled["reason"] == "ResizeRefused"
    assert stalled["message"].startswith("spec.redis.managed.storage.size: volume claim data-demo-redis-0 can't grow")
    assert (
        "the storageclass must support resize. Set it back to 1Gi, or have its StorageClass allow it"
        in stalled["message"]
    )
    assert {call[0] for call in bench.client.writes()} == {"status", "create"}
    bench.client.fail = lambda *_: None
    await bench.reconcile(**_sized("1Gi"))
    assert not bench.condition("Stalled")


async def test_a_volume_never_shrinks_below_what_was_asked_for_last() -> None:
    bench = await _bench()
    await bench.reconcile(**_sized("2Gi"))
    for size in ("1Gi", "512Mi"):
        await bench.reconcile(**_sized(size))
        assert bench.condition("Stalled")["message"].startswith(
            "spec.redis.managed.storage.size: a volume can't shrink. Set it back to 2Gi or more"
        )
        assert _claimed(bench) == "2Gi"
    await bench.reconcile(**_sized("3Gi"))
    assert _claimed(bench) == "3Gi"
    assert not bench.condition("Stalled")


def _has(bench: Bench, size: str, **status: Any) -> None:
    """Let the volume have a size of its own, which the claim may ask more than."""
    claim = bench.client.objects["PersistentVolumeClaim", "default", "data-demo-redis-0"]
    bench.place({**claim, "status": {"phase": "Bound", "capacity": {"storage": size}, **status}})


async def test_a_volume_that_grows_is_told_and_everything_is_ready() -> None:
    bench = await _bench()
    roll_out(bench)
    _has(bench, "1Gi")
    await bench.reconcile(**_sized("2Gi"))
    growing = "Volume claim data-demo-redis-0 grows from 1Gi to 2Gi"
    assert bench.condition("Ready")["status"] == "True"
    assert bench.condition("RedisReady")["message"] == f"1/1 pods are ready. {growing}."
    reconciling = bench.condition("Reconciling")
    assert (reconciling["reason"], reconciling["message"]) == ("VolumeGrowing", f"{growing}.")
    failed = {"type": "ControllerResizeError", "status": "True", "message": "no disk is larger than 1Gi"}
    _has(bench, "1Gi", conditions=[failed])
    await bench.reconcile()
    assert bench.condition("Reconciling")["message"] == f"{growing}: no disk is larger than 1Gi"
    _has(bench, "2Gi")
    await bench.reconcile()
    assert not bench.condition("Reconciling")


async def test_what_a_volume_has_not_grown_to_is_taken_back() -> None:
    bench = await _bench()
    await bench.reconcile(**_sized("20Ti"))
    _has(bench, "1Gi")
    await bench.reconcile(**_sized("1Gi"))
    assert bench.condition("Stalled")["message"].startswith(
        "spec.redis.managed.storage.size: a volume can't shrink. "
        "Set it to more than the 1Gi that volume claim data-demo-redis-0 has"
    )
    assert _claimed(bench) == "20Ti"
    await bench.reconcile(**_sized("3Gi"))
    assert not bench.condition("Stalled")
    assert _claimed(bench) == "3Gi"
    _has(bench, "3Gi")
    await bench.reconcile(**_sized("2Gi"))
    assert "Set it back to 3Gi or more" in bench.condition("Stalled")["message"]


async def test_what_somebody_else_lets_a_claim_ask_for_is_left_alone() -> None:
    bench = await _bench("5Gi")
    _has(bench, "1Gi")
    await bench.reconcile(**_sized("2Gi"))
    assert _claimed(bench) == "5Gi"


async def test_the_same_size_in_other_words_is_no_change() -> None:
    bench = await _bench()
    for size in ("1024Mi", 2**30):
        await bench.reconcile(**_sized(size))
        assert not bench.condition("Stalled")
        assert not [call for call in bench.client.writes() if call[0] in ("apply", "merge")]


async def test_a_volume_that_a_predecessor_left_grows_too_and_a_larger_one_is_taken_as_it_is() -> None:
    bench = await _bench()
    bench.cache.remove("StatefulSet", bench.client.objects.pop(("StatefulSet", "default", "demo-redis")))
    await bench.reconcile(**_sized("2Gi"))
    assert _claimed(bench) == "2Gi"
    larger = await _bench("5Gi")
    await larger.reconcile(replicas=2)
    assert _claimed(larger) == "5Gi"
    assert not larger.condition("Stalled")


async def test_a_claim_that_has_no_volume_yet_is_not_patched() -> None:
    bench = await _bench()
    claim = bench.client.objects["PersistentVolumeClaim", "default", "data-demo-redis-0"]
    bench.place({**claim, "status": {"phase": "Pending"}})
    await bench.reconcile(**_sized("2Gi"))
    assert _calls(bench) == []


async def test_what_is_turned_off_tells_which_volumes_it_leaves() -> None:
    bench = await _bench()
    await bench.reconcile(redis={"enabled": False})
    told = [event["note"] for event in events(bench.client) if event["reason"] == "VolumesKept"]
    assert len(told) == 1
    assert "volume claims data-demo-redis-0 stay" in told[0]


async def test_a_server_elsewhere_does_not_hide_the_data_that_stays_here() -> None:
    bench = await _bench()
    await bench.reconcile(redis={"external": {"url": "redis://a.example.com:6379"}})
    message = bench.condition("RedisReady")["message"]
    assert "The data of the managed one stays in volume claims data-demo-redis-0." in message
    await bench.reconcile(redis={"managed": {}})
    assert "data-demo-redis-0" not in bench.condition("RedisReady")["message"]


async def test_a_stateful_set_whose_labels_were_taken_off_is_found_again_and_its_template_stays() -> None:
    bench = await _bench()
    await bench.reconcile(**_sized("2Gi"))
    made = _stateful_set(bench)
    stripped = bench.client.put({**made, "metadata": {**made["metadata"], "labels": {}}})
    bench.cache.remove("StatefulSet", stripped)
    await bench.reconcile()
    assert isinstance(bench.error, TransientError), "it is looked at again"
    await bench.reconcile()
    assert not bench.error
    assert _stateful_set(bench)["metadata"]["labels"] == made["metadata"]["labels"]
    assert _stateful_set(bench)["spec"] == made["spec"]


@pytest.mark.parametrize("written", ["garbage", "[]", '{"data":"big"}', '{"data":null}'])
async def test_an_annotation_that_another_hand_wrote_is_written_again(written: str) -> None:
    bench = await _bench()
    await bench.reconcile(**_sized("2Gi"))
    made = _stateful_set(bench)
    noted = made["metadata"]["annotations"]
    bench.place({**made, "metadata": {**made["metadata"], "annotations": {**noted, labels.VOLUME_SIZES: written}}})
    await bench.reconcile()
    assert not bench.error
    assert _stateful_set(bench)["metadata"]["annotations"] == noted


async def test_a_claim_template_of_another_version_stays_as_it_was_made_and_stalls_nothing() -> None:
    bench = await _bench()
    live = _stateful_set(bench)
    (made,) = live["spec"]["volumeClaimTemplates"]
    fewer = {key: value for key, value in made["metadata"]["labels"].items() if key != labels.PART_OF}
    kept = {**made, "metadata": {**made["metadata"], "labels": fewer}, "status": {"phase": "Pending"}}
    bench.place({**live, "spec": {**live["spec"], "volumeClaimTemplates": [kept]}})
    await bench.reconcile(**_sized("2Gi"), podTemplate={"metadata": {"annotations": {"a": "b"}}})
    assert not bench.condition("Stalled")
    assert _stateful_set(bench)["spec"]["volumeClaimTemplates"] == [kept]
    assert _claimed(bench) == "2Gi", "its volume grows all the same"
    await bench.reconcile()
    assert bench.client.calls == []
