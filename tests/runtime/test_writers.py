"""Multi-writer: drafts at once, scores, revisions, and jobs that survive the replica that works on them."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from assistant_runtime.errors import ProviderError, StoreUnavailableError
from assistant_runtime.writers import runner as runner_module
from assistant_runtime.writers.job import Assignment, Draft, Job, Score, new_job
from assistant_runtime.writers.panel import JobLostError, Panel
from assistant_runtime.writers.prompts import Messages, read_score
from assistant_runtime.writers.runner import Runner
from assistant_runtime.writers.store import MemoryJobs
from tests.support.runtime import Runtime, cancelled, eventually, run_runtime
from tests.support.upstream import MODEL, Upstream, answers, completion, hang


def assignment(**fields: Any) -> Assignment:
    given = {"prompt": "A poem about rain", "writers": ("one", "two"), "checkers": ("judge",), "max_revisions": 0}
    return Assignment.model_validate(given | fields)


@dataclass
class Models:
    """Models by name; a checker's score depends on the text, which names its writer."""

    scores: dict[str, float] = field(default_factory=dict)
    failing: set[str] = field(default_factory=set)
    asked: list[tuple[str, str]] = field(default_factory=list)
    gate: asyncio.Event | None = None

    async def __call__(self, model: str, messages: Messages, max_tokens: int | None) -> str:
        kind = self._kind(messages)
        self.asked.append((kind, model))
        if self.gate:
            await self.gate.wait()
        if model in self.failing:
            raise ProviderError(502, f"{model} is out", code="provider_error")
        if kind != "check":
            return f"{kind} by {model}"
        text = messages[1]["content"].split("<text>\n")[1]
        score = next((score for name, score in self.scores.items() if name in text), 5.0)
        return json.dumps({"score": score, "remarks": f"a {score}"})

    @staticmethod
    def _kind(messages: Messages) -> str:
        if messages[0]["content"].startswith("You judge"):
            return "check"
        if messages[0]["content"].startswith("You are given a task"):
            return "merge"
        return "revision" if len(messages) > 2 else "draft"


async def work(models: Models, job: Job) -> Job:
    """Work on a job that nobody else wants."""
    held = [job]

    async def commit(change: Callable[[Job], Job]) -> Job:
        held[0] = change(held[0])
        return held[0]

    return await Panel(models, commit, lambda: 1.0).work(job)


async def test_the_best_draft_is_the_result() -> None:
    job = await work(Models({"by one": 4, "by two": 7}), new_job("t", assignment(), 0))
    assert job.status == "done"
    assert job.result is not None
    assert (job.result.text, job.result.score, job.result.drafts) == ("draft by two", 7.0, ("0.1",))
    assert {draft.text for draft in job.drafts} == {"draft by one", "draft by two"}


async def test_writers_draft_at_once() -> None:
    models = Models(gate=asyncio.Event())
    task = asyncio.create_task(work(models, new_job("t", assignment(), 0)))
    await eventually(lambda: len(models.asked) == 2)
    assert models.gate is not None
    models.gate.set()
    assert (await task).status == "done"


async def test_drafts_below_the_pass_score_are_revised_with_the_remarks_and_all_are_kept() -> None:
    models = Models({"revision by one": 9, "draft by one": 3, "draft by two": 4, "revision by two": 6})
    job = await work(models, new_job("t", assignment(max_revisions=3, pass_score=8), 0))
    assert [(draft.id, draft.text) for draft in sorted(job.drafts, key=lambda draft: draft.id)] == [
        ("0.0", "draft by one"),
        ("0.1", "draft by two"),
        ("1.0", "revision by one"),
        ("1.1", "revision by two"),
    ]
    assert job.result is not None
    assert job.result.drafts == ("1.0",)


async def test_revising_ends_at_its_bound() -> None:
    job = await work(Models(), new_job("t", assignment(max_revisions=2, pass_score=10), 0))
    assert job.round == 2
    assert job.status == "done"


async def test_the_two_best_are_merged() -> None:
    job = await work(Models({"by one": 4, "by two": 7}), new_job("t", assignment(strategy="merge"), 0))
    assert job.result is not None
    assert (job.result.text, job.result.drafts) == ("merge by two", ("0.1", "0.0"))


async def test_a_writer_that_fails_stops_no_other() -> None:
    job = await work(Models(failing={"one"}), new_job("t", assignment(), 0))
    assert job.status == "done"
    assert [draft.error for draft in job.drafts if draft.text is None] == ["one: one is out"]


async def test_without_any_text_the_job_fails_and_says_of_what() -> None:
    job = await work(Models(failing={"one", "two"}), new_job("t", assignment(), 0))
    assert job.status == "failed"
    assert job.error is not None
    assert "one is out" in job.error
    assert "two is out" in job.error


async def test_without_a_checker_the_first_writer_counts() -> None:
    job = await work(Models(), new_job("t", assignment(checkers=(), max_revisions=3), 0))
    assert job.result is not None
    assert (job.result.text, job.result.score) == ("draft by one", None)


async def test_what_was_done_already_is_not_done_again() -> None:
    """As a replica finds a job that another one began."""
    first = Draft(
        id="0.0",
        writer=0,
        model="one",
        round=0,
        text="draft by one",
        scores=(Score(checker="judge", score=2, remarks="dull"),),
    )
    begun = new_job("t", assignment(max_revisions=1), 0).with_draft(first, 0)
    models = Models({"draft": 2, "revision": 9})
    job = await work(models, begun)
    assert ("draft", "one") not in models.asked
    assert models.asked.count(("check", "judge")) == 1 + 2
    assert job.status == "done"


@pytest.mark.parametrize(
    ("answer", "score"),
    [
        ('{"score": 7, "remarks": "fine"}', 7.0),
        ('Sure!\n```json\n{"score": 6.5, "remarks": []}\n```', 6.5),
        ('{"score": 99}', 10.0),
        ('{"score": -1}', 0.0),
        ('{"score": true}', None),
        ('{"score": "high"}', None),
        ("I would give it a seven.", None),
        ("{broken}", None),
        ("", None),
    ],
)
def test_a_checkers_answer_is_read_as_far_as_it_can_be(answer: str, score: float | None) -> None:
    assert read_score("judge", answer).score == score


class Replica:
    """A runner of its own, on a store that others share."""

    def __init__(self, store: MemoryJobs, models: Models) -> None:
        self.runner = Runner(store, lambda _: models, 2)
        self.task = asyncio.create_task(self.runner.run())

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


class Away(MemoryJobs):
    """A store that can be away, and that can lose the answer to a write."""

    away = False
    lose_answers = 0

    async def replace(self, job: Job, owner: str | None = None) -> bool:
        if self.away:
            raise StoreUnavailableError("away")
        done = await super().replace(job, owner)
        if self.lose_answers:
            self.lose_answers -= 1
            raise StoreUnavailableError("the answer is lost")
        return done


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner_module, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(runner_module, "RETRY_SECONDS", 0.02)


async def status(store: MemoryJobs, job: Job) -> str | None:
    found = await store.get(job.tenant, job.id)
    return found.status if found else None


async def test_a_killed_replicas_job_is_taken_up_by_another(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    store, job = MemoryJobs(clock=lambda: now[0]), new_job("t", assignment(), 0)
    await store.create(job)
    assert await store.claim("killed", runner_module.LEASE_SECONDS)
    other = Replica(store, Models())
    await asyncio.sleep(0.1)
    assert await status(store, job) == "running", "its lease still holds"
    now[0] += runner_module.LEASE_SECONDS
    await eventually(lambda: _is(store, job, "done"))
    await other.stop()


async def test_a_replica_that_stops_gives_its_job_back_at_once(quick: None) -> None:
    store, job = MemoryJobs(clock=lambda: 0.0), new_job("t", assignment(), 0)
    await store.create(job)
    stopping = Replica(store, Models(gate=asyncio.Event()))
    await eventually(lambda: _is(store, job, "running"))
    await stopping.stop()
    other = Replica(store, Models())
    await eventually(lambda: _is(store, job, "done"))
    await other.stop()


async def test_a_job_that_no_replica_survives_is_given_up(quick: None) -> None:
    store, job = MemoryJobs(), new_job("t", assignment(), 0)
    await store.create(job)
    for _ in range(runner_module.MAX_ATTEMPTS):
        assert await store.claim("killed", 0)
    models = Models()
    replica = Replica(store, models)
    await eventually(lambda: _is(store, job, "failed"))
    assert models.asked == []
    await replica.stop()


async def test_a_store_that_is_away_for_a_moment_costs_no_text(quick: None) -> None:
    store, job = Away(), new_job("t", assignment(), 0)
    await store.create(job)
    models = Models(gate=asyncio.Event())
    replica = Replica(store, models)
    await eventually(lambda: len(models.asked) == 2)
    store.away = True
    assert models.gate is not None
    models.gate.set()
    await asyncio.sleep(0.1)
    store.away = False
    await eventually(lambda: _is(store, job, "done"))
    assert models.asked.count(("draft", "one")) == 1
    await replica.stop()


async def test_a_write_whose_answer_was_lost_is_not_taken_for_another_replicas(quick: None) -> None:
    store, job = Away(), new_job("t", assignment(), 0)
    store.lose_answers = 1
    await store.create(job)
    models = Models()
    replica = Replica(store, models)
    await eventually(lambda: _is(store, job, "done"))
    assert models.asked.count(("draft", "one")) == 1
    await replica.stop()


async def test_of_two_changes_of_one_version_one_loses() -> None:
    store, job = MemoryJobs(), new_job("t", assignment(), 0)
    await store.create(job)
    assert await store.replace(job.changed(1, status="cancelled"))
    assert not await store.replace(job.changed(2, status="done"))
    with pytest.raises(JobLostError):
        await Panel(Models(), _lost, lambda: 0.0).work(job)


async def _lost(_: Callable[[Job], Job]) -> Job:
    raise JobLostError("gone")


def _is(store: MemoryJobs, job: Job, wanted: str) -> Awaitable[bool]:
    async def check() -> bool:
        return await status(store, job) == wanted

    return check()


async def judge(_: Upstream, __: web.Request, body: dict[str, Any]) -> web.StreamResponse:
    """Answer a writer with a text, and a checker with a score."""
    checks = body["messages"][0]["content"].startswith("You judge")
    return web.json_response(completion(body["model"], '{"score": 9, "remarks": "good"}' if checks else "A text."))


async def call(runtime: Runtime, method: str, path: str, key: str = "key-one", **options: Any) -> tuple[int, Any]:
    headers = {"authorization": f"Bearer {key}"}
    async with runtime.client.request(method, f"{runtime.url}/v1/writers{path}", headers=headers, **options) as answer:
        body = await answer.read()
        return answer.status, json.loads(body) if body else None


WRITERS = {"multi_writer_enabled": True, "api_keys": "key-one,key-two"}


async def test_a_job_by_the_api(upstream: Upstream) -> None:
    upstream.default = judge
    async with run_runtime(upstream, **WRITERS) as runtime:
        code, job = await call(runtime, "POST", "?wait=60", json={"prompt": "Write."})
        assert (code, job["status"], job["result"]) == (
            200,
            "done",
            {"text": "A text.", "score": 9.0, "drafts": ["0.0"]},
        )
        assert (await call(runtime, "GET", f"/{job['id']}"))[1] == job
        assert [each["id"] for each in (await call(runtime, "GET", ""))[1]["data"]] == [job["id"]]
        assert await call(runtime, "DELETE", f"/{job['id']}") == (204, None)
        assert (await call(runtime, "GET", f"/{job['id']}"))[0] == 404


async def test_a_client_that_leaves_waits_no_longer(upstream: Upstream) -> None:
    upstream.default = hang
    async with run_runtime(upstream, **WRITERS) as runtime:
        waiting = asyncio.create_task(call(runtime, "POST", "?wait=300", json={"prompt": "Write."}))
        await upstream.started.wait()
        await cancelled(waiting)
        await eventually(lambda: not runtime.server.server_state.tasks)


async def test_an_answer_without_a_choice_is_the_writers_failure(upstream: Upstream) -> None:
    upstream.default = answers(json.dumps(completion(MODEL) | {"choices": []}))
    async with run_runtime(upstream, **WRITERS) as runtime:
        _, job = await call(runtime, "POST", "?wait=60", json={"prompt": "Write."})
    assert (job["status"], "something else than an answer" in job["error"]) == ("failed", True)


async def test_a_job_is_its_tenants_alone(upstream: Upstream) -> None:
    upstream.default = judge
    async with run_runtime(upstream, **WRITERS) as runtime:
        _, job = await call(runtime, "POST", "?wait=60", json={"prompt": "Write."})
        for method, path in (("GET", ""), ("POST", "/cancel"), ("DELETE", "")):
            code, answer = await call(runtime, method, f"/{job['id']}{path}", key="key-two")
            assert (code, answer["error"]["code"]) == (404, "job_not_found")
        assert (await call(runtime, "GET", "", key="key-two"))[1]["data"] == []


async def test_a_cancelled_job_ends_and_asks_nobody_any_more(upstream: Upstream) -> None:
    async def wait(it: Upstream, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        it.started.set()
        await it.release.wait()
        return await judge(it, request, body)

    upstream.default = wait
    async with run_runtime(upstream, **WRITERS) as runtime:
        code, job = await call(runtime, "POST", "", json={"prompt": "Write."})
        assert (code, job["status"] in {"queued", "running"}) == (202, True)
        await upstream.started.wait()
        code, ended = await call(runtime, "POST", f"/{job['id']}/cancel")
        assert (code, ended["status"]) == (200, "cancelled")
        upstream.release.set()
        assert (await call(runtime, "GET", f"/{job['id']}?wait=1"))[1]["status"] == "cancelled"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "prompt"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": "x", "writers": []}, "writers"),
        ({"prompt": "x", "writers": ["m"] * 9}, "writers"),
        ({"prompt": "x", "pass_score": 11}, "pass_score"),
        ({"prompt": "x", "strategy": "vote"}, "strategy"),
        ({"prompt": "x", "colour": "red"}, "colour"),
    ],
)
async def test_a_bad_request_names_the_field(upstream: Upstream, body: dict[str, Any], param: str) -> None:
    async with run_runtime(upstream, **WRITERS) as runtime:
        code, answer = await call(runtime, "POST", "", json=body)
        assert (code, answer["error"]["param"]) == (400, param)


async def test_it_is_off_by_default(upstream: Upstream) -> None:
    async with run_runtime(upstream) as runtime:
        assert (await runtime.get("/v1/writers")).status == 404
