"""The Responses API's request, as a chat request."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from assistant_runtime.errors import ApiError
from assistant_runtime.tool_loop.options import FIELD, AssistantOptions

WEB_SEARCH = frozenset({"web_search", "web_search_2025_08_26", "web_search_preview", "web_search_preview_2025_03_11"})
"""OpenAI's own search tool in its versions: here it is the runtime's `web_search`."""

PASSED_ON = ("temperature", "top_p", "parallel_tool_calls", "user", "seed", "service_tier")
"""Fields that a chat request has by the same name."""


class TextOptions(BaseModel):
    """How the text is to be."""

    model_config = ConfigDict(extra="allow", strict=True)

    format: dict[str, Any] | None = None


class ReasoningOptions(BaseModel):
    """How much a model is to think."""

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

    model: str | None = Field(None, max_length=256, description="As in a chat; `agent/NAME` asks an agent.")
    input: str | list[dict[str, Any]] = Field(description="Text, or OpenAI's input items.")
    instructions: str | None = Field(None, description="System message of this response alone.")
    previous_response_id: str | None = Field(None, max_length=128, description="The stored response that this follows.")
    store: bool | None = Field(None, description="Keep the conversation, so that another response can follow.")
    stream: bool | None = Field(None, description="Answer as server-sent events.")
    tools: list[dict[str, Any]] | None = Field(None, description="Functions of the client, and `web_search`.")
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, ge=0, le=1)
    max_output_tokens: int | None = Field(None, ge=1)
    metadata: dict[str, str] | None = Field(None, max_length=16)
    text: TextOptions | None = None
    reasoning: ReasoningOptions | None = None
    background: Literal[False] | None = Field(None, description="Only false: answers are given at once.")
    conversation: None = Field(None, description="Not offered: `previous_response_id` or `assistant.session` goes on.")
    prompt: None = Field(None, description="Not offered: prompts are not stored; an agent has one.")
    assistant: AssistantOptions | None = Field(None, description="As in a chat.")


def chat_payload(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Write a validated request as a chat request.

    Raises
    ------
    ApiError
        400: an item or a tool that the runtime does not know.
    """
    payload: dict[str, Any] = {name: asked[name] for name in PASSED_ON if asked.get(name) is not None}
    payload["messages"] = _messages(asked)
    if model := asked.get("model"):
        payload["model"] = model
    if tokens := asked.get("max_output_tokens"):
        payload["max_tokens"] = tokens
    if effort := (asked.get("reasoning") or {}).get("effort"):
        payload["reasoning_effort"] = effort
    if text_format := (asked.get("text") or {}).get("format"):
        payload["response_format"] = _response_format(text_format)
    if asked.get("stream"):
        payload |= {"stream": True, "stream_options": {"include_usage": True}}
    return payload | _tools(asked)


def _messages(asked: Mapping[str, Any]) -> list[dict[str, Any]]:
    instructions, given = asked.get("instructions"), asked["input"]
    messages = [{"role": "system", "content": instructions}] if instructions else []
    if isinstance(given, str):
        return [*messages, {"role": "user", "content": given}]
    if not given:
        raise _bad("input", "give at least one item")
    for place, item in enumerate(given):
        kind = _text(item, "type", f"input[{place}]") if item.get("type") else "message"
        if kind == "reasoning":
            # Models think between calls too, which stay calls of one message all the same.
            continue
        if kind == "function_call":
            _add_call(messages, _call(item, f"input[{place}]"))
            continue
        reader = _ITEMS.get(kind)
        if reader is None:
            known = ", ".join(sorted([*_ITEMS, "function_call", "reasoning"]))
            raise _bad(f"input[{place}].type", f"items of the type {kind!r} are not taken; there are: {known}")
        messages.append(reader(item, f"input[{place}]"))
    return messages


def _add_call(messages: list[dict[str, Any]], call: dict[str, Any]) -> None:
    """Add a call to what the model said just before it: both were one answer, and some models take no other order."""
    if not messages or messages[-1]["role"] != "assistant":
        messages.append({"role": "assistant", "content": None})
    messages[-1].setdefault("tool_calls", []).append(call)


def _call(item: Mapping[str, Any], where: str) -> dict[str, Any]:
    function = {"name": _text(item, "name", where), "arguments": _text(item, "arguments", where)}
    return {"id": _text(item, "call_id", where), "type": "function", "function": function}


def _output(item: Mapping[str, Any], where: str) -> dict[str, Any]:
    return {
        "role": "tool",
        "tool_call_id": _text(item, "call_id", where),
        "content": _content(item.get("output"), f"{where}.output"),
    }


def _message(item: Mapping[str, Any], where: str) -> dict[str, Any]:
    role = _text(item, "role", where)
    if role not in {"user", "assistant", "system", "developer"}:
        raise _bad(f"{where}.role", "must be user, assistant, system or developer")
    # Few providers know OpenAI's newer name for the system's role.
    role = "system" if role == "developer" else role
    return {"role": role, "content": _content(item.get("content"), f"{where}.content")}


_ITEMS: dict[str, Callable[[Mapping[str, Any], str], dict[str, Any]]] = {
    "message": _message,
    "function_call_output": _output,
}


def _content(content: Any, where: str) -> Any:
    """Give a message's content: text where it is nothing else, because some providers take nothing else."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise _bad(where, "must be text or a list of parts")
    parts = [_part(part, f"{where}[{place}]") for place, part in enumerate(content)]
    if all(part["type"] == "text" for part in parts):
        return "\n".join(part["text"] for part in parts)
    return parts


def _part(part: Any, where: str) -> dict[str, Any]:
    if not isinstance(part, dict):
        raise _bad(where, "must be an object")
    kind = _text(part, "type", where)
    if kind in {"input_text", "output_text", "text"}:
        return {"type": "text", "text": _text(part, "text", where)}
    if kind == "refusal":
        return {"type": "text", "text": _text(part, "refusal", where)}
    if kind == "input_image":
        image = {"url": _text(part, "image_url", where)}
        return {"type": "image_url", "image_url": image | ({"detail": part["detail"]} if part.get("detail") else {})}
    raise _bad(f"{where}.type", f"parts of the type {kind!r} are not taken; there are: input_text, input_image")


def _response_format(text_format: Mapping[str, Any]) -> dict[str, Any]:
    if text_format.get("type") != "json_schema":
        return dict(text_format)
    return {"type": "json_schema", "json_schema": {key: text_format[key] for key in text_format if key != "type"}}


def _tools(asked: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    options = dict(asked.get(FIELD) or {})
    functions, searches = _functions(asked.get("tools") or ())
    if functions:
        found["tools"] = functions
    if searches:
        options.setdefault("tools", ["web_search"])
    if options:
        found[FIELD] = options
    choice = asked.get("tool_choice")
    if choice is not None and (choice != "auto" or functions):
        found["tool_choice"] = _choice(choice)
    return found


def _functions(tools: Sequence[Mapping[str, Any]]) -> tuple[list[dict[str, Any]], bool]:
    functions = []
    searches = False
    for place, tool in enumerate(tools):
        kind = _text(tool, "type", f"tools[{place}]")
        if kind in WEB_SEARCH:
            searches = True
        elif kind == "function":
            _text(tool, "name", f"tools[{place}]")
            functions.append({"type": "function", "function": {key: tool[key] for key in tool if key != "type"}})
        else:
            raise _bad(f"tools[{place}].type", f"{kind!r} is not offered; there are: function, web_search")
    return functions, searches


def _choice(choice: Any) -> Any:
    if isinstance(choice, str):
        if choice not in {"auto", "none", "required"}:
            raise _bad("tool_choice", "must be auto, none, required, or an object that names a tool")
        return choice
    name = "web_search" if _text(choice, "type", "tool_choice") in WEB_SEARCH else choice.get("name")
    if not isinstance(name, str) or not name:
        raise _bad("tool_choice.name", "must name a tool")
    return {"type": "function", "function": {"name": name}}


def _text(item: Mapping[str, Any], name: str, where: str) -> str:
    value = item.get(name)
    if not isinstance(value, str):
        raise _bad(f"{where}.{name}", "must be text")
    return value


def _bad(param: str, message: str) -> ApiError:
    return ApiError(400, f"{param}: {message}", code="invalid_value", param=param)
