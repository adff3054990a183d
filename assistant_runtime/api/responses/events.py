"""A chat's stream as the Responses API's typed events."""

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from assistant_runtime.api.responses.answer import (
    INCOMPLETE,
    call_item,
    completed,
    message_item,
    refusal_part,
    text_part,
)
from assistant_runtime.api.responses.ids import output_id
from assistant_runtime.api.responses.tools import ClientTools, Form
from assistant_runtime.providers.sse import event_data
from assistant_runtime.tool_loop.options import FIELD
from assistant_runtime.tool_loop.stream import split_events

TEXT, REFUSAL = "output_text", "refusal"
"""What a message has, in the names of its events."""


class EventStream:
    """Translates one stream.

    Parameters
    ----------
    response
        The response as it begins.
    tools
        The client's tools.
    """

    def __init__(self, response: dict[str, Any], tools: ClientTools) -> None:
        self._response = response
        self._tools = tools
        self._sequence = 0
        self._output: list[dict[str, Any]] = []
        self._message: OpenMessage | None = None
        self._calls: dict[int, OpenCall] = {}
        self._chat: dict[str, Any] = {}
        self._finish_reason: str | None = None

    def begin(self) -> bytes:
        """Tell that the response has begun."""
        return self._event("response.created", response=self._response) + self._event(
            "response.in_progress", response=self._response
        )

    def feed(self, events: bytes) -> bytes:
        """Translate whole events of the chat."""
        return b"".join(event for found in split_events(events) for event in self._translate(found))

    def end(self) -> bytes:
        """Tell that the response is whole."""
        closing = b"".join(self._close())
        response = completed(self._response, self._chat, self._output, self._finish_reason)
        return closing + self._event(f"response.{response['status']}", response=response)

    def fail(self, reason: str, code: str) -> bytes:
        """Tell that the response broke off."""
        error = {"code": "server_error", "message": f"The answer is truncated: {reason}. ({code})"}
        response = {**self._response, "status": "failed", "error": error, "output": self._output}
        return self._event("response.failed", response=response)

    def _event(self, kind: str, **fields: Any) -> bytes:
        event = {"type": kind, "sequence_number": self._sequence, **fields}
        self._sequence += 1
        return b"event: " + kind.encode() + b"\ndata: " + orjson.dumps(event) + b"\n\n"

    def _translate(self, event: bytes) -> Iterator[bytes]:
        data = event_data(event)
        if not data or data == b"[DONE]":
            return
        chunk: dict[str, Any] = orjson.loads(data)
        self._chat |= {name: chunk[name] for name in ("model", "usage") if chunk.get(name)}
        told = chunk.get(FIELD)
        if isinstance(told, dict) and "step" in told:
            yield self._event("response.in_progress", response=self._response, assistant=told)
        elif told:
            self._chat[FIELD] = told
        choices = chunk.get("choices")
        if isinstance(choices, list) and choices and isinstance(choices[0], dict):
            self._finish_reason = choices[0].get("finish_reason") or self._finish_reason
            yield from self._delta(choices[0].get("delta") or {})

    def _delta(self, delta: Mapping[str, Any]) -> Iterator[bytes]:
        for name, kind in (("content", TEXT), ("refusal", REFUSAL)):
            text = delta.get(name)
            if isinstance(text, str) and text:
                yield from self._say(text, kind)
        for piece in delta.get("tool_calls") or ():
            if isinstance(piece, dict):
                yield from self._call(piece)

    def _say(self, text: str, kind: str) -> Iterator[bytes]:
        if self._message is None:
            self._message = message = OpenMessage(output_id(self._response["id"], "msg", 0), len(self._output), kind)
            item = {**message.item("in_progress"), "content": []}
            self._output.append(item)
            yield self._event("response.output_item.added", output_index=message.index, item=item)
            yield self._event("response.content_part.added", **message.place, part=message.part())
        message = self._message
        message.text.append(text)
        logprobs: dict[str, Any] = {"logprobs": []} if message.kind == TEXT else {}
        yield self._event(f"response.{message.kind}.delta", **message.place, delta=text, **logprobs)

    def _call(self, piece: Mapping[str, Any]) -> Iterator[bytes]:
        index = piece.get("index")
        index = index if isinstance(index, int) else len(self._calls)
        call = self._calls.setdefault(index, OpenCall())
        call.add(piece)
        if not call.name:
            return
        if not call.begun:
            form, place = self._tools.form(call.name), sum(each.begun for each in self._calls.values())
            item_id = output_id(self._response["id"], "ctc" if form.custom else "fc", place)
            call.begin(item_id, form, len(self._output))
            item = call.item(self._tools, "in_progress", "")
            self._output.append(item)
            yield self._event("response.output_item.added", output_index=call.index, item=item)
        arguments = call.take_new()
        # A custom tool's text is known when its argument is whole.
        if arguments and not call.form.custom:
            yield self._event("response.function_call_arguments.delta", **call.place, delta=arguments)

    def _close(self) -> Iterator[bytes]:
        if self._message is None and not self._calls:
            yield from self._say("", TEXT)
        if self._message is not None:
            yield from self._close_message(self._message)
        for call in self._calls.values():
            yield from self._close_call(call)

    def _close_call(self, call: "OpenCall") -> Iterator[bytes]:
        if not call.begun:
            # One without a name is nobody's.
            return
        item = self._output[call.index] = call.item(self._tools, "completed", call.arguments)
        if call.form.custom:
            yield self._event("response.custom_tool_call_input.delta", **call.place, delta=item["input"])
            yield self._event("response.custom_tool_call_input.done", **call.place, input=item["input"])
        else:
            said = {"name": item["name"], "arguments": item["arguments"]}
            yield self._event("response.function_call_arguments.done", **call.place, **said)
        yield self._event("response.output_item.done", output_index=call.index, item=item)

    def _close_message(self, message: "OpenMessage") -> Iterator[bytes]:
        status = "incomplete" if self._finish_reason in INCOMPLETE else "completed"
        part = message.part(self._chat.get(FIELD))
        item = self._output[message.index] = message.item(status, part)
        for place, annotation in enumerate(part.get("annotations") or ()):
            yield self._event(
                "response.output_text.annotation.added",
                **message.place,
                annotation_index=place,
                annotation=annotation,
            )
        said = {name: part[name] for name in ("text", "logprobs", "refusal") if name in part}
        yield self._event(f"response.{message.kind}.done", **message.place, **said)
        yield self._event("response.content_part.done", **message.place, part=part)
        yield self._event("response.output_item.done", output_index=message.index, item=item)


class OpenMessage:
    """The message that is being said, or in which the model refuses to answer."""

    def __init__(self, item_id: str, index: int, kind: str) -> None:
        self.index = index
        self.kind = kind
        self.text: list[str] = []
        self.place = {"item_id": item_id, "output_index": index, "content_index": 0}

    def part(self, record: Any = None) -> dict[str, Any]:
        """Give its content, as far as it is known."""
        text = "".join(self.text)
        return text_part(text, record) if self.kind == TEXT else refusal_part(text)

    def item(self, status: str, part: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Give it as an output item."""
        return message_item(str(self.place["item_id"]), part or self.part(), status)


class OpenCall:
    """A call that arrives in pieces; its item begins when its name is known."""

    def __init__(self) -> None:
        self.begun = False
        self.index = 0
        self.form = Form("")
        self._id = ""
        self._call: dict[str, Any] = {}
        self._arguments: list[str] = []
        self._told = 0

    @property
    def name(self) -> str:
        """The function's name, as far as it is known."""
        return str((self._call.get("function") or {}).get("name") or "")

    @property
    def arguments(self) -> str:
        """What has come of the arguments."""
        return "".join(self._arguments)

    @property
    def place(self) -> dict[str, Any]:
        """Where it stands in the output."""
        return {"item_id": self._id, "output_index": self.index}

    def add(self, piece: Mapping[str, Any]) -> None:
        """Take a piece."""
        function = piece.get("function") or {}
        if arguments := function.get("arguments"):
            self._arguments.append(str(arguments))
        known = self._call.get("function") or {}
        self._call = {**piece, **self._call, "function": {**function, **known}}

    def begin(self, item_id: str, form: Form, index: int) -> None:
        """Give it its place in the output."""
        self.begun, self._id, self.form, self.index = True, item_id, form, index

    def take_new(self) -> str:
        """Give the arguments that have come since the last time."""
        told, self._told = self._told, len(self._arguments)
        return "".join(self._arguments[told:])

    def item(self, tools: ClientTools, status: str, arguments: str) -> dict[str, Any]:
        """Give the call as an output item."""
        function = {"name": self.name, "arguments": arguments}
        return call_item(self._id, {**self._call, "function": function}, tools, status)
