"""Read one round's answer that was not streamed, and make one answer of several."""

from collections.abc import Mapping
from typing import Any

from assistant_runtime import json_text
from assistant_runtime.providers.dialect.calls import calls_of
from assistant_runtime.providers.dialect.reading import finish_reason, text_of
from assistant_runtime.providers.dialect.thoughts import kept_fields
from assistant_runtime.tool_loop.conversation import Round

SEPARATOR = "\n\n"
"""Between what the model said before a tool ran and after it."""


def read_answer(body: bytes) -> tuple[dict[str, Any], Round]:
    """Decode an answer, and read its first choice; the provider's client has checked that it is an object."""
    payload: dict[str, Any] = json_text.loads(body)
    choices = payload.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
    message = choice.get("message")
    message = message if isinstance(message, dict) else {}
    return payload, Round(
        json_text.whole(text_of(message.get("content"))),
        calls_of(message),
        finish_reason(choice.get("finish_reason")),
        kept_fields(message),
        json_text.whole(text_of(message.get("refusal"))),
    )


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

    def end(self, payload: dict[str, Any], calls: tuple[Mapping[str, Any], ...], reason: str | None) -> bytes:
        """Give the whole answer; `payload` is the last round's, `calls` are those for the client."""
        choices = payload.get("choices")
        if isinstance(choices, list) and choices and isinstance(choices[0], dict):
            message = {**(choices[0].get("message") or {"role": "assistant"})}
            message.pop("tool_calls", None)
            message.pop("function_call", None)
            if isinstance(message.get("content"), list):
                earlier = self._said[:-1] if text_of(message["content"]) else self._said
                message["content"] = [*({"type": "text", "text": text} for text in earlier), *message["content"]]
            elif self._said:
                message["content"] = SEPARATOR.join(self._said)
            if calls:
                message["tool_calls"] = list(calls)
            choices[0] = {**choices[0], "message": message, "finish_reason": reason}
        if self._usage:
            payload["usage"] = self._usage
        return json_text.dumps({**payload, **self._first})
