"""A session's message as the Responses API's input items."""

from collections.abc import Iterator, Mapping
from typing import Any

from assistant_runtime.api.responses.answer import call_item, text_part
from assistant_runtime.api.responses.ids import given_id
from assistant_runtime.api.responses.tools import ClientTools


def given_items(message: Mapping[str, Any], session_id: str, sequence: int, tools: ClientTools) -> list[dict[str, Any]]:
    """Give the items that a message of a chat stands for: one, and one more for each further call.

    Parameters
    ----------
    session_id, sequence
        Where the message is kept; the items' ids are made of it.
    tools
        The client's tools, in whose words calls are given.
    """

    def name(kind: str, place: int) -> str:
        return given_id(session_id, sequence, kind, place)

    role, content = message.get("role"), message.get("content")
    if role == "tool":
        call = {"call_id": message.get("tool_call_id"), "output": content}
        return [{"id": name("fco", 0), "type": "function_call_output", **call, "status": "completed"}]
    calls = [call for call in message.get("tool_calls") or () if isinstance(call, dict)]
    items: list[dict[str, Any]] = []
    if content or not calls:
        said = {"type": "message", "role": role, "status": "completed"}
        items.append({"id": name("msg", 0), **said, "content": list(_parts(content, role))})
    return items + [call_item(name("fc", len(items) + place), call, tools) for place, call in enumerate(calls)]


def _parts(content: Any, role: Any) -> Iterator[dict[str, Any]]:
    parts: list[dict[str, Any]] = content if isinstance(content, list) else [{"type": "text", "text": content or ""}]
    for part in parts:
        kind = part.get("type")
        if kind == "text":
            text = str(part.get("text") or "")
            yield text_part(text) if role == "assistant" else {"type": "input_text", "text": text}
        elif kind == "image_url":
            image = part.get("image_url") or {}
            yield {"type": "input_image", "image_url": image.get("url"), "detail": image.get("detail") or "auto"}
        elif kind == "file":
            yield {"type": "input_file", **(part.get("file") or {})}
        else:
            yield dict(part)
