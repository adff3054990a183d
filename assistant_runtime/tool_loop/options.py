"""What a client may ask of the assistant beyond the model: the request's `assistant` field."""

import re
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from assistant_runtime.settings.agents import AgentName

FIELD = "assistant"
"""The one field that is added to OpenAI's requests and answers."""

SESSION_ID = re.compile(r"^[A-Za-z0-9_-]{1,64}$")


class AssistantOptions(BaseModel):
    """The request's `assistant` field; it never reaches a provider."""

    model_config = ConfigDict(extra="forbid", strict=True)

    agent: AgentName | None = Field(None, description="Agent that answers, like the model `agent/NAME`.")
    tools: list[Annotated[str, Field(min_length=1, max_length=64)]] | None = Field(
        None, max_length=64, description="The runtime's tools to offer to the model; absent: all; empty: none."
    )
    session: Annotated[str, Field(pattern=SESSION_ID.pattern)] | None = Field(
        None, description="Session of /v1/sessions: its messages come first, and it stores this turn."
    )
    cache: bool | None = Field(
        None,
        description="Whether the answer may come from the response cache and be stored there. Absent: yes, unless the "
        "request asks for variety with `temperature`, `top_p` or `n`.",
    )
