"""Retention in the spec: how long what the assistant keeps is kept."""

from typing import Annotated

from pydantic import Field

from assistant_operator.spec.base import Model

Days = Annotated[int, Field(ge=0, le=36_500)]


class Retention(Model):
    """Days after which records are deleted in the background; 0: until somebody deletes them."""

    sessions_days: Days = 365
    """Days that a session is kept after its last change."""
    responses_days: Days = 30
    """Days that stored responses are kept after the last of a conversation."""
    audit_days: Days = 400
    """Days that audit records are kept in MongoDB or PostgreSQL."""
    usage_days: Days = 400
    """Days that usage is kept, by key, model and day."""
    jobs_days: Days = 30
    """Days that a writing job is kept after its end."""
