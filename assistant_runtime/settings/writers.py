"""Several writers at once: who drafts, who scores, and when a draft is good enough."""

from pydantic import Field

from assistant_runtime.settings.values import Group, StringList


class WritersGroup(Group):
    """Several writers at once."""

    multi_writer_enabled: bool = Field(
        default=False,
        description="Serve /v1/writers: several models draft at once, others score, the best is returned.",
    )
    writer_models: StringList = Field(
        ("default",),
        description="Models that draft if a request names none, comma-separated, named as for a chat.",
    )
    checker_models: StringList = Field(
        ("default",), description="Models that score drafts if a request names none, comma-separated."
    )
    writer_max_revisions: int = Field(1, ge=0, le=5, description="How often drafts below the pass score are revised.")
    writer_pass_score: float = Field(
        8.0, ge=0, le=10, description="Mean score, out of 10, from which a draft is not revised any more."
    )
    writer_jobs_at_once: int = Field(4, ge=1, le=64, description="Jobs that one replica works on at the same time.")
