"""What a model thought, put together from a stream's pieces in the fields in which it came.

Some providers want just these fields back with the next request, with signatures and all.
"""

from collections.abc import Mapping
from typing import Any

from assistant_runtime import json_text
from assistant_runtime.providers.dialect.reading import REASONING_FIELDS, THINKING_PARTS, reasoning_of

JOINED = frozenset({"text", "thinking", "summary", "data", "reasoning"})
"""Texts within a thought that come in pieces; what else it has, such as a signature, comes once."""


class StreamedThoughts:
    """The thoughts of one streamed answer."""

    def __init__(self) -> None:
        self._texts: dict[str, list[str]] = {}
        self._lists: dict[str, list[dict[str, Any]]] = {}

    def add(self, delta: Mapping[str, Any]) -> None:
        """Take a delta's thoughts."""
        for name in REASONING_FIELDS:
            value = delta.get(name)
            if isinstance(value, str):
                self._texts.setdefault(name, []).append(value)
            elif isinstance(value, list):
                self._add_all(name, value)
        content = delta.get("content")
        if isinstance(content, list):
            self._add_all("content", [part for part in content if is_thought(part)])

    def fields(self) -> dict[str, Any]:
        """Give the fields of the whole message; thoughts among its content are `content`."""
        texts = {name: json_text.whole("".join(parts)) for name, parts in self._texts.items() if any(parts)}
        return {**texts, **{name: found for name, found in self._lists.items() if found}}

    def _add_all(self, name: str, pieces: list[Any]) -> None:
        found = self._lists.setdefault(name, [])
        for piece in pieces:
            if not isinstance(piece, dict):
                continue
            if found and _same(found[-1], piece):
                _join(found[-1], piece)
            else:
                found.append(dict(piece))


def kept_fields(message: Mapping[str, Any]) -> dict[str, Any]:
    """Give the thoughts of a whole message as `StreamedThoughts.fields` does."""
    found = {name: message[name] for name in REASONING_FIELDS if message.get(name) not in (None, "", [], {})}
    content = message.get("content")
    thoughts = [part for part in content if is_thought(part)] if isinstance(content, list) else []
    return {**found, "content": thoughts} if thoughts else found


def with_thoughts(message: dict[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    """Give a message its thoughts back, each where it was."""
    if not fields:
        return message
    whole = {**message, **{name: value for name, value in fields.items() if name != "content"}}
    if thoughts := fields.get("content"):
        said = message.get("content")
        parts = said if isinstance(said, list) else [{"type": "text", "text": said}] if said else []
        whole["content"] = [*thoughts, *parts]
    return whole


def text_in(fields: Mapping[str, Any]) -> str:
    """Give the text of thoughts."""
    return reasoning_of(fields)


def is_thought(part: Any) -> bool:
    """Whether a part of a content is a thought."""
    return isinstance(part, dict) and str(part.get("type")) in THINKING_PARTS


def _same(before: Mapping[str, Any], piece: Mapping[str, Any]) -> bool:
    """Whether a piece goes on with the thought before it."""
    if (before.get("type"), before.get("index")) != (piece.get("type"), piece.get("index")):
        return False
    return not (before.get("id") and piece.get("id") and before["id"] != piece["id"])


def _join(thought: dict[str, Any], piece: Mapping[str, Any]) -> None:
    for name, value in piece.items():
        before = thought.get(name)
        if name in JOINED and isinstance(before, str) and isinstance(value, str):
            thought[name] = before + value
        elif name in JOINED and isinstance(before, list) and isinstance(value, list):
            thought[name] = _joined_texts([*before, *value])
        elif value is not None:
            thought[name] = value


def _joined_texts(parts: list[Any]) -> list[Any]:
    """Join parts that are nothing but text."""
    found: list[Any] = []
    for part in parts:
        plain = isinstance(part, dict) and set(part) == {"type", "text"}
        if plain and found and isinstance(found[-1], dict) and set(found[-1]) == {"type", "text"}:
            found[-1] = {**found[-1], "text": f"{found[-1]['text']}{part['text']}"}
        else:
            found.append(part)
    return found
