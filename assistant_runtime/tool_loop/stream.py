"""Make one stream of several rounds: text passes at once, the runtime's own calls are held back.

Whatever a provider sends beside text (reasoning, log probabilities) passes too. Id and time of creation are the first
round's throughout; the role is said once; the end, and the tokens, are told when all rounds are done.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import orjson

from assistant_runtime.providers.sse import DONE, EVENT_END, event_data
from assistant_runtime.tool_loop.answer import SEPARATOR, add_usage, with_ids
from assistant_runtime.tool_loop.conversation import Round
from assistant_runtime.tool_loop.options import FIELD
from assistant_runtime.tool_loop.record import Record, Step


def split_events(events: bytes) -> Iterator[bytes]:
    """Cut whole events apart."""
    start = 0
    for end in EVENT_END.finditer(events):
        yield events[start : end.end()]
        start = end.end()


def encoded(chunk: Mapping[str, Any]) -> bytes:
    """Write a chunk as an event."""
    return b"data: " + orjson.dumps(chunk) + b"\n\n"


class Stitched:
    """The one stream that a client sees.

    Parameters
    ----------
    include_usage
        Whether the client asked for a last chunk with the tokens.
    """

    def __init__(self, *, include_usage: bool) -> None:
        self._include_usage = include_usage
        self._identity: dict[str, Any] = {"id": "", "object": "chat.completion.chunk", "created": 0, "model": ""}
        self._role_told = False
        self._said = False
        self._client_calls = 0
        self._usage: dict[str, Any] = {}

    def begin(self, is_clients: Callable[[str], bool]) -> "RoundReader":
        """Start a round; `is_clients` says for whom a call is, by its function's name."""
        return RoundReader(self, is_clients, separate=self._said)

    def step(self, step: Step) -> bytes:
        """Tell a step, in a chunk that adds nothing to the answer."""
        return self._own(None, {FIELD: {"step": step.told()}})

    def end(self, finish_reason: str | None, record: Record) -> Iterator[bytes]:
        """Tell the end, the record and the tokens."""
        usage = {"usage": self._usage} if self._usage else {}
        together = {} if self._include_usage else usage
        yield self._own(finish_reason or "stop", {FIELD: record.told(), **together})
        if self._include_usage and usage:
            yield encoded({**self._identity, "choices": [], **usage})
        yield DONE

    def told(self) -> dict[str, Any]:
        """Give model and tokens of the answer so far."""
        return {"model": self._identity["model"], "usage": self._usage or None}

    def _own(self, finish_reason: str | None, further: Mapping[str, Any]) -> bytes:
        choice = {"index": 0, "delta": {}, "finish_reason": finish_reason}
        return encoded({**self._identity, "choices": [choice], **further})

    def identify(self, chunk: dict[str, Any]) -> None:
        """Take the identity of the first chunk, and put it on every other."""
        if not self._identity["id"]:
            self._identity |= {"id": chunk.get("id") or "chatcmpl-assistant", "created": chunk.get("created") or 0}
        self._identity["model"] = chunk.get("model") or self._identity["model"]
        chunk |= self._identity

    def count(self, chunk: dict[str, Any]) -> None:
        """Take the tokens out of a chunk."""
        add_usage(self._usage, chunk.pop("usage", None))

    def first_role(self) -> bool:
        """Whether the role is still to be told."""
        told, self._role_told = self._role_told, True
        return not told

    def say(self) -> None:
        """Note that there is text."""
        self._said = True

    def next_client_call(self) -> int:
        """Give the client's next call its index: those in between may be the runtime's."""
        self._client_calls += 1
        return self._client_calls - 1


class RoundReader:
    """Reads one round of a stream, giving what passes.

    Parameters
    ----------
    stitched
        The stream that the round is part of.
    is_clients
        Says for whom a call is.
    separate
        Whether text came before this round.
    """

    def __init__(self, stitched: Stitched, is_clients: Callable[[str], bool], *, separate: bool) -> None:
        self._stitched = stitched
        self._is_clients = is_clients
        self._separate = separate
        self._content: list[str] = []
        self._calls: dict[int, StreamedCall] = {}
        self._finish_reason: str | None = None

    def feed(self, events: bytes) -> bytes:
        """Read whole events; gives those that pass now."""
        return b"".join(self._read(event) for event in split_events(events))

    def end(self) -> Round:
        """Give the whole round."""
        calls = with_ids(call.whole() for _, call in sorted(self._calls.items()))
        return Round("".join(self._content), calls, self._finish_reason)

    def _read(self, event: bytes) -> bytes:
        data = event_data(event)
        if not data or data == b"[DONE]":
            return b"" if data else event
        chunk: dict[str, Any] = orjson.loads(data)
        self._stitched.count(chunk)
        choices = chunk.get("choices")
        if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
            return b""
        self._stitched.identify(chunk)
        choice = choices[0]
        self._finish_reason = choice.get("finish_reason") or self._finish_reason
        delta = self._delta(choice.get("delta") or {})
        if not delta:
            return b""
        chunk["choices"] = [{**choice, "delta": delta, "finish_reason": None}]
        return encoded(chunk)

    def _delta(self, delta: dict[str, Any]) -> dict[str, Any]:
        """Give what passes of a delta."""
        passing = {name: value for name, value in delta.items() if name not in {"role", "content", "tool_calls"}}
        if content := delta.get("content"):
            passing["content"] = self._say(content)
        if calls := list(self._call_deltas(delta.get("tool_calls") or ())):
            passing["tool_calls"] = calls
        if not any(value not in (None, "", [], {}) for value in passing.values()):
            passing = {}
        if (passing or "role" in delta) and self._stitched.first_role():
            return {"role": delta.get("role") or "assistant", "content": "", **passing}
        return passing

    def _say(self, content: Any) -> Any:
        if not isinstance(content, str):
            return content
        self._content.append(content)
        self._stitched.say()
        if self._separate:
            self._separate = False
            return SEPARATOR + content
        return content

    def _call_deltas(self, deltas: Iterable[Any]) -> Iterator[dict[str, Any]]:
        for delta in deltas:
            if not isinstance(delta, dict):
                continue
            index = delta.get("index")
            index = index if isinstance(index, int) else len(self._calls)
            call = self._calls.setdefault(index, StreamedCall())
            call.add(delta)
            if call.clients is None and call.name:
                call.clients = self._is_clients(call.name)
                call.index = self._stitched.next_client_call() if call.clients else 0
            if call.clients:
                yield from call.release()


class StreamedCall:
    """One call that arrives in pieces; pieces for the client are held until it is known to be its."""

    def __init__(self) -> None:
        self.name = ""
        self.clients: bool | None = None
        self.index = 0
        """Its place among the client's calls."""
        self._whole: dict[str, Any] = {}
        self._arguments: list[str] = []
        self._held: list[dict[str, Any]] = []

    def add(self, delta: dict[str, Any]) -> None:
        """Take a piece."""
        self._held.append(delta)
        function = delta.get("function") or {}
        self.name = self.name or str(function.get("name") or "")
        if arguments := function.get("arguments"):
            self._arguments.append(arguments if isinstance(arguments, str) else orjson.dumps(arguments).decode())
        self._whole |= {name: value for name, value in delta.items() if value and name not in {"index", "function"}}

    def release(self) -> Iterator[dict[str, Any]]:
        """Give the pieces that are held."""
        for delta in self._held:
            yield {**delta, "index": self.index}
        self._held = []

    def whole(self) -> dict[str, Any]:
        """Give the call as a message that was not streamed has it."""
        return {**self._whole, "function": {"name": self.name, "arguments": "".join(self._arguments)}}
