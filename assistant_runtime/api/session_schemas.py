"""The messages of the sessions API, with the examples that /docs shows."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from assistant_runtime.api.schemas import ChatMessage

Title = Annotated[str, Field(max_length=256, pattern=r"^[^\x00-\x1f]*$")]
Metadata = Annotated[
    dict[
        Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f]+$")],
        Annotated[str, Field(max_length=512)],
    ],
    Field(max_length=16),
]
"""OpenAI's bounds: 16 pairs, names of 64 characters, values of 512."""

IdempotencyKey = Annotated[str, Field(pattern=r"^[\x21-\x7e]{1,128}$")]


class NewSession(BaseModel):
    """A session's title and metadata."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"title": "Holiday plans", "metadata": {"team": "blue"}}]}
    )

    title: Title = ""
    metadata: Metadata = {}


class SessionChange(BaseModel):
    """The fields to set; absent fields stay unchanged."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"title": "Summer plans"}]})

    title: Title | None = None
    metadata: Metadata | None = None


class NewMessages(BaseModel):
    """Messages to append, all or none."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"messages": [{"role": "user", "content": "I like trains."}], "expected_version": 3}]
        },
    )

    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=256)]
    expected_version: Annotated[int | None, Field(ge=0, le=2**31 - 1)] = None
    """The session's version that they follow; absent: any version."""


class SessionAnswer(BaseModel):
    """A session."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "sess_4bf92f3577b34da6a3ce929d0e0e4736",
                    "object": "session",
                    "title": "Holiday plans",
                    "metadata": {"team": "blue"},
                    "version": 2,
                    "message_count": 4,
                    "created": 1795445400,
                    "updated": 1795445460,
                }
            ]
        }
    )

    id: str
    object: Literal["session"] = "session"
    title: str
    metadata: dict[str, str]
    version: int
    message_count: int
    created: int
    updated: int


class SessionList(BaseModel):
    """Sessions, newest first; `next` is the `before` of the next page, the last id its `after`."""

    object: Literal["list"] = "list"
    data: list[SessionAnswer]
    has_more: bool
    next: str | None


class SessionMessage(BaseModel):
    """A message at its position; `incomplete` if the answer broke off."""

    object: Literal["session.message"] = "session.message"
    sequence: int
    version: int
    key: str
    created: int
    incomplete: bool
    message: dict[str, Any]


class SessionMessages(BaseModel):
    """Messages in order; `next` is the `after` of the next page."""

    object: Literal["list"] = "list"
    data: list[SessionMessage]
    next: int | None


class AppendedMessages(BaseModel):
    """The appended messages; `replayed` if an earlier append had the same key."""

    object: Literal["session.append"] = "session.append"
    version: int
    replayed: bool
    data: list[SessionMessage]


class Deleted(BaseModel):
    """The session was deleted."""

    id: str
    object: Literal["session.deleted"] = "session.deleted"
    deleted: Literal[True] = True
