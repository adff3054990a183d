"""Where writing jobs are kept: the same promises of MongoDB (its protocol) and of this process."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from assistant_runtime.settings import Settings
from assistant_runtime.stores.mongodb import MongoConnection
from assistant_runtime.supervisor import Supervisor
from assistant_runtime.telemetry import Metrics
from assistant_runtime.writers.job import Assignment, Job, Result, new_job
from assistant_runtime.writers.mongodb_store import MongoJobs
from assistant_runtime.writers.prompts import Messages
from assistant_runtime.writers.runner import Runner, has_ended
from assistant_runtime.writers.store import JobStore, MemoryJobs
from tests.runtime.test_writers import WRITERS, call, judge
from tests.support.mongodb import MongoServer, run_mongodb
from tests.support.runtime import eventually, run_runtime
from tests.support.upstream import Upstream

ASSIGNMENT = Assignment(prompt="Write.", writers=("one",), checkers=())
LONG = 60.0


@pytest.fixture(scope="module")
def server() -> Iterator[MongoServer]:
    with run_mongodb() as started:
        yield started


@pytest.fixture(params=["memory", "mongodb"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[JobStore]:
    if request.param == "memory":
        yield MemoryJobs()
        return
    mongodb: MongoServer = request.getfixturevalue("server")
    with mongodb.client() as client:
        client.drop_database("ai_assistant")
    connection = MongoConnection(Settings.load(**addressed(mongodb)))
    jobs = MongoJobs(connection)
    await connection.open()
    yield jobs
    await connection.aclose()


def addressed(mongodb: MongoServer) -> dict[str, str]:
    return {"mongodb_url": mongodb.url, "mongodb_username": mongodb.username, "mongodb_password": mongodb.password}


def job(tenant: str = "t", created: float = 0.0) -> Job:
    return new_job(tenant, ASSIGNMENT, created)


async def test_a_job_is_kept_as_it_is(store: JobStore) -> None:
    kept = job().changed(1, result=Result(text="é\x00", score=None, drafts=("0.0",)))
    await store.create(kept)
    assert await store.get("t", kept.id) == kept
    assert await store.get("other", kept.id) is None
    assert not await store.delete("other", kept.id)
    assert await store.delete("t", kept.id)
    assert await store.get("t", kept.id) is None


async def test_jobs_are_listed_newest_first(store: JobStore) -> None:
    made = [job(created=float(number)) for number in range(3)]
    for each in [*made, job("other")]:
        await store.create(each)
    assert [each.id for each in await store.list("t", 2)] == [made[2].id, made[1].id]
    assert [each.id for each in await store.list("t", 2, made[1].id)] == [made[0].id]
    assert [each.id for each in await store.list("t", 2, made[0].id)] == []


async def test_a_version_is_replaced_once(store: JobStore) -> None:
    kept = job()
    await store.create(kept)
    changes = [kept.changed(float(number)) for number in range(5)]
    done = await asyncio.gather(*(store.replace(change) for change in changes))
    assert sorted(done) == [False] * 4 + [True]
    assert await store.get("t", kept.id) == changes[done.index(True)]


async def test_a_job_is_leased_to_one_and_the_oldest_comes_first(store: JobStore) -> None:
    older, newer = job(created=1), job(created=2)
    await store.create(older)
    await store.create(newer)
    claimed = await asyncio.gather(*(store.claim(owner, LONG) for owner in ("a", "b", "c")))
    assert sorted(each.id for each in claimed if each) == sorted([older.id, newer.id])
    assert all(each.status == "running" and each.attempts == 1 for each in claimed if each)
    assert await store.claim("d", LONG) is None


async def test_only_the_owner_writes_a_leased_job_and_renews_it(store: JobStore) -> None:
    await store.create(job())
    claimed = await store.claim("a", LONG)
    assert claimed is not None
    assert not await store.replace(claimed.changed(1), "b")
    assert not await store.renew(claimed.id, "b", LONG)
    assert await store.renew(claimed.id, "a", LONG)
    assert await store.replace(claimed.changed(1), "a")


async def test_a_lease_that_is_over_or_given_back_is_another_owners(store: JobStore) -> None:
    await store.create(job())
    first = await store.claim("killed", 0.2)
    assert first is not None

    async def taken() -> Job | None:
        return await store.claim("next", LONG)

    second = await eventually(taken)
    assert second.attempts == 2
    assert not await store.replace(first.changed(1), "killed")
    assert await store.renew(second.id, "next", 0)
    third = await eventually(lambda: store.claim("last", LONG))
    assert third.attempts == 3


async def test_what_has_ended_is_leased_to_nobody(store: JobStore) -> None:
    kept = job()
    await store.create(kept)
    assert await store.replace(kept.changed(1, status="cancelled"))
    assert await store.claim("a", LONG) is None


async def test_a_job_survives_the_runtime_that_took_it(server: MongoServer, upstream: Upstream) -> None:
    upstream.default = judge
    settings = {**WRITERS, **addressed(server), "secret_key": "s" * 32}
    async with run_runtime(upstream, **settings) as runtime:
        _, made = await call(runtime, "POST", "?wait=60", json={"prompt": "Write."})
    async with run_runtime(upstream, **settings) as runtime:
        assert (await call(runtime, "GET", f"/{made['id']}"))[1] == made


async def test_a_job_that_outgrows_a_document_fails_and_turns_nothing_off(server: MongoServer) -> None:
    async def write(_: str, __: Messages, ___: int | None) -> str:
        return "x" * (17 * 1024 * 1024)

    connection = MongoConnection(Settings.load(**addressed(server)))
    jobs = MongoJobs(connection)
    await connection.open()
    large = job("large")
    await jobs.create(large)
    runner = Runner(jobs, lambda _: write, 1)
    async with Supervisor(Metrics(enabled=False)).running({"writing-jobs": runner.run}):
        ended = await eventually(lambda: _ended(jobs, large))
    assert (ended.status, "16 MB" in ended.error) == ("failed", True)
    assert connection.available
    await connection.aclose()


async def _ended(jobs: JobStore, wanted: Job) -> Job | None:
    found = await jobs.get(wanted.tenant, wanted.id)
    return found if found and has_ended(found) else None
