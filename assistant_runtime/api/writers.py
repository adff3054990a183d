"""/v1/writers: writing jobs, which several models work on."""

import asyncio
import time
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from assistant_runtime.api.context import context_of
from assistant_runtime.errors import ApiError
from assistant_runtime.settings import Settings
from assistant_runtime.writers.job import Assignment, Job, ModelNames, Payer, new_job
from assistant_runtime.writers.runner import Runner, has_ended
from assistant_runtime.writers.store import JobStore

MAX_WAIT_SECONDS = 300
POLL_SECONDS = 0.25
"""How soon a client that waits hears of an end: a hundredth of what the shortest job takes."""

CANCEL_ATTEMPTS = 20
"""Each that fails means that the job made progress at that very moment."""

ROOT = "/v1/writers"
PATH = "/v1/writers/{job_id}"
AfterJob = Annotated[str, Query(max_length=64, description="Last id of the previous page.")]
Wait = Annotated[int, Query(ge=0, le=MAX_WAIT_SECONDS, description="Seconds to wait for the job to end.")]


class WritingRequest(BaseModel):
    """A writing job; absent fields have the runtime's defaults."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "prompt": "Announce our new product, a solar lamp, in 150 words.",
                    "criteria": "Lively, concrete, no exaggeration.",
                    "writers": ["openrouter/anthropic/claude-3.5-sonnet", "default"],
                    "checkers": ["default"],
                    "strategy": "merge",
                }
            ]
        },
    )

    prompt: Annotated[str, Field(min_length=1, max_length=200_000)]
    criteria: Annotated[str, Field(max_length=20_000)] = ""
    writers: Annotated[ModelNames, Field(min_length=1)] | None = None
    checkers: ModelNames | None = None
    strategy: str = Field("best", pattern="^(best|merge)$")
    max_revisions: Annotated[int, Field(ge=0, le=5)] | None = None
    pass_score: Annotated[float, Field(ge=0, le=10)] | None = None
    max_tokens: Annotated[int, Field(ge=1, le=1_000_000)] | None = None

    def assignment(self, settings: Settings) -> Assignment:
        """Return the assignment, with the settings' defaults for what is left out."""
        defaults = {
            "writers": settings.writer_models,
            "checkers": settings.checker_models,
            "max_revisions": settings.writer_max_revisions,
            "pass_score": settings.writer_pass_score,
        }
        return Assignment.model_validate(defaults | self.model_dump(exclude_none=True))


class WritingJobs(BaseModel):
    """A tenant's jobs, newest first."""

    object: str = "list"
    data: list[Job]
    has_more: bool


class WritingRoutes:
    """The routes of writing jobs.

    Parameters
    ----------
    store
        Where the jobs are.
    runner
        Works on them.
    settings
        The defaults of what a request leaves out.
    """

    def __init__(self, store: JobStore, runner: Runner, settings: Settings) -> None:
        self._store, self._runner, self._settings = store, runner, settings

    async def create(self, request: Request, asked: WritingRequest, response: Response, wait: Wait = 0) -> Job:
        """Start a job, and wait for it as long as `wait` says: 200 if it ends in this time, else 202."""
        principal = context_of(request.scope).principal
        payer = Payer(
            key_id=principal.key_id,
            budget_daily=principal.budget_daily,
            budget_monthly=principal.budget_monthly,
            tokens_per_minute=principal.tokens_per_minute,
            models=None if principal.models is None else tuple(sorted(principal.models)),
        )
        job = new_job(principal.tenant, asked.assignment(self._settings), time.time(), payer)
        await self._store.create(job)
        self._runner.wake()
        job = await self._ended(request, job, wait)
        response.headers["location"] = PATH.format(job_id=job.id)
        response.status_code = 200 if has_ended(job) else 202
        return job

    async def list(
        self, request: Request, limit: Annotated[int, Query(ge=1, le=100)] = 20, after: AfterJob = ""
    ) -> WritingJobs:
        """List the tenant's jobs."""
        found = await self._store.list(context_of(request.scope).tenant, limit + 1, after)
        return WritingJobs(data=found[:limit], has_more=len(found) > limit)

    async def get(self, request: Request, job_id: str, wait: Wait = 0) -> Job:
        """Return a job as it is now, or wait until it ends."""
        return await self._ended(request, await self._known(request, job_id), wait)

    async def cancel(self, request: Request, job_id: str) -> Job:
        """Stop a job at once and keep its texts."""
        for _ in range(CANCEL_ATTEMPTS):
            job = await self._known(request, job_id)
            if has_ended(job):
                return job
            cancelled = job.changed(time.time(), status="cancelled")
            if await self._store.replace(cancelled):
                return cancelled
        raise ApiError(409, "The job makes progress faster than it can be cancelled. Try again.", code="job_busy")

    async def delete(self, request: Request, job_id: str) -> None:
        """Delete a job; the replica that works on it stops."""
        await self._known(request, job_id)
        await self._store.delete(context_of(request.scope).tenant, job_id)

    async def _known(self, request: Request, job_id: str) -> Job:
        job = await self._store.get(context_of(request.scope).tenant, job_id)
        if job is None:
            raise ApiError(404, f"There is no writing job {job_id!r}.", code="job_not_found", param="job_id")
        return job

    async def _ended(self, request: Request, job: Job, wait: int) -> Job:
        deadline = time.monotonic() + wait
        # Whoever left would hold a place among the requests in flight for as long as it wanted to wait.
        while not has_ended(job) and time.monotonic() < deadline and not await request.is_disconnected():
            await asyncio.sleep(POLL_SECONDS)
            job = await self._known(request, job.id)
        return job


def writers_router(store: JobStore, runner: Runner, settings: Settings) -> APIRouter:
    """Give the routes of writing jobs."""
    routes = WritingRoutes(store, runner, settings)
    router = APIRouter(tags=["writers"])
    add = router.add_api_route
    add(ROOT, routes.create, methods=["POST"], status_code=202, summary="Have several models write one text")
    add(ROOT, routes.list, methods=["GET"], summary="List writing jobs, newest first")
    add(PATH, routes.get, methods=["GET"], summary="Get a writing job with every draft and score")
    add(PATH + "/cancel", routes.cancel, methods=["POST"], summary="Cancel a writing job; its texts stay")
    add(PATH, routes.delete, methods=["DELETE"], status_code=204, summary="Delete a writing job and its texts")
    return router
