"""A chat's stream as the Responses API's typed events."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from assistant_runtime import json_text
from assistant_runtime.api.responses.answer import INCOMPLETE, completed
from assistant_runtime.api.responses.ids import output_id
from assistant_runtime.api.responses.logprobs import logprobs_of
from assistant_runtime.api.responses.open_items import REFUSAL, TEXT, OpenCall, OpenMessage, OpenThoughts
from assistant_runtime.api.responses.reasoning import KIND, wants_summary
from assistant_runtime.api.responses.tools import ClientTools
from assistant_runtime.providers.dialect.calls import StreamedCalls
from assistant_runtime.providers.dialect.reading import (
    finish_reason,
    is_failure,
    reasoning_of,
    said_in,
    text_of,
    usage_of,
)
from assistant_runtime.providers.sse import DONE_DATA, event_data
from assistant_runtime.tool_loop.options import FIELD
from assistant_runtime.tool_loop.stream import split_events


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
        self._pieces = StreamedCalls()
        self._calls: dict[int, OpenCall] = {}
        self._thoughts: OpenThoughts | None = None
        self._thoughts_told = 0
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
        if is_failure(self._finish_reason):
            return self.fail(f"the model ended with {self._finish_reason}", "provider_stream_error")
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
        return b"event: " + kind.encode() + b"\ndata: " + json_text.dumps(event) + b"\n\n"

    def _translate(self, event: bytes) -> Iterator[bytes]:
        data = event_data(event)
        if not data or data in DONE_DATA:
            return
        chunk: dict[str, Any] = json_text.loads(data)
        self._chat |= {"model": chunk.get("model") or self._chat.get("model")}
        if counted := usage_of(chunk):
            self._chat["usage"] = counted
        told = chunk.get(FIELD)
        if isinstance(told, dict) and "step" in told:
            yield self._event("response.in_progress", response=self._response, assistant=told)
        elif told:
            self._chat[FIELD] = told
        choices = chunk.get("choices")
        if isinstance(choices, list) and choices and isinstance(choices[0], dict):
            self._finish_reason = finish_reason(choices[0].get("finish_reason")) or self._finish_reason
            yield from self._delta(said_in(choices[0]), choices[0])

    def _delta(self, delta: Mapping[str, Any], choice: Mapping[str, Any]) -> Iterator[bytes]:
        yield from self._think(delta)
        if text := text_of(delta.get("content")):
            yield from self._say(text, TEXT, logprobs_of(choice))
        if text := text_of(delta.get("refusal")):
            yield from self._say(text, REFUSAL)
        for piece in self._pieces.feed(delta):
            yield from self._call(piece.slot, piece.arguments)

    def _think(self, delta: Mapping[str, Any]) -> Iterator[bytes]:
        """Tell thoughts; an item of them begins with its first text."""
        text = reasoning_of(delta)
        if text and self._thoughts is None:
            item_id = output_id(self._response["id"], KIND, self._thoughts_told)
            summary = wants_summary(self._response)
            self._thoughts = thoughts = OpenThoughts(item_id, len(self._output), summary=summary)
            self._thoughts_told += 1
            item = thoughts.item(whole=False)
            self._output.append(item)
            yield self._event("response.output_item.added", output_index=thoughts.index, item=item)
            yield self._event(f"{thoughts.part_event}.added", **thoughts.part_place, part=thoughts.part())
        if self._thoughts is None:
            return
        self._thoughts.fields.add(delta)
        if text:
            self._thoughts.text.append(text)
            yield self._event(f"{self._thoughts.event}.delta", **self._thoughts.part_place, delta=text)

    def _end_thoughts(self) -> Iterator[bytes]:
        thoughts, self._thoughts = self._thoughts, None
        if thoughts is None:
            return
        part = thoughts.part()
        item = self._output[thoughts.index] = thoughts.item(whole=True)
        yield self._event(f"{thoughts.event}.done", **thoughts.part_place, text=part["text"])
        yield self._event(f"{thoughts.part_event}.done", **thoughts.part_place, part=part)
        yield self._event("response.output_item.done", output_index=thoughts.index, item=item)

    def _say(self, text: str, kind: str, probabilities: Sequence[Any] = ()) -> Iterator[bytes]:
        yield from self._end_thoughts()
        if self._message is None:
            self._message = message = OpenMessage(output_id(self._response["id"], "msg", 0), len(self._output), kind)
            item = {**message.item("in_progress"), "content": []}
            self._output.append(item)
            yield self._event("response.output_item.added", output_index=message.index, item=item)
            yield self._event("response.content_part.added", **message.place, part=message.part())
        message = self._message
        message.text.append(text)
        message.logprobs += probabilities
        logprobs: dict[str, Any] = {"logprobs": list(probabilities)} if message.kind == TEXT else {}
        yield self._event(f"response.{message.kind}.delta", **message.place, delta=text, **logprobs)

    def _call(self, slot: int, arguments: str) -> Iterator[bytes]:
        """Tell a piece of a call, once its name is whole: when there are arguments."""
        call = self._calls.get(slot)
        if call is None:
            if self._pieces[slot].name and self._pieces[slot].begun:
                yield from self._open_call(slot)
            return
        # A custom tool's text is known when its argument is whole.
        if arguments and not call.form.custom:
            yield self._event("response.function_call_arguments.delta", **call.place, delta=arguments)

    def _open_call(self, slot: int) -> Iterator[bytes]:
        yield from self._end_thoughts()
        piece = self._pieces[slot]
        form = self._tools.form(piece.name)
        item_id = output_id(self._response["id"], "ctc" if form.custom else "fc", len(self._calls))
        call = self._calls[slot] = OpenCall(piece, self._pieces.own_id(slot), item_id, form, len(self._output))
        item = call.item(self._tools, "in_progress")
        self._output.append(item)
        yield self._event("response.output_item.added", output_index=call.index, item=item)
        if piece.arguments and not form.custom:
            yield self._event("response.function_call_arguments.delta", **call.place, delta=piece.arguments)

    def _close(self) -> Iterator[bytes]:
        for slot in range(len(self._pieces)):
            # Those without arguments; one without a name is nobody's.
            if slot not in self._calls and self._pieces[slot].name:
                yield from self._open_call(slot)
        yield from self._end_thoughts()
        if self._message is None and not self._calls:
            yield from self._say("", TEXT)
        if self._message is not None:
            yield from self._close_message(self._message)
        for call in self._calls.values():
            yield from self._close_call(call)

    def _close_call(self, call: OpenCall) -> Iterator[bytes]:
        item = self._output[call.index] = call.item(self._tools, "completed")
        if call.form.custom:
            yield self._event("response.custom_tool_call_input.delta", **call.place, delta=item["input"])
            yield self._event("response.custom_tool_call_input.done", **call.place, input=item["input"])
        else:
            said = {"name": item["name"], "arguments": item["arguments"]}
            yield self._event("response.function_call_arguments.done", **call.place, **said)
        yield self._event("response.output_item.done", output_index=call.index, item=item)

    def _close_message(self, message: OpenMessage) -> Iterator[bytes]:
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
