"""A failing pass says so at once, and takes Ready away only when it lasts: what serves serves all the same."""

from datetime import UTC, datetime, timedelta
from typing import Any

from assistant_operator.cluster.client import ApiError
from assistant_operator.health.status import GRACE_SECONDS
from assistant_operator.reconcile import Reconciler
from assistant_operator.telemetry import Metrics
from tests.operator.assistants import IMAGES
from tests.operator.recording import events
from tests.operator.test_reconcile import Bench

ETCD = ApiError(500, "InternalError", "etcd is away")


class Clocked(Bench):
    """An assistant that is Ready, because it is suspended and no pod runs, and a clock."""

    def __init__(self, **spec: Any) -> None:
        super().__init__(suspend=True, **spec)
        self.time = datetime(2026, 1, 1, tzinfo=UTC)
        self.reconciler = Reconciler(self.client, self.cache, self.referenced, IMAGES, Metrics(), now=lambda: self.time)

    def drift(self) -> None:
        """Have a Service lose a port, which takes a write to repair."""
        live = self.client.objects["Service", "default", "demo-redis"]
        self.place({**live, "spec": {**live["spec"], "ports": [{"name": "redis", "port": 1}]}})

    async def fail(self, after: float = 0, **spec: Any) -> None:
        """One pass whose repair the API server refuses."""
        self.time += timedelta(seconds=after)
        self.client.refuse(ETCD, verb="apply", kind="Service")
        await self.reconcile(**spec)
        self.client.fail = lambda *_: None


async def ready() -> Clocked:
    bench = Clocked()
    await bench.reconcile()
    await bench.reconcile()
    assert bench.condition("Ready")["status"] == "True"
    bench.drift()
    return bench


async def test_one_failure_takes_nothing_from_ready_and_is_told_at_once() -> None:
    bench = await ready()
    before, told = bench.condition("Ready"), len(events(bench.client))
    await bench.fail()
    assert bench.condition("Ready") == before
    reconciling = bench.condition("Reconciling")
    assert (reconciling["status"], reconciling["reason"]) == ("True", "ApiError")
    assert "etcd is away" in reconciling["message"]
    assert bench.resource["status"]["phase"] == "Suspended"
    await bench.reconcile()
    assert not bench.condition("Reconciling")
    assert len(events(bench.client)) == told, "nobody is woken by what passes"


async def test_a_failure_that_lasts_takes_ready_away_and_is_an_event() -> None:
    bench = await ready()
    await bench.fail()
    await bench.fail(after=GRACE_SECONDS - 1)
    assert bench.condition("Ready")["status"] == "True"
    await bench.fail(after=1)
    assert (bench.condition("Ready")["status"], bench.condition("Ready")["reason"]) == ("False", "ApiError")
    assert bench.resource["status"]["phase"] == "Pending"
    assert [event["type"] for event in events(bench.client)][-1] == "Warning"
    await bench.fail(after=1)
    assert bench.condition("Ready")["status"] == "False", "a grace is had once"


async def test_each_failure_has_its_own_grace() -> None:
    bench = await ready()
    await bench.fail()
    bench.time += timedelta(seconds=GRACE_SECONDS)
    await bench.reconcile()
    bench.drift()
    await bench.fail(after=GRACE_SECONDS)
    assert bench.condition("Ready")["status"] == "True"


async def test_a_spec_that_could_not_be_carried_out_is_not_ready() -> None:
    bench = await ready()
    await bench.fail(replicas=5)
    assert bench.condition("Ready")["status"] == "False"


async def test_what_does_not_serve_has_no_grace() -> None:
    bench = await ready()
    deployment = bench.client.objects["Deployment", "default", "demo-runtime"]
    bench.place({**deployment, "status": {"replicas": 1}})
    await bench.fail()
    assert bench.condition("Ready")["status"] == "False"


async def test_a_volume_that_grows_for_long_is_no_failure_that_lasts() -> None:
    bench = await ready()
    growing = {"type": "Reconciling", "status": "True", "reason": "VolumeGrowing", "message": "from 1Gi to 2Gi"}
    status, stamp = bench.resource["status"], {"lastTransitionTime": "2026-01-01T00:00:00Z"}
    status = {**status, "conditions": [*status["conditions"], {**growing, **stamp}]}
    bench.resource = bench.client.put({**bench.resource, "status": status})
    await bench.fail(after=GRACE_SECONDS * 10)
    assert bench.condition("Ready")["status"] == "True"
    assert bench.condition("Reconciling")["reason"] == "ApiError"
