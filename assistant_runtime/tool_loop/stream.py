"""Make one stream of several rounds: text passes at once, the runtime's own calls are held back.

Whatever a provider sends beside text (reasoning, log probabilities) passes too. Id and time of creation are the first
round's throughout; the role is said once; the end, and the tokens, are told when all rounds are done.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from assistant_runtime import json_text
from assistant_runtime.providers.dialect.calls import StreamedCalls
from assistant_runtime.providers.dialect.reading import finish_reason, said_in, text_of, usage_of
from assistant_runtime.providers.dialect.thoughts import StreamedThoughts
from assistant_runtime.providers.sse import DONE, DONE_DATA, EVENT_END, event_data
from assistant_runtime.tool_loop.answer import SEPARATOR, add_usage
from assistant_runtime.tool_loop.conversation import Round
from assistant_runtime.tool_loop.options import FIELD
from assistant_runtime.tool_loop.record import Record, Step

READ_FIELDS = frozenset({"role", "content", "tool_calls", "function_call"})
"""Of a delta, what is read here; anything else passes as it came."""


def split_events(events: bytes) -> Iterator[bytes]:
    """Cut whole events apart."""
    start = 0
    for end in EVENT_END.finditer(events):
        yield events[start : end.end()]
        start = end.end()


def encoded(chunk: Mapping[str, Any]) -> bytes:
    """Write a chunk as an event."""
    return b"data: " + json_text.dumps(chunk) + b"\n\n"


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

    def own_delta(self, delta: Mapping[str, Any]) -> bytes:
        """Give a chunk of our own that adds this."""
        return encoded({**self._identity, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]})

    def _own(self, finish_reason: str | None, further: Mapping[str, Any]) -> bytes:
        choice = {"index": 0, "delta": {}, "finish_reason": finish_reason}
        return encoded({**self._identity, "choices": [choice], **further})

    def identify(self, chunk: dict[str, Any]) -> None:
        """Take the identity of the first chunk, and put it on every other."""
        if not self._identity["id"]:
            self._identity |= {"id": chunk.get("id") or "chatcmpl-assistant", "created": chunk.get("created") or 0}
        self._identity["model"] = chunk.get("model") or self._identity["model"]
        chunk |= self._identity

    def count(self, usage: dict[str, Any] | None) -> None:
        """Add the tokens of a round."""
        add_usage(self._usage, usage)

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
        self._refusal: list[str] = []
        self._calls = StreamedCalls()
        self._thoughts = StreamedThoughts()
        self._places: dict[int, int | None] = {}
        """Where each call is in the client's stream; None: it is the runtime's."""
        self._usage: dict[str, Any] | None = None
        self._finish_reason: str | None = None

    def feed(self, events: bytes) -> bytes:
        """Read whole events; gives those that pass now."""
        return b"".join(self._read(event) for event in split_events(events))

    def rest(self) -> bytes:
        """Give the client's calls that were held to the end, because they have no arguments."""
        calls = [piece for slot in range(len(self._calls)) for piece in self._release(slot, final=True)]
        return self._stitched.own_delta({"tool_calls": calls}) if calls else b""

    def end(self) -> Round:
        """Give the whole round."""
        content = json_text.whole("".join(self._content))
        self._stitched.count(self._usage)
        self._usage = None
        refusal = json_text.whole("".join(self._refusal))
        return Round(content, self._calls.whole(), self._finish_reason, self._thoughts.fields(), refusal)

    def _read(self, event: bytes) -> bytes:
        data = event_data(event)
        if not data or data in DONE_DATA:
            return b"" if data else event
        chunk: dict[str, Any] = json_text.loads(data)
        # Some tell the tokens so far in every chunk.
        self._usage = usage_of(chunk) or self._usage
        chunk.pop("usage", None)
        choices = chunk.get("choices")
        if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
            return b""
        self._stitched.identify(chunk)
        choice = choices[0]
        self._finish_reason = finish_reason(choice.get("finish_reason")) or self._finish_reason
        delta = self._delta(said_in(choice))
        if not delta:
            return b""
        choice.pop("message", None)
        chunk["choices"] = [{**choice, "delta": delta, "finish_reason": None}]
        return encoded(chunk)

    def _delta(self, delta: Mapping[str, Any]) -> dict[str, Any]:
        """Give what passes of a delta."""
        passing = {name: value for name, value in delta.items() if name not in READ_FIELDS}
        self._thoughts.add(delta)
        if refusal := delta.get("refusal"):
            self._refusal.append(text_of(refusal))
        if content := delta.get("content"):
            passing["content"] = self._say(content)
        if calls := list(self._call_deltas(delta)):
            passing["tool_calls"] = calls
        if not any(value not in (None, "", [], {}) for value in passing.values()):
            passing = {}
        if (passing or "role" in delta) and self._stitched.first_role():
            return {"role": delta.get("role") or "assistant", "content": "", **passing}
        return passing

    def _say(self, content: Any) -> Any:
        """Note what is said; text passes with a separator before it where text of another round came before."""
        text = text_of(content)
        if not text:
            return content
        self._content.append(text)
        self._stitched.say()
        separator, self._separate = SEPARATOR if self._separate else "", False
        if isinstance(content, str):
            return separator + content
        return [{"type": "text", "text": separator}, *content] if separator else content

    def _call_deltas(self, delta: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        for piece in self._calls.feed(delta):
            yield from self._release(piece.slot, piece.arguments)

    def _release(self, slot: int, arguments: str = "", *, final: bool = False) -> Iterator[dict[str, Any]]:
        """Give a piece of a call to the client, once it is known to be the client's: when its name is whole."""
        call = self._calls[slot]
        if slot in self._places:
            place = self._places[slot]
            if place is not None and arguments:
                yield {"index": place, "function": {"arguments": arguments}}
        elif call.name and (call.begun or final):
            place = self._places[slot] = self._place(call.name)
            if place is not None:
                function = {"name": call.name, "arguments": call.arguments}
                head = {"index": place, "id": self._calls.own_id(slot), "type": "function"}
                yield {**call.more, **head, "function": function}

    def _place(self, name: str) -> int | None:
        return self._stitched.next_client_call() if self._is_clients(name) else None
