"""Read one round's answer that was not streamed, and make one answer of several."""

from collections.abc import Mapping
from typing import Any

import orjson

from assistant_runtime.tool_loop.conversation import Round

SEPARATOR = "\n\n"
"""Between what the model said before a tool ran and after it."""


def read_answer(body: bytes) -> tuple[dict[str, Any], Round]:
    """Decode an answer, and read its first choice; the provider's client has checked that it is an object."""
    payload: dict[str, Any] = orjson.loads(body)
    choices = payload.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
    message = choice.get("message")
    message = message if isinstance(message, dict) else {}
    calls = message.get("tool_calls")
    return payload, Round(
        text_of(message.get("content")),
        with_ids(call for call in calls if isinstance(call, dict)) if isinstance(calls, list) else (),
        choice.get("finish_reason"),
    )


def text_of(content: Any) -> str:
    """Give the text of a message's content, which some models send in parts, with their thoughts among them."""
    if isinstance(content, list):
        texts = (part.get("text") for part in content if isinstance(part, dict) and part.get("type") == "text")
        return "".join(text for text in texts if isinstance(text, str))
    return content if isinstance(content, str) else ""


def with_ids(calls: Any) -> tuple[Mapping[str, Any], ...]:
    """Give every call a name, arguments and an id of its own, which some servers leave out."""
    found = []
    for place, call in enumerate(calls):
        function = call.get("function") if isinstance(call.get("function"), dict) else {}
        arguments = function.get("arguments") or ""
        arguments = arguments if isinstance(arguments, str) else orjson.dumps(arguments).decode()
        whole = {**function, "name": str(function.get("name") or ""), "arguments": arguments}
        found.append({**call, "id": str(call.get("id") or f"call_{place}"), "type": "function", "function": whole})
    return tuple(found)


def add_usage(total: dict[str, Any], usage: Any) -> None:
    """Add one round's counts to the total, whatever counts the provider gives."""
    if not isinstance(usage, dict):
        return
    for name, value in usage.items():
        if isinstance(value, dict):
            add_usage(total.setdefault(name, {}), value)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            before = total.get(name)
            total[name] = (before if isinstance(before, int | float) else 0) + value
        else:
            total.setdefault(name, value)


class Joined:
    """One answer of several rounds: the first one's id, everything that was said, all tokens."""

    def __init__(self) -> None:
        self._first: dict[str, Any] = {}
        self._said: list[str] = []
        self._usage: dict[str, Any] = {}

    def add(self, payload: dict[str, Any], found: Round) -> None:
        """Add a round."""
        self._first = self._first or {name: payload[name] for name in ("id", "created") if name in payload}
        self._said += [found.content] if found.content else []
        add_usage(self._usage, payload.get("usage"))

    def told(self, payload: Mapping[str, Any]) -> dict[str, Any]:
        """Give model and tokens of the whole answer; `payload` is the last round's."""
        return {"model": payload.get("model"), "usage": self._usage or None}

    def end(self, payload: dict[str, Any], calls: tuple[Mapping[str, Any], ...], finish_reason: str | None) -> bytes:
        """Give the whole answer; `payload` is the last round's, `calls` are those for the client."""
        choices = payload.get("choices")
        if isinstance(choices, list) and choices and isinstance(choices[0], dict):
            message = {**(choices[0].get("message") or {"role": "assistant"})}
            message.pop("tool_calls", None)
            if isinstance(message.get("content"), list):
                earlier = self._said[:-1] if text_of(message["content"]) else self._said
                message["content"] = [*({"type": "text", "text": text} for text in earlier), *message["content"]]
            elif self._said:
                message["content"] = SEPARATOR.join(self._said)
            if calls:
                message["tool_calls"] = list(calls)
            choices[0] = {**choices[0], "message": message, "finish_reason": finish_reason}
        if self._usage:
            payload["usage"] = self._usage
        return orjson.dumps({**payload, **self._first})
