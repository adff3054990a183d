"""A writing job and all that came of it: the request, every draft, every score, and the result.

A job is an immutable value. What happens to it gives a new value with the next version, and a store takes that only in
place of the version before it: of two replicas that work on one job, one learns that it has lost.
"""

import secrets
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Status = Literal["queued", "running", "done", "failed", "cancelled"]

ENDED: frozenset[Status] = frozenset({"done", "failed", "cancelled"})

MAX_MODELS = 8
"""Drafts times checkers times rounds is what a job costs; more of each adds little to a text."""

ModelNames = Annotated[tuple[Annotated[str, Field(min_length=1, max_length=256)], ...], Field(max_length=MAX_MODELS)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Assignment(_Frozen):
    """What to write, by which models, and when it is good enough."""

    prompt: Annotated[str, Field(min_length=1, max_length=200_000)]
    """What to write, in the client's words."""
    criteria: Annotated[str, Field(max_length=20_000)] = ""
    """What checkers look at; empty: whether the text does what the prompt asks, correctly and clearly."""
    writers: Annotated[ModelNames, Field(min_length=1)]
    """Models that draft, under their names for a chat; one may stand here twice."""
    checkers: ModelNames
    """Models that score; empty: nobody does, and the first draft is the best."""
    strategy: Literal["best", "merge"] = "best"
    """Whether the result is the best draft, or one text merged from the two best."""
    max_revisions: Annotated[int, Field(ge=0, le=5)] = 1
    """Times that drafts below `pass_score` are revised."""
    pass_score: Annotated[float, Field(ge=0, le=10)] = 8.0
    """Mean score, of 10, from which a draft is not revised any more."""
    max_tokens: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """Bound of each model's answer; empty: the model's own."""


class Score(_Frozen):
    """One checker's review of a draft; `score` is null if it gave none."""

    checker: str
    score: float | None
    """0 to 10."""
    remarks: str


class Draft(_Frozen):
    """One writer's text; if the writer failed, `text` is null and `error` says why."""

    id: str
    writer: int
    """Position among the assignment's writers."""
    model: str
    round: int
    """0 for a first draft, n for the n-th revision."""
    text: str | None
    error: str | None = None
    scores: tuple[Score, ...] = ()

    @property
    def mean(self) -> float | None:
        """Mean of the scores that were given, None without any."""
        given = [score.score for score in self.scores if score.score is not None]
        return sum(given) / len(given) if given else None


class Result(_Frozen):
    """The job's result."""

    text: str
    score: float | None
    """Mean score of the best draft."""
    drafts: tuple[str, ...]
    """Ids of the drafts that it comes from, the best first."""


class Payer(_Frozen):
    """The key that started a job, with its budgets at that time."""

    key_id: str
    budget_daily: int | None
    budget_monthly: int | None
    tokens_per_minute: int | None = None
    models: tuple[str, ...] | None = None


class Job(_Frozen):
    """A writing job."""

    id: str
    tenant: str
    payer: Annotated[Payer | None, Field(exclude=True)] = None
    """Who pays for the models; None for a job of a version that did not keep it. No client is told."""
    assignment: Assignment
    status: Status = "queued"
    version: int = 1
    drafts: tuple[Draft, ...] = ()
    result: Result | None = None
    error: str | None = None
    attempts: int = 0
    """Times that a replica has taken it up."""
    created: float
    """Seconds since 1970, as `updated`."""
    updated: float

    @property
    def round(self) -> int:
        """The round that is being worked on."""
        return max((draft.round for draft in self.drafts), default=0)

    def has(self, number: int, writer: int) -> bool:
        """Tell whether a writer has had its turn in a round."""
        return any((draft.round, draft.writer) == (number, writer) for draft in self.drafts)

    def changed(self, now: float, **fields: Any) -> "Job":
        """Return the job as it is after a change: the next version."""
        return self.model_copy(update={**fields, "version": self.version + 1, "updated": now})

    def with_draft(self, draft: Draft, now: float) -> "Job":
        """Return the job with a draft that is new, or in place of the one of the same id."""
        known = any(each.id == draft.id for each in self.drafts)
        drafts = tuple(draft if each.id == draft.id else each for each in self.drafts)
        return self.changed(now, drafts=drafts if known else (*self.drafts, draft))

    def ranked(self) -> list[Draft]:
        """Return the drafts that have a text, the best first; of equals the later round, then the earlier writer."""
        written = [draft for draft in self.drafts if draft.text is not None]
        return sorted(written, key=lambda draft: (-(draft.mean or 0.0), -draft.round, draft.writer))


def new_job(tenant: str, assignment: Assignment, now: float, payer: Payer | None = None) -> Job:
    """Return a job that waits to be taken up."""
    job_id = f"write_{secrets.token_hex(12)}"
    return Job(id=job_id, tenant=tenant, payer=payer, assignment=assignment, created=now, updated=now)
