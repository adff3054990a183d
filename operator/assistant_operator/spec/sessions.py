"""Sessions in the spec: conversations that the assistant remembers."""

from typing import Annotated

from pydantic import Field

from assistant_operator.spec.base import Model


class Sessions(Model):
    """Sessions: conversations that the assistant remembers, in MongoDB, else in PostgreSQL."""

    history_messages: Annotated[int, Field(ge=1, le=1000)] = 50
    """Most recent messages of a session that a chat sends to the model."""
    max_messages: Annotated[int, Field(ge=2, le=1_000_000)] = 10_000
    """Messages that a session may hold; more are refused."""
    max_sessions: Annotated[int, Field(ge=1, le=10_000_000)] = 10_000
    """Sessions that one client may have; more are refused."""
