"""Output items that are still arriving: the message, a call, thoughts."""

from collections.abc import Mapping
from typing import Any

from assistant_runtime import json_text
from assistant_runtime.api.responses.answer import call_item, message_item, refusal_part, text_part
from assistant_runtime.api.responses.reasoning import reasoning_item
from assistant_runtime.api.responses.tools import ClientTools, Form
from assistant_runtime.providers.dialect.calls import StreamedCall
from assistant_runtime.providers.dialect.thoughts import StreamedThoughts

TEXT, REFUSAL = "output_text", "refusal"
"""What a message has, in the names of its events."""


class OpenMessage:
    """The message that is being said, or in which the model refuses to answer."""

    def __init__(self, item_id: str, index: int, kind: str) -> None:
        self.index = index
        self.kind = kind
        self.text: list[str] = []
        self.logprobs: list[Any] = []
        self.place = {"item_id": item_id, "output_index": index, "content_index": 0}

    def part(self, record: Any = None) -> dict[str, Any]:
        """Give its content, as far as it is known."""
        text = json_text.whole("".join(self.text))
        return text_part(text, record, self.logprobs) if self.kind == TEXT else refusal_part(text)

    def item(self, status: str, part: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Give it as an output item."""
        return message_item(str(self.place["item_id"]), part or self.part(), status)


class OpenCall:
    """A call that arrives in pieces; its item begins when its name is known.

    Parameters
    ----------
    call
        What has arrived of it.
    own_id
        The id by which its result will refer to it.
    """

    def __init__(self, call: StreamedCall, own_id: str, item_id: str, form: Form, index: int) -> None:
        self.form = form
        self.index = index
        self.place = {"item_id": item_id, "output_index": index}
        """Where it stands in the output."""
        self._call = call
        self._own_id = own_id

    def item(self, tools: ClientTools, status: str) -> dict[str, Any]:
        """Give the call as an output item, with its arguments once it is completed."""
        arguments = self._call.arguments if status == "completed" else ""
        call = {"id": self._own_id, "function": {"name": self._call.name, "arguments": arguments}}
        return call_item(str(self.place["item_id"]), call, tools, status)


class OpenThoughts:
    """Thoughts that arrive in pieces.

    Parameters
    ----------
    summary
        Whether their text is given as the summary.
    """

    def __init__(self, item_id: str, index: int, *, summary: bool) -> None:
        self.index = index
        self.place = {"item_id": item_id, "output_index": index}
        self.event = "response.reasoning_summary_text" if summary else "response.reasoning_text"
        self.part_event = "response.reasoning_summary_part" if summary else "response.content_part"
        self.part_place = {**self.place, "summary_index" if summary else "content_index": 0}
        self.text: list[str] = []
        self.fields = StreamedThoughts()
        self._summary = summary

    def part(self) -> dict[str, Any]:
        """Give the text so far, as a part of the item."""
        kind = "summary_text" if self._summary else "reasoning_text"
        return {"type": kind, "text": json_text.whole("".join(self.text))}

    def item(self, *, whole: bool) -> dict[str, Any]:
        """Give the thoughts as an output item."""
        fields = self.fields.fields() if whole else {}
        return reasoning_item(str(self.place["item_id"]), fields, summary=self._summary, whole=whole)
