"""The API's messages, as far as the runtime reads them, with the examples that /docs shows.

Fields that only the provider reads are not listed: they are passed on unchanged, so that a new one works on the day
the provider has it.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from assistant_runtime.tool_loop.options import AssistantOptions

Role = Literal["system", "developer", "user", "assistant", "tool", "function"]


class ChatMessage(BaseModel):
    """One message of a conversation."""

    model_config = ConfigDict(extra="allow", strict=True)

    role: Role
    content: str | list[dict[str, Any]] | None = None


class ChatRequest(BaseModel):
    """A chat request; fields that are not listed are passed to the provider unchanged."""

    model_config = ConfigDict(
        extra="allow",
        strict=True,
        json_schema_extra={
            "examples": [
                {"messages": [{"role": "user", "content": "What is the capital of France?"}]},
                {
                    "model": "default",
                    "messages": [
                        {"role": "system", "content": "Answer in one sentence."},
                        {"role": "user", "content": "Why is the sky blue?"},
                    ],
                    "temperature": 0.2,
                    "stream": True,
                },
            ]
        },
    )

    model: str | None = Field(
        None,
        max_length=256,
        description="Empty or `default`: the default model. Otherwise a name in /v1/models, or `<provider>/<model>`.",
    )
    messages: list[ChatMessage] = Field(min_length=1)
    stream: bool | None = Field(None, description="Answer as server-sent events.")
    stream_options: dict[str, Any] | None = Field(
        None, description="`include_usage`: send the token counts at the end."
    )
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, ge=0, le=1)
    n: int | None = Field(None, ge=1, le=128)
    max_tokens: int | None = Field(None, ge=-1, description="0 and -1 mean no limit, as without the field.")
    max_completion_tokens: int | None = Field(None, ge=-1, description="The newer name of `max_tokens`.")
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    top_logprobs: int | None = Field(None, ge=0, le=20)
    stop: str | list[str] | None = None
    tools: list[dict[str, Any]] | None = Field(None, description="The client's tools; the client gets their calls.")
    response_format: dict[str, Any] | None = None
    assistant: AssistantOptions | None = Field(
        None, description="Options for the runtime itself; never sent to a provider."
    )


class ChatCompletion(BaseModel):
    """An answer, as the provider sent it."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [
                {
                    "id": "chatcmpl-1",
                    "object": "chat.completion",
                    "created": 1767225600,
                    "model": "anthropic/claude-3.5-sonnet",
                    "choices": [
                        {
                            "index": 0,
                            "message": {"role": "assistant", "content": "Paris."},
                            "finish_reason": "stop",
                        }
                    ],
                    "usage": {"prompt_tokens": 14, "completion_tokens": 2, "total_tokens": 16},
                }
            ]
        },
    )

    id: str
    object: str
    created: int
    model: str
    choices: list[dict[str, Any]]
    usage: dict[str, Any] | None = None
    assistant: dict[str, Any] | None = Field(
        None,
        description="`steps` that ran, numbered `sources`, `agent` and `notes`, if the runtime added any.",
    )


Tokens = Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]


class CompletionOptions(BaseModel):
    """Options for the runtime itself; never sent to a provider."""

    model_config = ConfigDict(extra="forbid", strict=True)

    cache: bool | None = Field(None, description="As in a chat.")


class CompletionRequest(BaseModel):
    """A text to complete; fields that are not listed are passed to the provider unchanged."""

    model_config = ConfigDict(
        extra="allow",
        strict=True,
        json_schema_extra={
            "examples": [
                {"prompt": "The capital of France is", "max_tokens": 8},
                {
                    "model": "qwen2.5-coder",
                    "prompt": "def add(a, b):\n    return ",
                    "suffix": "\n\nprint(add(1, 2))",
                    "max_tokens": 64,
                    "stream": True,
                },
            ]
        },
    )

    model: str | None = Field(None, max_length=256, description="As in a chat, without agents.")
    prompt: str | Annotated[list[str], Field(min_length=1)] | Tokens | Annotated[list[Tokens], Field(min_length=1)]
    suffix: str | None = Field(None, description="The text after the completion.")
    echo: bool | None = Field(None, description="Return the prompt in front of its completion.")
    stream: bool | None = Field(None, description="Answer as server-sent events.")
    stream_options: dict[str, Any] | None = Field(
        None, description="`include_usage`: send the token counts at the end."
    )
    max_tokens: int | None = Field(None, ge=-1, description="Many providers use 16 without the field.")
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, ge=0, le=1)
    n: int | None = Field(None, ge=1, le=128)
    best_of: int | None = Field(None, ge=1, le=128)
    logprobs: int | None = Field(None, ge=0)
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    stop: str | list[str] | None = None
    assistant: CompletionOptions | None = Field(None, description="Never sent to a provider.")


class TextCompletion(BaseModel):
    """Completed texts, as the provider sent them."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [
                {
                    "id": "cmpl-1",
                    "object": "text_completion",
                    "created": 1767225600,
                    "model": "qwen2.5-coder",
                    "choices": [{"index": 0, "text": " Paris.", "logprobs": None, "finish_reason": "stop"}],
                    "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7},
                }
            ]
        },
    )

    id: str
    object: str
    created: int
    model: str
    choices: list[dict[str, Any]]
    usage: dict[str, Any] | None = None


Text = Annotated[str, Field(min_length=1)]


class EmbeddingsRequest(BaseModel):
    """A request for embeddings; fields that are not listed are passed to the provider unchanged."""

    model_config = ConfigDict(
        extra="allow",
        strict=True,
        json_schema_extra={
            "examples": [{"model": "text-embedding-3-small", "input": ["What is the capital of France?", "Paris."]}]
        },
    )

    model: str | None = Field(
        None,
        max_length=256,
        description="Empty or `default`: EMBEDDING_MODEL. Otherwise `<provider>/<model>`, or the preferred provider's.",
    )
    input: Text | Annotated[list[Text], Field(min_length=1)] | Tokens | Annotated[list[Tokens], Field(min_length=1)]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: int | None = Field(None, ge=1)
    user: str | None = None


class EmbeddingsAnswer(BaseModel):
    """A vector for each text, as the provider sent them."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [
                {
                    "object": "list",
                    "data": [{"object": "embedding", "index": 0, "embedding": [0.0023, -0.0093]}],
                    "model": "text-embedding-3-small",
                    "usage": {"prompt_tokens": 8, "total_tokens": 8},
                }
            ]
        },
    )

    object: Literal["list"]
    data: list[dict[str, Any]]
    model: str
    usage: dict[str, Any] | None = None


class ResponseAnswer(BaseModel):
    """A response, in OpenAI's form."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [
                {
                    "id": "resp_1",
                    "object": "response",
                    "created_at": 1767225600,
                    "status": "completed",
                    "model": "anthropic/claude-3.5-sonnet",
                    "output": [
                        {
                            "id": "msg_1",
                            "type": "message",
                            "role": "assistant",
                            "status": "completed",
                            "content": [{"type": "output_text", "text": "Paris.", "annotations": []}],
                        }
                    ],
                }
            ]
        },
    )

    id: str
    object: Literal["response"]
    created_at: int
    status: Literal["completed", "incomplete", "failed", "in_progress"]
    model: str
    output: list[dict[str, Any]]
    usage: dict[str, Any] | None = None


class Model(BaseModel):
    """A model that a request can name."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str


class ModelList(BaseModel):
    """Every model of every provider, under the name a client uses."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "object": "list",
                    "data": [
                        {
                            "id": "anthropic/claude-3.5-sonnet",
                            "object": "model",
                            "created": 1767225600,
                            "owned_by": "openai_compatible",
                        }
                    ],
                }
            ]
        }
    )

    object: Literal["list"] = "list"
    data: list[Model]


class Health(BaseModel):
    """The process is alive."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"status": "alive"}]})

    status: Literal["alive"] = "alive"


class Readiness(BaseModel):
    """Whether requests can be served, dependency by dependency."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "status": "degraded",
                    "checks": {
                        "provider": {
                            "status": "up",
                            "required": True,
                            "degraded": False,
                            "providers": {"openai_compatible": {"status": "up"}},
                        },
                        "redis": {"status": "down", "required": False, "detail": "Redis can't be reached"},
                    },
                    "degraded": ["redis"],
                }
            ]
        }
    )

    status: Literal["ready", "degraded", "not_ready", "draining"]
    checks: dict[str, dict[str, Any]]
    degraded: list[str]


class ErrorDetail(BaseModel):
    """What went wrong."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorAnswer(BaseModel):
    """OpenAI's error shape."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "error": {
                        "message": "temperature: Input should be less than or equal to 2",
                        "type": "invalid_request_error",
                        "param": "temperature",
                        "code": "invalid_value",
                    }
                }
            ]
        }
    )

    error: ErrorDetail
