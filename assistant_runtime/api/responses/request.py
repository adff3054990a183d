"""The Responses API's request, as a chat request."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from assistant_runtime.api.responses.items import chat_messages
from assistant_runtime.api.responses.logprobs import wants_logprobs
from assistant_runtime.api.responses.tools import ClientTools, tool_choice
from assistant_runtime.tool_loop.options import FIELD, AssistantOptions

PASSED_ON = (
    *("temperature", "top_p", "presence_penalty", "frequency_penalty", "parallel_tool_calls", "user", "seed"),
    "service_tier",
)
"""Fields that a chat request has by the same name."""


class TextOptions(BaseModel):
    """The form of the text."""

    model_config = ConfigDict(extra="allow", strict=True)

    format: dict[str, Any] | None = None


class ReasoningOptions(BaseModel):
    """How much the model thinks."""

    model_config = ConfigDict(extra="allow", strict=True)

    effort: str | None = Field(None, max_length=32)


class ResponsesRequest(BaseModel):
    """A request for a response; fields that are not listed have no effect."""

    model_config = ConfigDict(
        extra="allow",
        strict=True,
        json_schema_extra={
            "examples": [
                {"input": "What is the capital of France?"},
                {
                    "model": "default",
                    "instructions": "Answer in one sentence.",
                    "input": [{"role": "user", "content": [{"type": "input_text", "text": "Why is the sky blue?"}]}],
                    "stream": True,
                    "store": False,
                },
            ]
        },
    )

    model: str | None = Field(None, max_length=256, description="As in a chat; `agent/NAME` names an agent.")
    input: str | list[dict[str, Any]] = Field(description="Text, or OpenAI's input items.")
    instructions: str | None = Field(None, description="System message of this response alone.")
    previous_response_id: str | None = Field(None, max_length=128, description="The stored response that this follows.")
    store: bool | None = Field(None, description="Store the response, so that another one can follow it.")
    stream: bool | None = Field(None, description="Answer as server-sent events.")
    tools: list[dict[str, Any]] | None = Field(
        None, description="Functions, custom tools and namespaces of the client, and `web_search`."
    )
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, ge=0, le=1)
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    top_logprobs: int | None = Field(None, ge=0, le=20)
    include: list[str] | None = Field(None, description="`message.output_text.logprobs`; others have no effect.")
    service_tier: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    max_output_tokens: int | None = Field(None, ge=-1, description="0 and -1 mean no limit.")
    metadata: dict[str, str] | None = Field(None, max_length=16)
    text: TextOptions | None = None
    reasoning: ReasoningOptions | None = None
    background: Literal[False] | None = Field(None, description="Only false: responses run in the foreground.")
    conversation: None = Field(None, description="Not offered; use `previous_response_id` or `assistant.session`.")
    prompt: None = Field(None, description="Not offered; use an agent, which has a prompt.")
    assistant: AssistantOptions | None = Field(None, description="As in a chat.")


def chat_payload(asked: Mapping[str, Any], tools: ClientTools) -> dict[str, Any]:
    """Write a validated request as a chat request.

    Parameters
    ----------
    asked
        The request's JSON.
    tools
        What its tools become; the choice among them may leave some out.

    Raises
    ------
    ApiError
        400: an item or a choice that the runtime does not know.
    """
    payload: dict[str, Any] = {name: asked[name] for name in PASSED_ON if asked.get(name) is not None}
    payload["messages"] = chat_messages(asked, tools)
    if model := asked.get("model"):
        payload["model"] = model
    if (tokens := asked.get("max_output_tokens") or 0) > 0:
        payload["max_tokens"] = tokens
    if effort := (asked.get("reasoning") or {}).get("effort"):
        payload["reasoning_effort"] = effort
    if wants_logprobs(asked):
        payload |= {"logprobs": True, "top_logprobs": asked.get("top_logprobs") or 0}
    if text_format := (asked.get("text") or {}).get("format"):
        payload["response_format"] = _response_format(text_format)
    if asked.get("stream"):
        payload |= {"stream": True, "stream_options": {"include_usage": True}}
    return payload | _tool_fields(asked, tools)


def _response_format(text_format: Mapping[str, Any]) -> dict[str, Any]:
    if text_format.get("type") != "json_schema":
        return dict(text_format)
    return {"type": "json_schema", "json_schema": {key: text_format[key] for key in text_format if key != "type"}}


def _tool_fields(asked: Mapping[str, Any], tools: ClientTools) -> dict[str, Any]:
    given = asked.get("tool_choice")
    choice = tool_choice(given, tools) if given is not None else None
    found: dict[str, Any] = {"tools": tools.functions} if tools.functions else {}
    options = dict(asked.get(FIELD) or {})
    if tools.searches:
        options.setdefault("tools", ["web_search"])
    if options:
        found[FIELD] = options
    if choice is not None:
        found["tool_choice"] = choice
    return found
