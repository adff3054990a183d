"""Leader election: one writes, and never two, whatever the clocks, the API server and the other operators do."""

import asyncio
import math
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import aiohttp
import pytest
from structlog.testing import capture_logs

from assistant_operator import labels
from assistant_operator.cluster.client import ApiError
from assistant_operator.cluster.fence import Fence, FencedError
from assistant_operator.cluster.lease import is_newer
from assistant_operator.engine import server
from assistant_operator.engine.engine import Engine
from assistant_operator.engine.leader import Elector, Terms
from assistant_operator.rooms.manifests import Object
from assistant_operator.settings import LONGEST_LEASE_SECONDS
from assistant_operator.telemetry import Metrics
from tests.operator.recording import RecordingClient

DURATION, DEADLINE = 10, 6
FORBIDDEN = ApiError(403, "Forbidden", "leases is forbidden")
AWAY = ConnectionRefusedError("away")


class Stage:
    """Operators before one API server; time stands still until a test moves it."""

    def __init__(self) -> None:
        self.server = RecordingClient()
        self.now = 0.0

    def operator(self, name: str, version: str = "1.0.0", wall: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> Elector:
        """Return an operator, which waits for nothing between two tries."""
        terms = Terms(name, "system", "operator", DURATION, DEADLINE, retry_period_seconds=0, version=version)
        return Elector(
            self.server,
            terms,
            Fence(lambda: self.now),
            Metrics(),
            clock=lambda: self.now,
            wall_clock=lambda: wall + timedelta(seconds=self.now),
        )

    @property
    def lease(self) -> Object:
        return self.server.objects["Lease", "system", "operator"]

    @property
    def holder(self) -> str:
        return str(self.lease["spec"]["holderIdentity"])

    def change(self, **spec: Any) -> None:
        """Change the Lease as somebody else would."""
        self.server.put({**self.lease, "spec": {**self.lease["spec"], **spec}})

    def passing(self, seconds: float, error: Exception | None = None) -> None:
        """Have every request take so long, and fail."""

        def fail(*_: str) -> None:
            self.now += seconds
            if error:
                raise error

        self.server.fail = fail

    def well(self) -> None:
        self.server.fail = lambda *_: None


@pytest.fixture
def stage() -> Stage:
    return Stage()


def _sample(elector: Elector, name: str, **by: str) -> float | None:
    return elector.metrics.registry.get_sample_value(f"assistant_operator_{name}", by)


async def test_the_first_leads_and_the_second_stands_by(stage: Stage) -> None:
    first, second = stage.operator("a"), stage.operator("b")
    assert await first.attempt()
    with capture_logs() as logs:
        assert [await second.attempt() for _ in range(3)] == [False] * 3
    assert [first.role, second.role] == ["leader", "standby"]
    assert [_sample(each, "leader") for each in (first, second)] == [1, 0]
    assert _sample(second, "lease_holder", holder="a") == 1
    assert [entry["holder"] for entry in logs] == ["a"], "whoever holds the Lease is reported once"
    assert stage.lease["spec"] == {
        "holderIdentity": "a",
        "leaseDurationSeconds": DURATION,
        "acquireTime": "2026-01-01T00:00:00.000000Z",
        "renewTime": "2026-01-01T00:00:00.000000Z",
        "leaseTransitions": 0,
    }


@pytest.mark.parametrize("jump", [timedelta(0), timedelta(days=-400), timedelta(days=400)])
async def test_a_lease_is_taken_after_its_duration_whatever_the_wall_clocks_say(stage: Stage, jump: timedelta) -> None:
    first = stage.operator("a")
    second = stage.operator("b", wall=datetime(2026, 1, 1, tzinfo=UTC) + jump)
    assert await first.attempt()
    stage.now = 5
    assert not await second.attempt()
    stage.now = 5 + DURATION - 0.1
    assert not await second.attempt()
    assert first.role == "standby", "the first has stopped by itself long since"
    stage.now = 5 + DURATION
    assert await second.attempt()
    assert (stage.holder, stage.lease["spec"]["leaseTransitions"]) == ("b", 1)
    assert not await first._renew(), "the first sees that, and stands by"


async def test_a_renewal_is_a_sign_of_life_though_the_leaders_wall_clock_went_backwards(stage: Stage) -> None:
    first, second = stage.operator("a"), stage.operator("b")
    assert await first.attempt()
    assert not await second.attempt()
    stage.now = 5
    first.wall_clock = lambda: datetime(1999, 1, 1, tzinfo=UTC)
    assert await first._renew()
    stage.now = 9
    assert not await second.attempt()
    stage.now = 18
    assert not await second.attempt()


async def test_writes_end_before_the_lease_does_counted_from_before_the_renewal_was_sent(stage: Stage) -> None:
    elector = stage.operator("a")
    stage.passing(1.5)
    assert await elector.attempt()
    assert stage.now == 3, "it was read, and created"
    with elector.gate.write() as seconds:
        assert seconds == DEADLINE - 3
    stage.now = DEADLINE
    with pytest.raises(FencedError), elector.gate.write():
        pytest.fail("a write was admitted")


async def test_a_leader_that_reaches_no_server_stops_at_its_deadline(stage: Stage) -> None:
    elector = stage.operator("a")
    assert await elector.attempt()
    stage.passing(1, AWAY)
    with capture_logs() as logs:
        assert not await elector._renew()
    assert stage.now == DEADLINE
    assert [entry["event"] for entry in logs] == ["lease_failed", "lease_not_renewed"], "once, and not for each try"
    assert _sample(elector, "lease_failures_total", failure="ConnectionRefusedError") == DEADLINE


async def test_a_renewal_that_fails_in_between_costs_nothing(stage: Stage) -> None:
    elector = stage.operator("a")
    assert await elector.attempt()
    stage.now = 2
    failures = iter([ApiError(500, "", ""), ApiError(429, "", ""), AWAY])

    def fail(*_: str) -> None:
        if error := next(failures, None):
            raise error

    stage.server.fail = fail
    assert await elector._renew()
    assert elector.gate.remaining() == DEADLINE


async def test_a_renewal_whose_answer_was_lost_is_recognised(stage: Stage) -> None:
    elector = stage.operator("a")
    assert await elector.attempt()
    stage.change(renewTime="2026-01-01T00:00:02.000000Z")
    assert await elector._renew()
    assert stage.holder == "a"


async def test_a_lease_that_another_took_is_not_taken_back(stage: Stage) -> None:
    elector = stage.operator("a")
    assert await elector.attempt()
    stage.change(holderIdentity="b", renewTime="2026-01-01T00:00:01.000000Z")
    assert not await elector._renew()
    assert not await elector._drain()
    assert (elector.role, stage.holder) == ("standby", "b")


async def test_of_two_who_take_a_free_lease_at_once_one_gets_it(stage: Stage) -> None:
    first, second = stage.operator("a"), stage.operator("b")
    second._see(await second._read())
    assert await first.attempt()
    with pytest.raises(ApiError, match="AlreadyExists"):
        await second._take()
    stage.change(holderIdentity="")
    for each in (first, second):
        each._see(await each._read())
    await first._take()
    with pytest.raises(ApiError, match="409 Conflict"):
        await second._take()
    assert stage.holder == "a"


async def test_a_lease_that_is_deleted_gives_nobody_the_leaders_place(stage: Stage) -> None:
    first, second = stage.operator("a"), stage.operator("b")
    assert await first.attempt()
    assert not await second.attempt()
    del stage.server.objects["Lease", "system", "operator"]
    assert not await second.attempt()
    assert await first._renew()
    assert (stage.holder, first.role) == ("a", "leader")
    del stage.server.objects["Lease", "system", "operator"]
    stage.now = DURATION
    assert await second.attempt(), "the leader is gone too"


async def test_missing_rights_are_reported_once_until_they_are_given(stage: Stage) -> None:
    elector = stage.operator("a")
    stage.server.refuse(FORBIDDEN, verb="create")
    with capture_logs() as logs:
        assert [await elector.attempt() for _ in range(3)] == [False] * 3
    assert [entry["event"] for entry in logs] == ["lease_failed"]
    assert elector.problem == "The API server refuses the Lease operator in namespace system: leases is forbidden"
    assert _sample(elector, "lease_failures_total", failure="403") == 3
    stage.well()
    assert await elector.attempt()
    assert not elector.problem


async def test_a_holder_of_an_endless_lease_is_not_waited_for_without_an_end(stage: Stage) -> None:
    elector = stage.operator("a")
    metadata = {"namespace": "system", "name": "operator"}
    spec = {"holderIdentity": "somebody", "leaseDurationSeconds": 2**31 - 1}
    stage.server.put({"kind": "Lease", "metadata": metadata, "spec": spec})
    assert not await elector.attempt()
    assert labels.CANDIDATE_VERSION not in stage.lease["metadata"].get("annotations", {}), "it is not our kind"
    stage.now = LONGEST_LEASE_SECONDS
    assert await elector.attempt()


async def test_readiness_tells_the_role_and_what_keeps_everyone_from_leading(stage: Stage) -> None:
    class Ready:
        def unready(self) -> list[str]:
            return []

    elector = stage.operator("a")
    runner = await server.serve(cast("Engine", Ready()), elector.metrics, 0, elector)
    port = next(address[1] for address in runner.addresses if "." in address[0])

    async def ready() -> tuple[int, str]:
        async with client.get("/readyz") as answer:
            return answer.status, await answer.text()

    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client:
            assert await ready() == (200, "ok: standby")
            stage.server.refuse(FORBIDDEN)
            assert not await elector.attempt()
            assert await ready() == (503, elector.problem)
            stage.well()
            assert await elector.attempt()
            assert await ready() == (200, "ok: leader")
    finally:
        await runner.cleanup()


async def _until(check: Any) -> None:
    async with asyncio.timeout(30):
        while not check():  # noqa: ASYNC110 - what is waited for sets no event
            await asyncio.sleep(0)


class Work:
    """Work that notes when it is begun and ended."""

    def __init__(self) -> None:
        self.begun = self.ended = 0

    async def __call__(self) -> None:
        self.begun += 1
        try:
            await asyncio.Event().wait()
        finally:
            self.ended += 1


async def test_a_lost_leader_stands_by_and_leads_again(stage: Stage) -> None:
    elector, work = stage.operator("a"), Work()
    task = asyncio.create_task(elector.run(work))
    await _until(lambda: work.begun == 1)
    stage.passing(1, AWAY)
    await _until(lambda: work.ended == 1)
    assert elector.role == "standby"
    stage.well()
    await _until(lambda: work.begun == 2)
    assert elector.role == "leader"
    task.cancel()
    await asyncio.wait([task])
    assert (work.ended, stage.holder) == (2, ""), "the Lease is released"


async def test_a_lease_is_released_after_the_last_write_has_ended(stage: Stage) -> None:
    elector, work = stage.operator("a"), Work()
    task = asyncio.create_task(elector.run(work))
    await _until(lambda: work.begun)
    with elector.gate.write():
        task.cancel()
        await _until(lambda: not elector.gate.remaining())
        for _ in range(10):
            await asyncio.sleep(0)
        assert (work.ended, stage.holder) == (0, "a"), "the write is left to end"
    await asyncio.wait([task])
    assert (work.ended, stage.holder) == (1, "")


@pytest.mark.parametrize(("holder", "left"), [("a", ""), ("b", "b")])
async def test_a_lease_that_changed_unseen_is_released_by_its_holder_alone(
    stage: Stage, holder: str, left: str
) -> None:
    """As by a renewal that was cut off before its answer came."""
    elector = stage.operator("a")
    assert await elector.attempt()
    stage.change(renewTime="2026-01-01T00:00:01.000000Z", holderIdentity=holder)
    assert await elector._drain()
    await elector._release()
    assert stage.holder == left


async def test_a_lease_is_not_released_by_whoever_may_have_lost_it(stage: Stage) -> None:
    elector, work = stage.operator("a"), Work()
    task = asyncio.create_task(elector.run(work))
    await _until(lambda: work.begun)
    with elector.gate.write():
        task.cancel()
        await _until(lambda: not elector.gate.remaining())
        stage.now += DEADLINE
    await asyncio.wait([task])
    assert (work.ended, stage.holder) == (1, "a")


async def test_what_ends_the_work_ends_the_operator_and_releases_the_lease(stage: Stage) -> None:
    async def fails() -> None:
        raise ZeroDivisionError

    elector = stage.operator("a")
    with pytest.raises(ZeroDivisionError):
        await elector.run(fails)
    assert stage.holder == ""


async def test_an_older_leader_makes_room_for_a_newer_candidate(stage: Stage) -> None:
    older, other, newer = (
        stage.operator("old", "0.9.0"),
        stage.operator("old-2", "0.9.0"),
        stage.operator("new", "0.10.0"),
    )
    work = Work()
    task = asyncio.create_task(older.run(work))
    await _until(lambda: work.begun)
    assert not await other.attempt()
    assert not await newer.attempt()
    await _until(lambda: stage.holder == "")
    assert not await other.attempt(), "no other old one takes its place"
    assert await newer.attempt()
    assert stage.lease["metadata"]["annotations"] == {labels.OPERATOR_VERSION: "0.10.0"}
    assert await newer._renew()
    for each in (other, newer):
        assert not await each.attempt() or each is newer
    assert await newer._renew(), "nobody older asks it to go"
    assert work.begun == 1
    task.cancel()
    await asyncio.wait([task])
    assert stage.holder == "new"


async def test_a_candidate_that_never_comes_costs_one_duration(stage: Stage) -> None:
    older, newer = stage.operator("old", "1.0.0"), stage.operator("new", "1.0.1")
    assert await older.attempt()
    assert not await newer.attempt()
    assert not await older._renew()
    assert await older._drain()
    await older._release()
    assert not await older.attempt()
    stage.now = DURATION
    assert await older.attempt()
    assert await older._renew()
    assert labels.CANDIDATE_VERSION not in stage.lease["metadata"]["annotations"]


async def test_versions_are_compared_by_their_numbers() -> None:
    assert is_newer("0.10.0", "0.9.9")
    assert not is_newer("1.0.0", "1.0.0+local")
    assert not is_newer("garbage", "0.1")
    assert is_newer("0.1", "")


async def test_without_leader_election_the_fence_is_open() -> None:
    with Fence().write() as seconds:
        assert math.isinf(seconds)
