"""Server-sent events: cut a provider's bytes into whole events, and read each without changing it.

Only whole events are passed on. If a provider dies in the middle of one, the client then gets our terminal event on a
clean line instead of half a JSON document that ends its parser.
"""

import re
from typing import Any

import orjson

from assistant_runtime.errors import ProviderError
from assistant_runtime.providers.base import StreamSummary, is_readable, read_usage

EVENT_END = re.compile(rb"\r\n\r\n|\n\n|\r\r")
MAX_EVENT_BYTES = 16 * 1024 * 1024
"""Images come in one event of a few megabytes; a provider that sends more without an end is not speaking SSE."""

DONE = b"data: [DONE]\n\n"


class EventReader:
    """Cut one stream into whole events, noting in `summary` what they tell.

    Parameters
    ----------
    hide_usage
        Whether an event that tells the tokens and nothing else is left out.
    """

    def __init__(self, *, hide_usage: bool = False) -> None:
        self.summary = StreamSummary()
        self._hide_usage = hide_usage
        self.started = False
        """An event that is part of the answer has arrived; comments are not."""
        self.problem: ProviderError | None = None
        self._rest = b""

    def feed(self, data: bytes) -> bytes:
        """Give the events that are now whole, byte for byte, up to a bad one, which becomes `problem`."""
        buffer = self._rest + data
        whole = begin = 0
        before = b""
        # What was searched before is not searched again, but for an end that the cut fell into.
        for end in EVENT_END.finditer(buffer, max(0, len(self._rest) - 3)):
            if not self._accept(buffer[whole : end.end()]):
                break
            if self._hidden:
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
        for both.
        """
        if not self.started and (error := _plain_error(self._rest)):
            self.problem = _stream_error(error)
            return b""
        last = b""
        if self._rest.strip() and self._accept(self._rest):
            last = b"" if self._hidden else self._rest.rstrip(b"\r\n") + b"\n\n"
        if self.summary.done:
            return last
        if self.summary.finished and not self.problem:
            return last + DONE
        self.problem = ProviderError(
            502, "the provider ended the stream before the answer was complete", code="provider_stream_truncated"
        )
        return last

    @property
    def _hidden(self) -> bool:
        """Whether the event that was read last is left out."""
        return self._hide_usage and self.summary.only_usage

    def _accept(self, event: bytes) -> bool:
        if self.summary.done or self.problem:
            return False
        try:
            self.started = read_event(event, self.summary) or self.started
        except ProviderError as problem:
            self.problem = problem
            return False
        return True


def event_data(event: bytes) -> bytes:
    """Join the event's data lines; empty for a comment."""
    lines = (line for line in event.splitlines() if line.startswith(b"data:"))
    return b"\n".join(line[5:].strip() for line in lines)


def read_event(event: bytes, summary: StreamSummary) -> bool:
    """Note what an event tells in `summary`; whether it carried anything for the client to show.

    Raises
    ------
    ProviderError
        The event is no chunk of an answer, or it is the provider's own error.
    """
    summary.only_usage = False
    data = event_data(event)
    if not data:
        return False
    if data == b"[DONE]":
        summary.done = True
        return True
    chunk = _decode(data)
    if chunk.get("error"):
        raise _stream_error(chunk["error"])
    if not is_readable(chunk, "delta"):
        raise bad_event("an event that is no chunk of an answer")
    summary.model = summary.model or str(chunk.get("model") or "")
    if chunk.get("usage"):
        summary.usage = read_usage(chunk) or summary.usage
        summary.only_usage = not chunk.get("choices")
    choices = chunk.get("choices")
    if isinstance(choices, list):
        summary.finished = summary.finished or any(
            isinstance(choice, dict) and choice.get("finish_reason") for choice in choices
        )
    return True


def _decode(data: bytes) -> dict[str, Any]:
    try:
        chunk = orjson.loads(data)
    except orjson.JSONDecodeError:
        chunk = None
    if not isinstance(chunk, dict):
        raise bad_event("an event that is no JSON object")
    return chunk


def _plain_error(body: bytes) -> Any:
    """Give the error of an answer that is plain JSON, where a stream was asked for."""
    try:
        payload = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return payload.get("error") if isinstance(payload, dict) else None


def _stream_error(error: Any) -> ProviderError:
    message = error.get("message") if isinstance(error, dict) else error
    return ProviderError(502, f"the provider ended the stream: {message}", code="provider_stream_error")


def bad_event(what: str) -> ProviderError:
    """Give the error for bytes that are not what the provider promised."""
    return ProviderError(502, f"the provider sent {what}", code="provider_bad_response")
