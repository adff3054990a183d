"""Sessions: conversations that the runtime remembers."""

from pydantic import Field

from assistant_runtime.settings.values import Group


class SessionsGroup(Group):
    """Sessions."""

    session_history_messages: int = Field(
        50, ge=1, le=1000, description="Most recent messages of a session that a chat sends to the model."
    )
    session_max_messages: int = Field(
        10_000, ge=2, le=1_000_000, description="Messages that a session may hold; more are refused with 409."
    )
    sessions_per_tenant: int = Field(
        10_000, ge=1, le=10_000_000, description="Sessions that one tenant may have; more are refused with 409."
    )
