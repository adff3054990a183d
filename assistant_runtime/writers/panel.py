"""How a job goes: draft, score, revise what is not good enough, and give the result.

Every step first looks at what is there already, so that a job which another replica began goes on where it was: no
draft is written twice, and no score asked for twice.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any

from assistant_runtime.errors import ApiError, AssistantError, ProviderError, StoreRefusedError
from assistant_runtime.writers import prompts
from assistant_runtime.writers.job import Assignment, Draft, Job, Result, Score
from assistant_runtime.writers.prompts import Messages

Ask = Callable[[str, Messages, int | None], Awaitable[str]]
"""Ask a model (its name, the messages, a bound of tokens); gives its text, and raises ProviderError or ApiError."""

Change = Callable[[Job], Job]
Commit = Callable[[Change], Awaitable[Job]]
"""Keep a change of the job as it is now, and give the job after it; raises JobLostError."""

NOBODY_WROTE = "No writer gave a text"


class JobLostError(AssistantError):
    """The job is not this replica's any more: cancelled, deleted, or taken up by another."""


class Panel:
    """Works on one job.

    Parameters
    ----------
    ask
        Asks a model.
    commit
        Keeps what came of it, one change at a time.
    clock
        Seconds since 1970.
    """

    def __init__(self, ask: Ask, commit: Commit, clock: Callable[[], float]) -> None:
        self._ask, self._commit, self._clock = ask, commit, clock

    async def work(self, job: Job) -> Job:
        """Bring a job to its end; raises JobLostError."""
        number = job.round
        while True:
            job = await self._written(job, number)
            if not job.ranked():
                reasons = "; ".join(draft.error for draft in job.drafts if draft.error)
                return await self._finish(status="failed", error=f"{NOBODY_WROTE}: {reasons}")
            job = await self._scored(job)
            if number >= job.assignment.max_revisions or _good_enough(job):
                return await self._finish(status="done", result=await self._result(job))
            number += 1

    async def _finish(self, **fields: object) -> Job:
        return await self._commit(lambda job: job.changed(self._clock(), **fields))

    async def _written(self, job: Job, number: int) -> Job:
        """Have every writer write whose text of this round is missing: a first draft, or a revision of its last one."""
        assignment = job.assignment

        async def write(writer: int, model: str, messages: Messages) -> None:
            text, error = await self._text(model, messages, assignment.max_tokens)
            draft = Draft(id=f"{number}.{writer}", writer=writer, model=model, round=number, text=text, error=error)
            await self._commit(lambda it: it.with_draft(draft, self._clock()))

        await _together(
            write(writer, model, messages)
            for writer, model in enumerate(assignment.writers)
            if not job.has(number, writer) and (messages := _asked(job, number, writer))
        )
        return await self._commit(lambda it: it)

    async def _scored(self, job: Job) -> Job:
        """Have every checker score every draft of this round that it has not scored."""
        await _together(
            self._score(job.assignment, draft, checker)
            for draft in job.drafts
            for checker in _missing_checkers(job.assignment, draft)
            if draft.round == job.round and draft.text is not None
        )
        return await self._commit(lambda it: it)

    async def _score(self, assignment: Assignment, draft: Draft, checker: str) -> None:
        answer, error = await self._text(checker, prompts.checking(assignment, draft), None)
        if answer is None:
            score = Score(checker=checker, score=None, remarks=error or "")
        else:
            score = prompts.read_score(checker, answer)

        def add(job: Job) -> Job:
            now = next(each for each in job.drafts if each.id == draft.id)
            return job.with_draft(now.model_copy(update={"scores": (*now.scores, score)}), self._clock())

        await self._commit(add)

    async def _result(self, job: Job) -> Result:
        best, *others = job.ranked()
        text, used = best.text or "", [best.id]
        if job.assignment.strategy == "merge" and others:
            messages = prompts.merging(job.assignment, best, others[0])
            merged, _ = await self._text(best.model, messages, job.assignment.max_tokens)
            # A merger that fails costs the merge, not the text.
            text, used = (merged, [best.id, others[0].id]) if merged else (text, used)
        return Result(text=text, score=best.mean, drafts=tuple(used))

    async def _text(self, model: str, messages: Messages, max_tokens: int | None) -> tuple[str | None, str | None]:
        """Return a model's text, or what it failed of."""
        try:
            return await self._ask(model, messages, max_tokens), None
        except ProviderError as error:
            return None, f"{model}: {error.message}"
        except ApiError as error:
            return None, f"{model}: {error}"


def _asked(job: Job, number: int, writer: int) -> Messages | None:
    """Return what a writer is asked in a round; None for a revision of a draft that it never gave."""
    if number == 0:
        return prompts.drafting(job.assignment)
    earlier = [draft for draft in job.drafts if draft.writer == writer and draft.round < number and draft.text]
    return prompts.revising(job.assignment, max(earlier, key=lambda draft: draft.round)) if earlier else None


def _good_enough(job: Job) -> bool:
    best = job.ranked()[0].mean
    # Without any score there is nothing to revise by.
    return best is None or best >= job.assignment.pass_score


def _missing_checkers(assignment: Assignment, draft: Draft) -> list[str]:
    """Return the checkers that still owe a score; one that is named twice owes two."""
    owed = list(assignment.checkers)
    for score in draft.scores:
        if score.checker in owed:
            owed.remove(score.checker)
    return owed


async def _together(work: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Await everything; the first that loses the job, or can't be kept, ends the others."""
    try:
        async with asyncio.TaskGroup() as tasks:  # noqa: TID251 - one job, which ends
            for each in work:
                tasks.create_task(each)
    except* JobLostError as lost:
        raise JobLostError(str(lost.exceptions[0])) from None
    except* StoreRefusedError as refused:
        raise refused.exceptions[0] from None
