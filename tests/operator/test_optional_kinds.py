"""A kind that a cluster may not serve: nobody waits for it, who wants it is told, and it is made once it is served."""

from typing import Any, cast

import pytest

from assistant_operator import conditions, desired, kinds
from assistant_operator.cluster.client import ApiError, ApiServer
from assistant_operator.cluster.watch import Watch
from assistant_operator.engine.engine import Engine
from assistant_operator.kinds import Kind
from assistant_operator.rooms.manifests import new_object
from assistant_operator.rooms.policy import Policy
from assistant_operator.settings import Settings
from assistant_operator.telemetry import Metrics
from tests.operator.assistants import resource
from tests.operator.recording import RecordingClient

ROUTE = Kind("gateway.networking.k8s.io/v1", "HTTPRoute", "httproutes", optional=True)
NOT_FOUND = ApiError(404, "NotFound", "the server could not find the requested resource")
POLICY = Policy(
    name="route",
    condition="RouteReady",
    kinds=(ROUTE.kind,),
    objects=lambda assistant, *_: [
        new_object(ROUTE.api_version, ROUTE.kind, assistant.name, assistant, "runtime", spec={})
    ],
    assess=lambda assistant, seen: conditions.condition(
        "RouteReady", bool(seen(ROUTE.kind, assistant.name)), conditions.READY, "as seen"
    ),
)


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> RecordingClient:
    """A cluster whose operator has a policy of an optional kind."""
    monkeypatch.setitem(kinds.APPLIED, ROUTE.kind, ROUTE)
    monkeypatch.setitem(desired._ORDER, ROUTE.kind, len(desired._ORDER))
    monkeypatch.setattr(desired, "POLICIES", (*desired.POLICIES, POLICY))
    return RecordingClient()


def _engine(client: RecordingClient) -> tuple[Engine, Watch]:
    engine = Engine(Settings(), cast("ApiServer", client), Metrics())
    *_, route = (watch for watch in engine._watches if watch.target.kind is ROUTE)
    for watch in engine._watches:
        if watch is not route:
            watch.synced.set()
    return engine, route


async def _reconciled(engine: Engine, client: RecordingClient) -> dict[str, Any]:
    """Run the pass that waits, and return the condition of the policy."""
    key = await engine._queue.take()
    await engine._reconcile(key)
    engine._queue.done(key)
    status = client.objects["AIAssistant", "default", "demo"]["status"]
    return next((c for c in status["conditions"] if c["type"] == "RouteReady"), {})


async def test_who_wants_a_kind_that_is_not_served_is_told_and_everything_else_is_made(client: RecordingClient) -> None:
    engine, route = _engine(client)
    assert engine.unready()
    route._refused(NOT_FOUND)
    assert not engine.unready(), "a kind that is not served has no objects to wait for"
    engine._watches[0]._take("ADDED", client.put(resource()))
    told = await _reconciled(engine, client)
    assert (told["status"], told["reason"]) == ("False", "ApiNotInstalled")
    assert told["message"].startswith("This cluster serves no HTTPRoute.")
    made = {kind for verb, kind, _ in client.calls if verb == "apply"}
    assert "Deployment" in made
    assert ROUTE.kind not in made


async def test_it_is_made_once_the_kind_is_served(client: RecordingClient) -> None:
    engine, route = _engine(client)
    route._refused(NOT_FOUND)
    engine._watches[0]._take("ADDED", client.put(resource()))
    await _reconciled(engine, client)
    await route._list()
    assert (await _reconciled(engine, client))["status"] == "True"
    assert (ROUTE.kind, "default", "demo") in client.objects


def test_a_kind_that_must_be_served_is_waited_for(client: RecordingClient) -> None:
    engine, route = _engine(client)
    route.synced.set()
    services = next(watch for watch in engine._watches if watch.target.kind.kind == "Service")
    services.synced.clear()
    services._refused(NOT_FOUND)
    assert engine.unready()
