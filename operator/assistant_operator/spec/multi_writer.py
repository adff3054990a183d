"""Several writers at once, in the spec."""

from typing import Annotated

from pydantic import Field

from assistant_operator.spec.base import Model

ModelName = Annotated[str, Field(min_length=1, max_length=256, pattern="^[^,\\s]+$")]
ModelNames = Annotated[list[ModelName], Field(min_length=1, max_length=8)]


class MultiWriter(Model):
    """Several writers at once: models draft, others score, and the best text is returned by /v1/writers."""

    enabled: bool = False
    """Whether /v1/writers is served. Jobs are kept in MongoDB where there is one."""
    writers: ModelNames = ["default"]
    """Models that draft where a request names none, under their names for a chat."""
    checkers: ModelNames = ["default"]
    """Models that score drafts where a request names none."""
    max_revisions: Annotated[int, Field(ge=0, le=5)] = 1
    """Times that drafts below the pass score are revised."""
    pass_score: Annotated[int, Field(ge=0, le=10)] = 8
    """Mean score, of 10, from which a draft is not revised any more."""
    max_concurrent_jobs: Annotated[int, Field(ge=1, le=64)] = 4
    """Jobs that one runtime pod works on at the same time."""
