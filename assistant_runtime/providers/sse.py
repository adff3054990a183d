"""Server-sent events: cut a provider's bytes into whole events, and read each without changing it.

Only whole events are passed on. If a provider dies in the middle of one, the client then gets our terminal event on a
clean line instead of half a JSON document that ends its parser. Nothing is passed on before the first content: until
then another provider may still answer.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from assistant_runtime import json_text
from assistant_runtime.errors import ProviderError
from assistant_runtime.providers.base import StreamSummary
from assistant_runtime.providers.dialect.errors import failed
from assistant_runtime.providers.dialect.reading import (
    has_failed,
    is_empty,
    is_readable,
    read_usage,
    says_something,
)
from assistant_runtime.providers.dialect.verdict import Verdicts

EVENT_END = re.compile(rb"\r\n\r\n|\n\n|\r\r")
MAX_EVENT_BYTES = 16 * 1024 * 1024
"""Images come in one event of a few megabytes; a provider that sends more without an end is not speaking SSE."""

MAX_HELD_BYTES = 64 * 1024
"""Of chunks that say nothing yet; what a provider sends to keep a connection alive is left out after that."""

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
DONE = b"data: [DONE]\n\n"
DONE_DATA = frozenset({b"[DONE]", b"[done]", b"DONE"})

ERROR_EVENTS = (b"event: error", b"event:error")

Verdict = Callable[[Any], ProviderError]
"""Gives the error for a payload that is one."""


def nameless(payload: Any) -> ProviderError:
    """Give the error of a provider without a name."""
    return Verdicts("", str).of_answer(payload, "provider_stream_error")


class EventReader:
    """Cut one stream into whole events, noting in `summary` what they tell.

    Parameters
    ----------
    hide_usage
        Whether an event that tells the tokens and nothing else is left out.
    verdict
        Makes an error of what the provider says went wrong.
    """

    def __init__(self, *, hide_usage: bool = False, verdict: Verdict = nameless) -> None:
        self.summary = StreamSummary()
        self._hide_usage = hide_usage
        self._verdict = verdict
        self.started = False
        """An event that says something has arrived; comments and a role alone do not."""
        self.problem: ProviderError | None = None
        self._rest = b""
        self._held_bytes = 0
        self._passes = False
        """Whether the event that was read last is passed on."""

    def feed(self, data: bytes) -> bytes:
        """Give the events that are now whole, byte for byte, up to a bad one, which becomes `problem`."""
        buffer = self._rest + data
        whole = begin = 0
        before = b""
        if self.started or not _is_plain(buffer):
            # What was searched before is not searched again, but for an end that the cut fell into.
            for end in EVENT_END.finditer(buffer, max(0, len(self._rest) - 3)):
                if not self._accept(buffer[whole : end.end()]):
                    break
                if not self._passes:
                    before += buffer[begin:whole]
                    begin = end.end()
                whole = end.end()
        self._rest = buffer[whole:]
        if len(self._rest) > MAX_EVENT_BYTES:
            self.problem = self.problem or bad_event(f"an event longer than {MAX_EVENT_BYTES} bytes")
        return before + buffer[begin:whole]

    def finish(self) -> bytes:
        """Give what the end of the stream completes; an answer cut short becomes `problem`.

        A provider that forgets the last blank line, or `[DONE]` after a whole answer, is helped out: clients wait
        for both. So is one that answers with plain JSON where a stream was asked for.
        """
        if not self.started and _is_plain(self._rest):
            return self._from_plain(self._rest)
        last = b""
        if self._rest.strip() and self._accept(self._rest) and self._passes:
            last = self._rest.rstrip(b"\r\n") + b"\n\n"
        if self.problem or self.summary.done:
            return last
        if self.summary.finished:
            return last + DONE
        self.problem = ProviderError(
            502, "the provider ended the stream before the answer was complete", code="provider_stream_truncated"
        )
        return last

    def _accept(self, event: bytes) -> bool:
        """Read an event, and note whether it is passed on; gives whether it is a good one."""
        summary = self.summary
        if summary.done or self.problem:
            return False
        try:
            said = self._read(event)
        except ProviderError as problem:
            self.problem = problem
            return False
        if not self.started and not self._start(event, said):
            return self.problem is None
        self._passes = not (self._hide_usage and summary.only_usage)
        return True

    def _start(self, event: bytes, said: bool | None) -> bool:
        """Whether the answer starts with this event; chunks before that are held, and comments are left out."""
        self.started = bool(said)
        if self.summary.done:
            self.problem = bad_event("a stream without an answer")
        if said is False:
            self._held_bytes += len(event)
        hidden = self._hide_usage and self.summary.only_usage
        self._passes = said is False and self._held_bytes <= MAX_HELD_BYTES and not hidden
        return self.started

    def _read(self, event: bytes) -> bool | None:
        """Note what an event tells; gives whether it says something, None for one that is no chunk."""
        self.summary.only_usage = False
        data = event_data(event)
        if not data:
            return None
        if data in DONE_DATA:
            self.summary.done = True
            return None
        chunk = _decode(data)
        choices = chunk.get("choices")
        if chunk.get("error") or event.startswith(ERROR_EVENTS) or (not choices and failed(chunk)):
            raise self._verdict(chunk)
        if not is_readable(chunk, "delta"):
            raise bad_event("an event that is no chunk of an answer")
        return self._note(chunk, choices or ())

    def _note(self, chunk: dict[str, Any], choices: Sequence[dict[str, Any]]) -> bool:
        summary = self.summary
        summary.model = summary.model or str(chunk.get("model") or "")
        if chunk.get("usage"):
            summary.usage = read_usage(chunk) or summary.usage
            summary.only_usage = not choices
        for choice in choices:
            if choice.get("error"):
                raise self._verdict(choice)
            if choice.get("finish_reason"):
                self._end(chunk, choice)
        return self.started or any(says_something(choice) for choice in choices)

    def _end(self, chunk: dict[str, Any], choice: dict[str, Any]) -> None:
        """Note that a choice has ended."""
        if has_failed(choice) and not self.started:
            raise bad_event(f"no answer: it ended with {choice['finish_reason']}")
        self.summary.finished = True
        self.summary.usage = self.summary.usage or read_usage(chunk)

    def _from_plain(self, body: bytes) -> bytes:
        """Give an answer that is plain JSON as a stream of one chunk."""
        try:
            payload = _decode(body)
            if failed(payload):
                raise self._verdict(payload)
            if not is_readable(payload, "message") or is_empty(payload):
                raise bad_event("JSON that is no answer, where a stream was asked for")
        except ProviderError as problem:
            self.problem = problem
            return b""
        chunk = as_chunk(payload)
        self._note(chunk, chunk["choices"])
        self.started = self.summary.done = True
        if self._hide_usage:
            chunk.pop("usage", None)
        return b"data: " + json_text.dumps(chunk) + b"\n\n" + DONE


def as_chunk(payload: dict[str, Any]) -> dict[str, Any]:
    """Write a whole answer as a chunk of a stream."""
    choices = []
    for choice in payload["choices"]:
        message = dict(choice.get("message") or {})
        calls = message.get("tool_calls")
        if isinstance(calls, list):
            message["tool_calls"] = [{"index": index, **call} for index, call in enumerate(calls)]
        choices.append({**{name: value for name, value in choice.items() if name != "message"}, "delta": message})
    return {**payload, "object": "chat.completion.chunk", "choices": choices}


def chunks_of(events: bytes) -> Iterator[dict[str, Any]]:
    """Yield the chunks in whole events that were read before."""
    start = 0
    for end in EVENT_END.finditer(events):
        data = event_data(events[start : end.end()])
        start = end.end()
        if data and data not in DONE_DATA:
            yield _decode(data)


def event_data(event: bytes) -> bytes:
    """Join the event's data lines; empty for a comment."""
    if event.startswith(b"data:") and event.find(b"\n") >= len(event) - 2 and b"\r" not in event:
        return event[5:].strip()
    lines = (line for line in event.removeprefix(BYTE_ORDER_MARK).splitlines() if line.startswith(b"data:"))
    return b"\n".join(line[5:].strip() for line in lines)


def bad_event(what: str) -> ProviderError:
    """Give the error for bytes that are not what the provider promised."""
    return ProviderError(502, f"the provider sent {what}", code="provider_bad_response")


def _is_plain(body: bytes) -> bool:
    """Whether these bytes are JSON, and no events."""
    return body.lstrip()[:1] == b"{"


def _decode(data: bytes) -> dict[str, Any]:
    try:
        chunk = json_text.loads_bounded(data)
    except ValueError:
        chunk = None
    if not isinstance(chunk, dict):
        raise bad_event("an event that is no JSON object")
    return chunk
