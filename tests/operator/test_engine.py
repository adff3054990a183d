"""What the watches tell: nothing is lost, doubled or brought back from the dead."""

import asyncio
import time
from typing import Any, cast

import aiohttp
import pytest

from assistant_operator import kinds
from assistant_operator.cluster.cache import Cache
from assistant_operator.cluster.client import ApiError, ApiServer
from assistant_operator.cluster.page import Page
from assistant_operator.cluster.watch import Watch
from assistant_operator.engine import server
from assistant_operator.engine.engine import Engine
from assistant_operator.engine.pulse import DEAD_SECONDS, OUTAGE_SECONDS
from assistant_operator.rooms.manifests import Object
from assistant_operator.settings import Settings
from assistant_operator.telemetry import Metrics
from tests.operator.assistants import PROVIDERS, resource
from tests.operator.recording import RecordingClient


def _object(name: str, version: int, instance: str | None = "demo", **body: Any) -> Object:
    ours = {"app.kubernetes.io/managed-by": "assistant-operator", "app.kubernetes.io/instance": instance}
    metadata = {"namespace": "default", "name": name, "uid": "u", "resourceVersion": str(version)}
    return {"metadata": {**metadata, **({"labels": ours} if instance else {})}, **body}


def test_the_newest_version_counts_in_whichever_order_versions_come() -> None:
    cache = Cache()
    assert cache.put("Service", _object("demo", 2))
    assert not cache.put("Service", _object("demo", 1))
    assert not cache.put("Service", _object("demo", 2))
    assert cache.get("Service", "default", "demo")


def test_the_late_answer_of_a_write_brings_nothing_back_that_was_deleted() -> None:
    cache = Cache()
    cache.put("Service", _object("demo", 1))
    cache.remove("Service", _object("demo", 3))
    assert not cache.put("Service", _object("demo", 2))
    assert cache.get("Service", "default", "demo") is None
    assert cache.owned(("default", "demo")) == []
    assert cache.put("Service", _object("demo", 4)), "one that was created after that is news"


def test_a_fresh_list_is_the_whole_truth_and_names_whom_it_changes() -> None:
    cache = Cache()
    cache.put("Service", _object("kept", 1, "a"))
    cache.put("Service", _object("gone", 1, "b"))
    cache.put("ConfigMap", _object("gone", 1, "c"))
    page = Page([_object("kept", 1, "a"), _object("new", 2, "d")], "9")
    changes = cache.replace("Service", None, page, cache.mark)
    assert changes.owners == {("default", "b"), ("default", "d")}
    assert {found.name for found in changes.objects} == {"gone", "new"}
    assert [found.name for found in changes.gone] == ["gone"]
    assert cache.get("Service", "default", "gone") is None
    assert cache.get("ConfigMap", "default", "gone"), "a list speaks for its own kind only"


def test_after_etcd_was_restored_the_list_is_true_and_what_was_newer_is_not() -> None:
    cache = Cache()
    for name, version in (("older", 50), ("newer", 90), ("made-since", 95)):
        cache.put("Service", _object(name, version))
    cache.remove("Service", _object("deleted-since", 99))
    page = Page([_object(name, 50) for name in ("older", "newer", "deleted-since")], "60")
    changes = cache.replace("Service", None, page, cache.mark)
    assert {found.name for found in changes.objects} == {"newer", "made-since", "deleted-since"}
    assert [found.name for found in changes.gone] == ["made-since"]
    assert cache.put("Service", _object("newer", 61)), "what happens after it is news again"


def test_the_answer_to_a_write_that_was_given_while_a_list_was_under_way_outlives_the_list() -> None:
    cache = Cache()
    cache.put("Service", _object("demo", 50))
    asked = cache.mark
    cache.put("Service", _object("demo", 70, spec={"type": "ClusterIP"}))
    cache.put("Service", _object("made", 71))
    changes = cache.replace("Service", None, Page([_object("demo", 50)], "60"), asked)
    assert not changes.objects
    assert cache.get("Service", "default", "made")
    assert (cache.get("Service", "default", "demo") or {})["spec"] == {"type": "ClusterIP"}


def test_of_a_foreign_secret_only_its_version_is_kept() -> None:
    cache = Cache()
    cache.put("Secret", _object("theirs", 1, None, data={"password": "c2VjcmV0"}, type="Opaque"))
    assert cache.get("Secret", "default", "theirs") == {
        "metadata": {"namespace": "default", "name": "theirs", "uid": "u", "resourceVersion": "1"}
    }


def test_an_object_that_changes_hands_is_counted_once() -> None:
    cache = Cache()
    cache.put("Service", _object("demo", 1, "a"))
    cache.put("Service", _object("demo", 2, "b"))
    assert cache.owned(("default", "a")) == []
    assert [found.name for found in cache.owned(("default", "b"))] == ["demo"]


@pytest.fixture
def engine() -> Engine:
    return Engine(Settings(), cast("ApiServer", RecordingClient()), Metrics())


def _watch(engine: Engine, kind: kinds.Kind) -> Watch:
    return next(watch for watch in engine._watches if watch.target.kind is kind)


def _see(engine: Engine, event: str, body: Object) -> None:
    """Let the engine see an AIAssistant as its watch does."""
    _watch(engine, kinds.ASSISTANT)._take(event, body)


def _waiting(engine: Engine) -> int:
    return len(engine._queue)


def test_a_deletion_that_is_seen_after_the_successor_was_created_forgets_nothing(engine: Engine) -> None:
    old, new = resource(), resource()
    new["metadata"] |= {"uid": "successor", "resourceVersion": "9"}
    _see(engine, "ADDED", old)
    _see(engine, "ADDED", new)
    _see(engine, "DELETED", old)
    assert engine.phases().total() == 1
    _see(engine, "DELETED", new)
    assert engine.phases().total() == 0


def test_the_echo_of_what_is_known_is_no_news(engine: Engine) -> None:
    _see(engine, "ADDED", resource())
    assert _waiting(engine) == 1
    engine._queue._ready.clear()
    engine._queue._waiting.clear()
    _see(engine, "MODIFIED", resource())
    assert _waiting(engine) == 0


async def test_a_change_during_a_pass_is_looked_at_when_the_watch_shows_it_after_the_pass() -> None:
    client = RecordingClient()
    engine = Engine(Settings(), cast("ApiServer", client), Metrics())
    for watch in engine._watches:
        watch.synced.set()
    before = client.put(resource())
    _see(engine, "ADDED", before)
    metadata = {**before["metadata"], "generation": before["metadata"]["generation"] + 1}
    changes: list[Object] = []

    def change_meanwhile(verb: str, _: str, __: str) -> None:
        if verb == "status" and not changes:
            changes.append(client.put({**before, "metadata": metadata, "spec": {**before["spec"], "replicas": 7}}))

    client.fail = change_meanwhile
    key = await engine._queue.take()
    await engine._reconcile(key)
    engine._queue.done(key)
    _see(engine, "MODIFIED", changes[0])
    assert _waiting(engine) == 1


async def test_a_successor_that_comes_during_the_pass_over_its_predecessor_is_woken_by_its_secret() -> None:
    client = RecordingClient()
    engine = Engine(Settings(), cast("ApiServer", client), Metrics())
    for watch in engine._watches:
        watch.synced.set()
    keyed = {"items": [{**PROVIDERS["items"][0], "apiKeyFrom": {"name": "provider"}}]}
    before = client.put(resource(providers=keyed))
    successor: Object = {**before["metadata"], "uid": "successor", "resourceVersion": "9000"}
    _see(engine, "ADDED", before)
    key = await engine._queue.take()

    def replace_meanwhile(verb: str, _: str, __: str) -> None:
        if verb == "status":
            _see(engine, "DELETED", before)
            _see(engine, "ADDED", {**before, "metadata": successor})
            raise ApiError(404, "NotFound", "the object is gone")

    client.fail = replace_meanwhile
    assert await engine._reconcile(key) is False
    engine._queue.done(key)
    assert await engine._queue.take() == key, "the successor is looked at"
    engine._queue.done(key)
    _watch(engine, kinds.SECRET)._take("ADDED", _object("provider", 5, None))
    assert _waiting(engine) == 1
    assert engine.phases().total() == 1


def test_a_secret_wakes_everyone_who_names_it_even_if_one_pass_has_read_it_already(engine: Engine) -> None:
    keyed = {"items": [{**PROVIDERS["items"][0], "apiKeyFrom": {"name": "provider"}}]}
    for name in ("one", "two", "three"):
        _see(engine, "ADDED", resource(name, providers=keyed if name != "three" else PROVIDERS))
    engine._queue._ready.clear()
    engine._queue._waiting.clear()
    seen = _object("provider", 5, None)
    engine._cache.put("Secret", seen)
    watch = _watch(engine, kinds.SECRET)
    watch._take("MODIFIED", seen)
    assert sorted(name for _, name in engine._queue._ready) == ["one", "two"]


async def test_a_secret_that_was_deleted_while_its_watch_was_down_wakes_whoever_names_it(engine: Engine) -> None:
    keyed = {"items": [{**PROVIDERS["items"][0], "apiKeyFrom": {"name": "provider"}}]}
    _see(engine, "ADDED", resource("one", providers=keyed))
    _see(engine, "ADDED", resource("two"))
    engine._queue._ready.clear()
    engine._queue._waiting.clear()
    engine._cache.put("Secret", _object("provider", 5, None))
    watch = _watch(engine, kinds.SECRET)
    watch.synced.set()
    await watch._list()
    assert [name for _, name in engine._queue._ready] == ["one"]


def test_a_config_map_of_the_users_wakes_whoever_names_it(engine: Engine) -> None:
    trusting: Object = {"name": "local", "baseURL": "https://a/v1", "model": "m"}
    trusting |= {"caFrom": {"name": "bundle", "kind": "ConfigMap"}}
    _see(engine, "ADDED", resource("one", providers={"items": [trusting]}))
    _see(engine, "ADDED", resource("two"))
    engine._queue._ready.clear()
    engine._queue._waiting.clear()
    own, everyones = (watch for watch in engine._watches if watch.target.kind is kinds.CONFIG_MAP)
    for name in ("bundle", "another"):
        everyones._take("ADDED", _object(name, 5, None))
    assert [name for _, name in engine._queue._ready] == ["one"]
    own._take("ADDED", _object("two-redis", 6, "two"))
    assert engine._cache.get("ConfigMap", "default", "two-redis"), "the two watches keep what they see apart"
    assert engine._cache.get("ConfigMap", "default", "bundle") is None


def test_a_resource_that_names_another_secret_is_no_longer_woken_by_the_first(engine: Engine) -> None:
    first = {"items": [{**PROVIDERS["items"][0], "apiKeyFrom": {"name": "first"}}]}
    _see(engine, "ADDED", resource(providers=first))
    changed = resource(providers=PROVIDERS)
    changed["metadata"]["resourceVersion"] = "2"
    _see(engine, "MODIFIED", changed)
    assert not engine._content_users.things()


def test_readiness_waits_for_every_watch(engine: Engine) -> None:
    *others, last = engine._watches
    for watch in others:
        watch.synced.set()
    assert engine.unready()
    last.synced.set()
    assert not engine.unready()


def test_a_watch_that_is_silent_while_others_are_not_is_found(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = _Clock(monkeypatch)
    one, *others = engine._watches
    for passed in (20, 40, 51):
        clock.now = passed
        for watch in others:
            watch._hear()
        assert engine.silent_watches() == ([one.name] if passed > DEAD_SECONDS else [])
    one._hear()
    assert engine.silent_watches() == []


def test_a_list_that_takes_long_shows_life_with_what_it_brings(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cluster may have a hundred thousand Secrets: an operator that is restarted meanwhile would never list them."""
    clock = _Clock(monkeypatch)
    one, *others = engine._watches
    for passed in (20, 40, 60, 80):
        clock.now = passed
        for watch in others:
            watch._hear()
        one._kept(_object(f"demo-{passed}", 1))
    assert engine.silent_watches() == []


def test_an_outage_restarts_nothing_and_each_watch_has_its_time_to_come_back(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = _Clock(monkeypatch)
    clock.now = OUTAGE_SECONDS - 1
    assert engine.silent_watches() == []
    one, other, *_ = engine._watches
    one._hear()
    clock.now += 10
    one._hear()
    assert engine.silent_watches() == []
    other._hear()
    clock.now += OUTAGE_SECONDS + 1
    assert engine.silent_watches() == [watch.name for watch in engine._watches]


def test_a_refused_watch_is_no_reason_to_restart_and_named_by_readiness(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = _Clock(monkeypatch)
    refused, *others = engine._watches
    for watch in engine._watches:
        watch.synced.set()
    refused._refused(ApiError(403, "Forbidden", "aiassistants is forbidden"))
    for clock.now in range(0, 120, 20):
        for watch in others:
            watch._hear()
    assert engine.silent_watches() == []
    assert engine.unready() == ["aiassistants/*: aiassistants is forbidden"]


async def test_work_that_is_ended_in_mid_pass_and_begun_again_loses_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    client = RecordingClient()
    engine = Engine(Settings(workers=1), cast("ApiServer", client), Metrics())
    for watch in engine._watches:
        watch.synced.set()
        watch.answered.set()
    _see(engine, "ADDED", client.put(resource("one")))
    _see(engine, "ADDED", client.put(resource("two")))
    begun, seen = asyncio.Event(), asyncio.Queue[str]()
    reconcile = engine._reconciler.reconcile

    async def never_ending(*_: Any) -> Any:
        begun.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(engine._reconciler, "reconcile", never_ending)
    work = asyncio.create_task(engine.work())
    await begun.wait()
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)

    async def told(body: Object, *rest: Any) -> Any:
        outcome = await reconcile(body, *rest)
        seen.put_nowait(body["metadata"]["name"])
        return outcome

    monkeypatch.setattr(engine._reconciler, "reconcile", told)
    work = asyncio.create_task(engine.work())
    async with asyncio.timeout(30):
        assert {await seen.get(), await seen.get()} == {"one", "two"}
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)


class _Clock:
    """A clock that stands still until it is set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.start = time.monotonic()
        self.now: float = 0
        monkeypatch.setattr(time, "monotonic", lambda: self.start + self.now)


async def test_an_operator_whose_watches_are_refused_is_alive_and_not_ready(engine: Engine) -> None:
    runner = await server.serve(engine, Metrics(), 0)
    try:
        port = next(address[1] for address in runner.addresses if "." in address[0])
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client:
            answered = {path: (await client.get(path)).status for path in ("/healthz", "/readyz")}
        assert answered == {"/healthz": 200, "/readyz": 503}
    finally:
        await runner.cleanup()
