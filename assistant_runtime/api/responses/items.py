"""The Responses API's input items as messages of a chat."""

import mimetypes
from collections.abc import Callable, Mapping
from typing import Any

from assistant_runtime.api.responses.checks import bad, text_field
from assistant_runtime.api.responses.reasoning import fields_of
from assistant_runtime.api.responses.tools import ClientTools, call_arguments, chat_name
from assistant_runtime.providers.dialect.thoughts import is_thought, with_thoughts

HOSTED_ENDS = ("_call", "_call_output", "_approval_request", "_approval_response", "_list_tools", "_search_output")
"""How the types end of what OpenAI's own tools leave behind in a conversation."""


def chat_messages(asked: Mapping[str, Any], tools: ClientTools) -> list[dict[str, Any]]:
    """Write instructions and input as messages.

    Parameters
    ----------
    asked
        The request's JSON.
    tools
        Gets a note for each kind of item that is left out.

    Raises
    ------
    ApiError
        400, naming the item that is not taken.
    """
    instructions, given = asked.get("instructions"), asked["input"]
    messages = [{"role": "system", "content": instructions}] if instructions else []
    if isinstance(given, str):
        return [*messages, {"role": "user", "content": given}]
    if not given:
        raise bad("input", "give at least one item")
    for place, item in enumerate(given):
        _add(messages, item, f"input[{place}]", tools)
    left = [message for message in messages if not _is_bare(message)]
    if len(left) <= bool(instructions):
        raise bad("input", "give at least one message or tool result: what there is was left out")
    return left


def _add(messages: list[dict[str, Any]], item: Mapping[str, Any], where: str, tools: ClientTools) -> None:
    kind = text_field(item, "type", where) if item.get("type") else "message"
    if kind == "reasoning":
        _add_thoughts(messages, fields_of(item))
        return
    if reader := _CALLS.get(kind):
        _add_call(messages, reader(item, where))
    elif reader := _ITEMS.get(kind):
        _add_message(messages, reader(item, where))
    elif kind.endswith(HOSTED_ENDS):
        note = f"input: items of the type {kind} were left out: no chat has them"
        if note not in tools.notes:
            tools.notes.append(note)
    else:
        known = ", ".join(sorted([*_ITEMS, *_CALLS, "reasoning"]))
        raise bad(f"{where}.type", f"items of the type {kind!r} are not taken; there are: {known}")


def _add_message(messages: list[dict[str, Any]], message: dict[str, Any]) -> None:
    """Add a message; what a model thought just before it is a part of it."""
    if message["role"] == "assistant" and messages and _is_bare(messages[-1]):
        message = with_thoughts(message, messages.pop())
    messages.append(message)


def _add_thoughts(messages: list[dict[str, Any]], fields: dict[str, Any]) -> None:
    """Add thoughts to the answer that they are a part of: what follows, or the calls between which they came."""
    if not fields:
        return
    if messages and messages[-1]["role"] == "assistant":
        messages[-1] = with_thoughts(
            messages[-1],
            fields
            | {
                name: messages[-1][name] + value
                for name, value in fields.items()
                if isinstance(value, str | list) and type(messages[-1].get(name)) is type(value) and name != "content"
            },
        )
    else:
        messages.append({"role": "assistant", "content": None, **fields})


def _is_bare(message: Mapping[str, Any]) -> bool:
    """Whether a message has thoughts, and nothing that was said."""
    content = message.get("content")
    said = content is not None and not (isinstance(content, list) and all(map(is_thought, content)))
    return message["role"] == "assistant" and not said and not message.get("tool_calls")


def _add_call(messages: list[dict[str, Any]], call: dict[str, Any]) -> None:
    """Add a call to what the model said just before it: both were one answer, and some models take no other order."""
    if not messages or messages[-1]["role"] != "assistant":
        messages.append({"role": "assistant", "content": None})
    messages[-1].setdefault("tool_calls", []).append(call)


def _call(item: Mapping[str, Any], where: str) -> dict[str, Any]:
    return _function_call(item, where, text_field(item, "arguments", where))


def _custom_call(item: Mapping[str, Any], where: str) -> dict[str, Any]:
    return _function_call(item, where, call_arguments(text_field(item, "input", where)))


def _function_call(item: Mapping[str, Any], where: str, arguments: str) -> dict[str, Any]:
    name = chat_name(text_field(item, "name", where), str(item.get("namespace") or ""))
    function = {"name": name, "arguments": arguments}
    return {"id": text_field(item, "call_id", where), "type": "function", "function": function}


def _output(item: Mapping[str, Any], where: str) -> dict[str, Any]:
    return {
        "role": "tool",
        "tool_call_id": text_field(item, "call_id", where),
        "content": _content(item.get("output"), f"{where}.output"),
    }


def _message(item: Mapping[str, Any], where: str) -> dict[str, Any]:
    role = text_field(item, "role", where)
    if role not in {"user", "assistant", "system", "developer"}:
        raise bad(f"{where}.role", "must be user, assistant, system or developer")
    # Few providers know OpenAI's newer name for the system's role.
    role = "system" if role == "developer" else role
    return {"role": role, "content": _content(item.get("content"), f"{where}.content")}


_Reader = Callable[[Mapping[str, Any], str], dict[str, Any]]

_ITEMS: dict[str, _Reader] = {
    "message": _message,
    "function_call_output": _output,
    "custom_tool_call_output": _output,
}

_CALLS: dict[str, _Reader] = {"function_call": _call, "custom_tool_call": _custom_call}


def _content(content: Any, where: str) -> Any:
    """Give a message's content: text where it is nothing else, because some providers take nothing else."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise bad(where, "must be text or a list of parts")
    parts = [_part(part, f"{where}[{place}]") for place, part in enumerate(content)]
    if all(part["type"] == "text" for part in parts):
        return "\n".join(part["text"] for part in parts)
    return parts


def _part(part: Any, where: str) -> dict[str, Any]:
    kind = text_field(part, "type", where)
    if kind in {"input_text", "output_text", "text"}:
        return {"type": "text", "text": text_field(part, "text", where)}
    if kind == "refusal":
        return {"type": "text", "text": text_field(part, "refusal", where)}
    if kind == "input_image":
        if part.get("image_url") is None:
            raise bad(f"{where}.image_url", "must be the image's address or data URL; files are not kept here")
        image = {"url": text_field(part, "image_url", where)}
        return {"type": "image_url", "image_url": image | ({"detail": part["detail"]} if part.get("detail") else {})}
    if kind == "input_file":
        return {"type": "file", "file": _file(part, where)}
    if kind == "input_audio":
        return {"type": "input_audio", "input_audio": part.get("input_audio")}
    known = "input_text, input_image, input_file, input_audio"
    raise bad(f"{where}.type", f"parts of the type {kind!r} are not taken; there are: {known}")


def _file(part: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Give a file as a chat has it: with its content, or by an id that the provider knows."""
    found = {name: part[name] for name in ("filename", "file_data", "file_id") if isinstance(part.get(name), str)}
    data = found.get("file_data")
    if data is None and "file_id" not in found:
        raise bad(f"{where}.file_data", "must be the file's content as a data URL; addresses are not fetched")
    if data is not None and not data.startswith("data:"):
        media_type = mimetypes.guess_type(found.get("filename", ""))[0] or "application/pdf"
        found["file_data"] = f"data:{media_type};base64,{data}"
    return found
