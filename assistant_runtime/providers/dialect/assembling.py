"""Make a whole answer of a stream, for providers that stream whatever they are asked for."""

from typing import Any

from assistant_runtime import json_text
from assistant_runtime.providers.dialect.calls import StreamedCalls
from assistant_runtime.providers.dialect.reading import read_usage, said_in, text_of, usage_of
from assistant_runtime.providers.dialect.thoughts import StreamedThoughts, with_thoughts

PLAIN = frozenset({"role", "content", "tool_calls", "function_call"})


class Assembled:
    """One answer of which the chunks arrive: its first choice, as no provider streams several unasked."""

    def __init__(self) -> None:
        self._first: dict[str, Any] = {}
        self._text: list[str] = []
        self._refusal: list[str] = []
        self._calls = StreamedCalls()
        self._thoughts = StreamedThoughts()
        self._finish_reason: Any = None
        self._usage: dict[str, Any] | None = None

    def add(self, chunk: dict[str, Any]) -> None:
        """Take a chunk."""
        self._first = self._first or {name: value for name, value in chunk.items() if name != "choices"}
        if read_usage(chunk):
            self._usage = usage_of(chunk)
        for choice in (chunk.get("choices") or ())[:1]:
            delta = said_in(choice)
            self._text.append(text_of(delta.get("content")))
            self._refusal.append(text_of(delta.get("refusal")))
            self._thoughts.add(delta)
            for _ in self._calls.feed(delta):
                pass
            self._finish_reason = choice.get("finish_reason") or self._finish_reason

    def whole(self) -> dict[str, Any]:
        """Give the answer."""
        calls = list(self._calls.whole())
        text = json_text.whole("".join(self._text))
        message = with_thoughts({"role": "assistant", "content": text or None}, self._thoughts.fields())
        message |= {"tool_calls": calls} if calls else {}
        message |= {"refusal": "".join(self._refusal)} if any(self._refusal) else {}
        choice = {"index": 0, "message": message, "finish_reason": self._finish_reason}
        answer = {**self._first, "object": "chat.completion", "choices": [choice]}
        return {**answer, "usage": self._usage} if self._usage else answer
