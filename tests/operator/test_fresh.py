"""Generated Secrets come with the watch: a restart reads none by its name, and no value outlives a pass."""

from typing import cast

import pytest

from assistant_operator import kinds, labels
from assistant_operator.cluster.cache import Ref
from assistant_operator.cluster.client import ApiServer
from assistant_operator.cluster.fresh import Fresh
from assistant_operator.cluster.watch import Watch
from assistant_operator.engine.engine import Engine
from assistant_operator.reconcile import Reconciler
from assistant_operator.rooms.manifests import Object
from assistant_operator.settings import Settings
from assistant_operator.telemetry import Metrics
from tests.operator.assistants import IMAGES, resource
from tests.operator.recording import RecordingClient
from tests.operator.test_reconcile import Bench, change_password, redis_url

KEY = ("default", "demo")


def generated(client: RecordingClient) -> list[Object]:
    return [body for (kind, _, _), body in client.objects.items() if kind == "Secret"]


def restarted(bench: Bench) -> Fresh:
    """Start anew beside what is there, as the lists of the watches show it."""
    bench.reconciler = Reconciler(bench.client, bench.cache, bench.referenced, IMAGES, Metrics())
    fresh = bench.reconciler.secrets.fresh
    for body in generated(bench.client):
        fresh.put("Secret", body)
    return fresh


def values_of(fresh: Fresh, *owner: str) -> list[Ref]:
    """Name the Secrets of an assistant whose values are in memory."""
    return [found for found in fresh.owned((owner[0], owner[1])) if fresh.get(*found)]


async def test_a_restart_reads_no_generated_secret_by_its_name() -> None:
    bench = Bench()
    await bench.reconcile()
    fresh = restarted(bench)
    assert len(values_of(fresh, *KEY)) == len(generated(bench.client)) == 6
    for _ in ("what was brought is taken", "what was taken is known"):
        await bench.reconcile()
        assert {(verb, kind) for verb, kind, _ in bench.client.calls} <= {("list", "Event")}


async def test_what_follows_from_a_password_that_changed_while_the_operator_was_down_is_written() -> None:
    bench = Bench()
    await bench.reconcile()
    change_password(bench, "mine")
    restarted(bench)
    await bench.reconcile()
    assert redis_url(bench) == "redis://:mine@demo-redis:6379/0"
    assert "get" not in [verb for verb, kind, _ in bench.client.calls if kind == "Secret"]


async def test_values_older_than_the_secret_are_read_again() -> None:
    bench = Bench()
    await bench.reconcile()
    restarted(bench)
    change_password(bench, "mine")
    await bench.reconcile()
    assert redis_url(bench) == "redis://:mine@demo-redis:6379/0"
    assert [call for call in bench.client.calls if call[0] == "get"] == [("get", "Secret", "demo-redis")]


@pytest.mark.parametrize("spec", [{}, {"providers": {"items": []}}], ids=["a whole pass", "an invalid spec"])
async def test_no_value_outlives_a_pass(spec: Object) -> None:
    bench = Bench()
    await bench.reconcile()
    fresh = restarted(bench)
    await bench.reconcile(**spec)
    assert not values_of(fresh, *KEY)


def test_no_value_of_a_secret_without_an_assistant_by_its_labels_is_kept() -> None:
    fresh = Fresh()
    metadata = {"name": "odd", "namespace": "default", "uid": "u", "resourceVersion": "1"}
    metadata["labels"] = cast("str", {labels.MANAGED_BY: labels.MANAGER})
    fresh.put("Secret", {"metadata": metadata, "data": {"password": "c2VjcmV0"}})
    assert "data" not in (fresh.get("Secret", "default", "odd") or {})


@pytest.fixture
def engine() -> Engine:
    return Engine(Settings(), cast("ApiServer", RecordingClient()), Metrics())


def _fresh_watch(engine: Engine) -> Watch:
    return next(w for w in engine._watches if w.target.kind is kinds.SECRET and not w.target.metadata_only)


def _secret(owner: str, version: int) -> Object:
    metadata = {"name": f"{owner}-redis", "namespace": "default", "uid": "u", "resourceVersion": str(version)}
    return {"metadata": {**metadata, "labels": labels.standard(owner, "redis")}, "data": {"password": "c2VjcmV0"}}


def test_values_wait_for_their_assistant_only_while_nobody_knows_which_there_are(engine: Engine) -> None:
    watch, fresh = _fresh_watch(engine), engine._reconciler.secrets.fresh
    watch._take("ADDED", _secret("gone", 1))
    assert values_of(fresh, "default", "gone"), "the list of AIAssistants may come later"
    for other in engine._watches:
        other.answered.set()
    watch._take("MODIFIED", _secret("gone", 2))
    assert not values_of(fresh, "default", "gone")


async def test_values_without_an_assistant_are_dropped_when_the_work_begins(engine: Engine) -> None:
    fresh = engine._reconciler.secrets.fresh
    next(iter(engine._watches))._take("ADDED", resource())
    for owner in ("demo", "gone"):
        _fresh_watch(engine)._take("ADDED", _secret(owner, 1))
    engine._drop_values_of_nobody()
    assert values_of(fresh, *KEY)
    assert not values_of(fresh, "default", "gone")
    next(iter(engine._watches))._take("DELETED", resource())
    assert not values_of(fresh, *KEY)


async def test_the_echo_of_a_secret_that_a_pass_wrote_wakes_nobody_and_keeps_nothing() -> None:
    client = RecordingClient()
    engine = Engine(Settings(), cast("ApiServer", client), Metrics())
    for watch in engine._watches:
        watch.synced.set()
    next(iter(engine._watches))._take("ADDED", client.put(resource()))
    key = await engine._queue.take()
    await engine._reconcile(key)
    engine._queue.done(key)
    waiting = len(engine._queue)
    for body in generated(client):
        _fresh_watch(engine)._take("ADDED", body)
    assert len(engine._queue) == waiting
    assert not values_of(engine._reconciler.secrets.fresh, *KEY)
