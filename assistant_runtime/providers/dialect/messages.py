"""Messages, written so that a provider takes them: each function gives new messages, or None where nothing changes."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from assistant_runtime.providers.dialect.reading import REASONING_FIELDS, reasoning_of, text_of

SYSTEM_ROLES = ("system", "developer")
SEPARATOR = "\n\n"
"""Between texts that become one."""

ID_CHARACTERS = 9
"""Of a call's id: Mistral takes just these."""

UNSIGNED = {"google": {"thought_signature": "skip_thought_signature_validator"}}
"""Stands for a signature that is lost, by ai.google.dev/gemini-api/docs/thought-signatures."""

Messages = list[dict[str, Any]]


def leading_as_one(messages: Sequence[dict[str, Any]]) -> Messages | None:
    """Make one of the leading system and developer messages, which many chat templates take only so.

    Messages with a `name` are examples of a conversation, and stay.
    """
    leading = 0
    while leading < len(messages) and _is_plain_system(messages[leading]):
        leading += 1
    if leading < 2:  # noqa: PLR2004 - one is one already
        return None
    return [_joined(messages[:leading]), *messages[leading:]]


def system_first(messages: Sequence[dict[str, Any]]) -> Messages | None:
    """Make one of all system and developer messages, and put it first."""
    system = [message for message in messages if message.get("role") in SYSTEM_ROLES]
    if not system or (len(system) == 1 and messages[0] is system[0]):
        return None
    others = [message for message in messages if message.get("role") not in SYSTEM_ROLES]
    return [_joined(system), *others]


def system_as_user(messages: Sequence[dict[str, Any]]) -> Messages | None:
    """Put what the system says before what the user says first, for models that know no system."""
    system = [message for message in messages if message.get("role") in SYSTEM_ROLES]
    others = [message for message in messages if message.get("role") not in SYSTEM_ROLES]
    if not system:
        return None
    if others and others[0].get("role") == "user":
        return [{**others[0], "content": _together([*system, others[0]])}, *others[1:]]
    return [{"role": "user", "content": _together(system)}, *others]


def developer_as_system(messages: Sequence[dict[str, Any]]) -> Messages | None:
    """Call developers the system."""
    if not any(message.get("role") == "developer" for message in messages):
        return None
    return [{**message, "role": "system"} if message.get("role") == "developer" else message for message in messages]


def alternating(messages: Sequence[dict[str, Any]]) -> Messages | None:
    """Make one of neighbours that have the same role."""
    found: Messages = []
    for message in messages:
        same = bool(found) and found[-1].get("role") == message.get("role") and message.get("role") != "tool"
        if same and not message.get("tool_calls") and not found[-1].get("tool_calls"):
            found[-1] = {**found[-1], "content": _together([found[-1], message])}
        else:
            found.append(message)
    return found if len(found) < len(messages) else None


def content_as_text(messages: Sequence[dict[str, Any]]) -> Messages | None:
    """Write content that is a list of nothing but texts as one text."""
    return _each(messages, _as_text)


def content_not_null(messages: Sequence[dict[str, Any]]) -> Messages | None:
    """Write an empty text where a message has no content."""
    return _each(messages, lambda message: {**message, "content": ""} if message.get("content") is None else message)


def without_names(messages: Sequence[dict[str, Any]]) -> Messages | None:
    """Leave out who said it."""
    return _each(messages, lambda message: _without(message, ("name",)))


def without_reasoning(messages: Sequence[dict[str, Any]]) -> Messages | None:
    """Leave out what models thought."""
    return _each(messages, lambda message: _without(message, REASONING_FIELDS) if _is_assistant(message) else message)


def with_reasoning_content(messages: Sequence[dict[str, Any]]) -> Messages | None:
    """Give every assistant message its thoughts under DeepSeek's name: what it has by another, or an empty text."""
    return _each(
        messages,
        lambda message: (
            {**message, "reasoning_content": reasoning_of(message)}
            if _is_assistant(message) and not isinstance(message.get("reasoning_content"), str)
            else message
        ),
    )


def with_short_ids(messages: Sequence[dict[str, Any]]) -> Messages | None:
    """Refer to calls by ids of nine letters and digits, which every provider takes."""
    return _each(messages, _with_short_ids)


def with_signatures(messages: Sequence[dict[str, Any]]) -> Messages | None:
    """Say of calls whose signature is lost that they have none, in the words that Google documents for it."""
    return _each(messages, _with_signatures)


def calls_as_text(messages: Sequence[dict[str, Any]]) -> Messages | None:
    """Write calls of tools and their results as text, for models that take none."""
    return _each(messages, _call_as_text)


def _with_short_ids(message: dict[str, Any]) -> dict[str, Any]:
    if message.get("tool_call_id"):
        short = _short_id(message["tool_call_id"])
        return message if short == message["tool_call_id"] else {**message, "tool_call_id": short}
    calls = message.get("tool_calls") or ()
    if not any(isinstance(call, dict) and call.get("id") != _short_id(call.get("id")) for call in calls):
        return message
    return {**message, "tool_calls": [{**call, "id": _short_id(call.get("id"))} for call in calls]}


def _short_id(call_id: Any) -> str:
    text = str(call_id)
    if len(text) == ID_CHARACTERS and text.isascii() and text.isalnum():
        return text
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:ID_CHARACTERS]


def _with_signatures(message: dict[str, Any]) -> dict[str, Any]:
    calls = message.get("tool_calls")
    if not calls or all("extra_content" in call for call in calls):
        return message
    return {**message, "tool_calls": [{"extra_content": UNSIGNED, **call} for call in calls]}


def _call_as_text(message: dict[str, Any]) -> dict[str, Any]:
    if message.get("role") == "tool":
        return {"role": "user", "content": f"[result of a tool]\n{text_of(message.get('content'))}"}
    if not message.get("tool_calls"):
        return message
    said = [text_of(message.get("content")), *_written(message["tool_calls"])]
    kept = _without(message, ("tool_calls",))
    return {**kept, "content": SEPARATOR.join(filter(None, said))}


def _written(calls: Iterable[Any]) -> Iterator[str]:
    for call in calls:
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict):
            yield f"[called the tool {function.get('name')} with {function.get('arguments')}]"


def _each(messages: Sequence[dict[str, Any]], change: Any) -> Messages | None:
    changed = [change(message) for message in messages]
    return changed if any(new is not old for new, old in zip(changed, messages, strict=True)) else None


def _without(message: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    if not any(name in message for name in names):
        return message
    return {name: value for name, value in message.items() if name not in names}


def _as_text(message: dict[str, Any]) -> dict[str, Any]:
    content = message.get("content")
    if not isinstance(content, list) or not all(_is_text(part) for part in content):
        return message
    return {**message, "content": "\n".join(part["text"] for part in content)}


def _is_text(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str)


def _is_assistant(message: Mapping[str, Any]) -> bool:
    return message.get("role") == "assistant"


def _is_plain_system(message: Mapping[str, Any]) -> bool:
    return message.get("role") in SYSTEM_ROLES and "name" not in message


def _joined(system: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {**system[0], "content": _together(system)}


def _together(messages: Sequence[Mapping[str, Any]]) -> Any:
    """Give the content of several messages: text, or parts where one has parts, because these may be marked."""
    contents = [content for message in messages if (content := message.get("content"))]
    if all(isinstance(content, str) for content in contents):
        return SEPARATOR.join(contents)
    return [part for content in contents for part in _parts(content)]


def _parts(content: Any) -> list[Any]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content)
