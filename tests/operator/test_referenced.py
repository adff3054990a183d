"""Objects of other operators: found when they come, told when they change, and explained while they are missing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from assistant_operator import desired
from assistant_operator.cluster.cache import Ref
from assistant_operator.cluster.client import ApiError
from assistant_operator.cluster.page import Page
from assistant_operator.cluster.referenced import Referenced
from assistant_operator.components import redis, runtime
from assistant_operator.engine.engine import Engine
from assistant_operator.errors import ReconcileError, StalledError, TransientError, WaitingError
from assistant_operator.health.workload import Health
from assistant_operator.rooms.binding import Binding
from assistant_operator.rooms.component import ReferencedKind, ReferencedObject
from assistant_operator.rooms.manifests import Object
from assistant_operator.settings import Settings
from assistant_operator.spec.base import Backend, OperatorRef, SecretKeyRef
from assistant_operator.telemetry import Metrics
from tests.operator.assistants import resource

NOT_FOUND = ApiError(404, "NotFound", "the server could not find the requested resource")
KEY = ("default", "demo")


def _bound(body: Any) -> Binding:
    secret = (body.get("status") or {}).get("secret") or f"{body['metadata']['name']}-app"
    return Binding(url=SecretKeyRef(name=secret, key="uri"))


def _health(body: Any) -> Health:
    return Health(bool(body["status"]["ready"]), "Ready", "as its operator says")


KIND = ReferencedKind("db.example.com", "Cluster", "clusters", "Example Operator", _bound, _health)
WANTED = ReferencedObject(
    "spec.redis.operatorRef", KIND, OperatorRef(api_version="db.example.com/v1", kind="Cluster", name="main")
)


def _object(version: int, name: str = "main", **status: Any) -> Object:
    metadata = {
        "namespace": "default",
        "name": name,
        "uid": name,
        "resourceVersion": str(version),
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"},
    }
    return {"metadata": metadata, "spec": {"instances": 1}, "status": {"ready": True, **status}}


class Api:
    """An API server with one kind, which may not be installed yet."""

    def __init__(self) -> None:
        self.refusal: ApiError | None = None
        self.objects: list[Object] = []
        self.events: asyncio.Queue[tuple[str, Object] | ApiError] = asyncio.Queue()
        self.watched: asyncio.Queue[tuple[str, str | None, str | None]] = asyncio.Queue()

    async def list(self, kind: Any, namespace: str | None, **_: Any) -> Page:
        if self.refusal:
            raise self.refusal
        return Page(self.objects, "1")

    async def watch(
        self, kind: Any, namespace: str | None, _: str, *, selector: str | None, **__: Any
    ) -> AsyncIterator[tuple[str, Object]]:
        self.watched.put_nowait((kind.path(namespace), namespace, selector))
        while True:
            event = await self.events.get()
            if isinstance(event, ApiError):
                raise event
            yield event


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("assistant_operator.cluster.watch._BACKOFF_SECONDS", (0.01,))


@asynccontextmanager
async def _running(api: Any, *namespaces: str) -> AsyncIterator[tuple[Referenced, "asyncio.Queue[set[Any]]"]]:
    woken: asyncio.Queue[set[Any]] = asyncio.Queue()
    referenced = Referenced(api, namespaces, lambda keys: woken.put_nowait(set(keys)))
    task = asyncio.create_task(referenced.run())
    try:
        yield referenced, woken
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _woken(queue: "asyncio.Queue[set[Any]]") -> None:
    while KEY not in await asyncio.wait_for(queue.get(), 10):
        pass


async def test_an_object_is_read_from_what_the_watch_brought(api: Api) -> None:
    api.objects = [_object(1)]
    async with _running(api) as (referenced, _):
        referenced.use(KEY, [WANTED])
        found = await referenced.read("default", WANTED)
        assert found["spec"] == {"instances": 1}
        assert "annotations" not in found["metadata"]
        assert await api.watched.get() == ("/apis/db.example.com/v1/clusters", None, None)


async def test_where_only_some_namespaces_are_watched_no_other_is(api: Api) -> None:
    async with _running(api, "default", "other") as (referenced, _):
        referenced.use(KEY, [WANTED])
        with pytest.raises(WaitingError):
            await referenced.read("default", WANTED)
        assert await api.watched.get() == ("/apis/db.example.com/v1/namespaces/default/clusters", "default", None)
        assert api.watched.empty()


async def test_a_kind_that_is_not_installed_stalls_and_its_installation_wakes(api: Api) -> None:
    api.refusal = NOT_FOUND
    async with _running(api) as (referenced, woken):
        referenced.use(KEY, [WANTED])
        with pytest.raises(StalledError) as stalled:
            await referenced.read("default", WANTED)
        assert stalled.value.reason == "ApiNotInstalled"
        for part in ("spec.redis.operatorRef:", "Example Operator", "clusters.db.example.com", "db.example.com/v1"):
            assert part in stalled.value.message
        await _woken(woken)
        api.refusal, api.objects = None, [_object(1)]
        await _woken(woken)
        assert await referenced.read("default", WANTED)


async def test_a_kind_that_is_removed_stalls_again(api: Api) -> None:
    api.objects = [_object(1)]
    async with _running(api) as (referenced, woken):
        referenced.use(KEY, [WANTED])
        await referenced.read("default", WANTED)
        api.refusal = NOT_FOUND
        api.events.put_nowait(NOT_FOUND)
        while referenced.seen("default", WANTED):
            await _woken(woken)
        with pytest.raises(StalledError):
            await referenced.read("default", WANTED)


async def test_a_missing_object_is_waited_for_and_says_how_to_find_others(api: Api) -> None:
    async with _running(api) as (referenced, woken):
        referenced.use(KEY, [WANTED])
        with pytest.raises(WaitingError) as waiting:
            await referenced.read("default", WANTED)
        assert waiting.value.reason == "ObjectNotFound"
        assert "kubectl -n default get clusters.db.example.com" in waiting.value.message
        await _woken(woken)
        api.events.put_nowait(("ADDED", _object(2)))
        await _woken(woken)
        assert await referenced.read("default", WANTED)


@pytest.mark.parametrize(
    "refusal",
    [ApiError(403, "Forbidden", "clusters is forbidden"), ApiError(500, "", "conversion webhook failed")],
    ids=["forbidden", "webhook"],
)
async def test_what_can_not_be_read_is_told_soon_and_tried_again(api: Api, refusal: ApiError) -> None:
    api.refusal = refusal
    async with _running(api) as (referenced, woken):
        referenced.use(KEY, [WANTED])
        with pytest.raises(TransientError, match=refusal.message):
            await referenced.read("default", WANTED)
        api.refusal, api.objects = None, [_object(1)]
        while not await _can_read(referenced):
            await _woken(woken)


async def test_what_may_not_be_read_for_a_while_is_read_again(api: Api) -> None:
    api.objects = [_object(1)]
    async with _running(api) as (referenced, woken):
        referenced.use(KEY, [WANTED])
        await referenced.read("default", WANTED)
        api.refusal = ApiError(403, "Forbidden", "clusters is forbidden")
        api.events.put_nowait(api.refusal)
        while await _can_read(referenced):
            await _woken(woken)
        api.refusal = None
        while not await _can_read(referenced):
            await _woken(woken)


async def _can_read(referenced: Referenced) -> bool:
    try:
        return bool(await referenced.read("default", WANTED))
    except TransientError:
        return False


async def test_a_kind_that_nobody_names_any_more_is_no_longer_watched(api: Api) -> None:
    async with _running(api) as (referenced, _):
        referenced.use(KEY, [WANTED])
        referenced.use(("default", "other"), [WANTED])
        referenced.use(KEY, ())
        assert [watch.name for watch in referenced.watches] == ["clusters/*"]
        referenced.use(("default", "other"), ())
        assert referenced.watches == []
        with pytest.raises(ReconcileError):
            await referenced.read("default", WANTED)


class _Elsewhere(Backend):
    operator_ref: OperatorRef


@pytest.fixture
def engine(api: Any, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """An engine for which every assistant's Redis is the object `main` of the example's operator."""
    block = _Elsewhere(operator_ref=WANTED.ref)
    component = redis.COMPONENT.__class__(
        **{**vars(redis.COMPONENT), "backend": lambda _: block, "referenced": (KIND,)}
    )
    monkeypatch.setattr(desired, "COMPONENTS", (component, runtime.COMPONENT))
    return Engine(Settings(), api, Metrics())


async def test_the_secret_that_an_object_names_wakes_the_assistants_that_name_the_object(
    engine: Engine, api: Api
) -> None:
    api.objects = [_object(1, secret="chosen")]
    running = asyncio.create_task(engine._referenced.run())
    engine._watches[0]._take("ADDED", resource())
    assert engine._content_users.of(Ref("Secret", "default", "main-app")) == {KEY}, (
        "the usual name, before the object is seen"
    )
    await engine._referenced.read("default", WANTED)
    assert engine._content_users.of(Ref("Secret", "default", "chosen")) == {KEY}
    assert not engine._content_users.of(Ref("Secret", "default", "main-app"))
    engine._watches[0]._take("DELETED", resource())
    assert engine._referenced.watches == []
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
