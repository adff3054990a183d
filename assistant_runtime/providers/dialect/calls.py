"""Calls of tools, put together from the forms that providers give them: whole, or in pieces of a stream.

Pieces should have an index, one id, and arguments as text to append. Some have no index, or index 0 for every call; an
id in each piece, or an empty one; a name in pieces, or again in every piece; arguments as an object.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from assistant_runtime import json_text

LEGACY_ID = "call_0"
"""Of a `function_call`, which has none."""


def calls_of(message: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
    """Give a message's calls in OpenAI's form, each with an id of its own, which some servers leave out or repeat."""
    listed = _listed(message)
    found: list[dict[str, Any]] = []
    taken: set[str] = set()
    for call in listed:
        name, arguments = _name(call), json_text.whole(_arguments(call))
        call_id = _own_id(_id(call), len(found), taken)
        function = {**_function(call), "name": name, "arguments": arguments}
        found.append({**call, "id": call_id, "type": "function", "function": function})
    return tuple(found)


class CallPiece:
    """What one piece adds to a call.

    Attributes
    ----------
    slot
        The call's place among all, from 0.
    arguments
        Text to append.
    """

    __slots__ = ("arguments", "slot")

    def __init__(self, slot: int, arguments: str) -> None:
        self.slot = slot
        self.arguments = arguments


class StreamedCall:
    """One call that arrives in pieces."""

    __slots__ = ("_arguments", "_more", "id", "name")

    def __init__(self) -> None:
        self.id = ""
        self.name = ""
        self._arguments: list[str] = []
        self._more: dict[str, Any] = {}

    @property
    def begun(self) -> bool:
        """Whether there are arguments, after which the name is whole."""
        return bool(self._arguments)

    @property
    def arguments(self) -> str:
        """The arguments so far, as JSON text."""
        return "".join(self._arguments)

    def add(self, piece: Mapping[str, Any]) -> str:
        """Take a piece; gives the arguments' text that it adds."""
        self.id = self.id or _id(piece)
        self._add_name(_name(piece))
        self._more |= {
            name: value for name, value in piece.items() if value and name not in {"id", "index", "type", "function"}
        }
        text = _arguments(piece)
        if text:
            self._arguments.append(text)
        return text

    @property
    def more(self) -> dict[str, Any]:
        """What the provider gave beside id, name and arguments, such as a signature."""
        return self._more

    def whole(self) -> dict[str, Any]:
        """Give the call as a message has it."""
        function = {"name": self.name, "arguments": json_text.whole(self.arguments)}
        return {**self._more, "id": self.id, "type": "function", "function": function}

    def _add_name(self, name: str) -> None:
        """Take a name: the whole one, one more piece, or the same again."""
        if not name or name == self.name or self.begun:
            self.name = self.name or name
        elif name.startswith(self.name):
            self.name = name
        else:
            self.name += name


class StreamedCalls:
    """The calls of one streamed answer."""

    def __init__(self) -> None:
        self._calls: list[StreamedCall] = []
        self._slots: dict[Any, int] = {}
        """By index, as far as the provider tells one."""

    def __getitem__(self, slot: int) -> StreamedCall:
        return self._calls[slot]

    def __len__(self) -> int:
        return len(self._calls)

    def feed(self, delta: Mapping[str, Any]) -> Iterator[CallPiece]:
        """Take a delta's pieces; yields what each adds, in order."""
        for piece in _listed(delta):
            slot = self._slot(piece)
            yield CallPiece(slot, self._calls[slot].add(piece))

    def own_id(self, slot: int) -> str:
        """Give a call's id, by which no call before it goes."""
        taken: set[str] = set()
        return [_own_id(call.id, place, taken) for place, call in enumerate(self._calls[: slot + 1])][-1]

    def whole(self) -> tuple[dict[str, Any], ...]:
        """Give all calls as a message has them."""
        return calls_of({"tool_calls": [call.whole() for call in self._calls]})

    def _slot(self, piece: Mapping[str, Any]) -> int:
        """Give the place of the call that a piece belongs to; a new one where it begins another."""
        index, call_id = _index(piece.get("index")), _id(piece)
        known = self._slots.get(index) if index is not None else self._by_id(call_id)
        if known is not None and not self._begins_another(known, piece, call_id):
            return known
        if known is None and index is None and not call_id and not _name(piece) and self._calls:
            # Arguments alone go on with the call before.
            return len(self._calls) - 1
        self._calls.append(StreamedCall())
        if index is not None:
            self._slots[index] = len(self._calls) - 1
        return len(self._calls) - 1

    def _by_id(self, call_id: str) -> int | None:
        if not call_id:
            return None
        return next((slot for slot, call in enumerate(self._calls) if call.id == call_id), None)

    def _begins_another(self, slot: int, piece: Mapping[str, Any], call_id: str) -> bool:
        """Whether a piece of a known index is a call of its own: another id, and a name."""
        call = self._calls[slot]
        if not _name(piece) or not call.name:
            return False
        if call_id and call.id:
            return call_id != call.id
        return call.begun and _is_whole_json(call.arguments)


def _listed(message: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Give the calls of a message or a delta; a `function_call`, which they replaced, is one."""
    calls = message.get("tool_calls")
    if isinstance(calls, dict):
        calls = [calls]
    if isinstance(calls, list) and calls:
        return [call for call in calls if isinstance(call, dict)]
    legacy = message.get("function_call")
    return [{"id": LEGACY_ID, "index": 0, "function": legacy}] if isinstance(legacy, dict) and legacy else ()


def _function(call: Mapping[str, Any]) -> Mapping[str, Any]:
    """Give what is called; some leave the envelope out."""
    function = call.get("function")
    return (
        function if isinstance(function, dict) else {name: call[name] for name in ("name", "arguments") if name in call}
    )


def _id(call: Mapping[str, Any]) -> str:
    return json_text.whole(str(call.get("id") or ""))


def _name(call: Mapping[str, Any]) -> str:
    name = _function(call).get("name")
    return json_text.whole(name) if isinstance(name, str) else ""


def _arguments(call: Mapping[str, Any]) -> str:
    arguments = _function(call).get("arguments")
    if isinstance(arguments, str):
        return arguments
    return "" if arguments is None else json_text.dumps(arguments).decode()


def _index(value: Any) -> int | None:
    if isinstance(value, str) and value.isdecimal():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _own_id(call_id: str, place: int, taken: set[str]) -> str:
    if not call_id or call_id in taken:
        call_id = f"{call_id or 'call'}_{place}"
    taken.add(call_id)
    return call_id


def _is_whole_json(text: str) -> bool:
    try:
        json_text.loads(text.encode("utf-8", "replace"))
    except ValueError:
        return False
    return True
