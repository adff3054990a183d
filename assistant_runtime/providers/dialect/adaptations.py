"""What a request may be changed into when a provider refuses it: one table.

Three kinds of change are made. What means the same is rewritten silently. What the runtime itself has added is taken
back. Hints that a model may not take, such as a temperature, are left out, and the client is told so. What a client
builds on - its tools, the form of the answer, where it stops - is never left out: then the refusal is its answer.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from assistant_runtime.providers.dialect import messages
from assistant_runtime.providers.dialect.reading import REASONING_FIELDS
from assistant_runtime.providers.dialect.refusal import Refusal

HINTS = (
    *("top_p", "temperature", "presence_penalty", "frequency_penalty", "top_k", "min_p", "repetition_penalty", "seed"),
    *("verbosity", "service_tier", "store", "metadata", "user", "safety_identifier"),
    *("prompt_cache_key", "prompt_cache_retention"),
)
"""Fields that shape an answer or its accounting, without which it still is the answer that was asked for."""

TOOL_FIELDS = ("tools", "tool_choice", "parallel_tool_calls")

CALL_ID = re.compile(r"tool.?call.?id|tool_use.?ids?|tool_calls?\W.*\bid\b|function call id")
MISSING = re.compile(r"missing|must be (passed|provided|sent)|pass(ed)? back|required")
NO_TEXT = re.compile(r"null|none\b|nonetype|required|missing|must (not be empty|have)|valid string|expected a string")


@dataclass(slots=True)
class Asked:
    """A request on its way to one provider."""

    payload: dict[str, Any]
    own_tools: frozenset[str] = frozenset()
    """Names of the functions that the runtime offers."""
    own_fields: frozenset[str] = frozenset()
    """Fields that the runtime has added."""


Change = Callable[[Asked], dict[str, Any] | None]
"""Gives the changed request; None where there is nothing to change."""


@dataclass(frozen=True, slots=True)
class Adaptation:
    """One change that a request may need."""

    name: str
    concerns: Callable[[Refusal, Asked], bool]
    change: Change
    left_out: str = ""
    """The field that the client has asked for, and does not get."""


def find(refusal: Refusal, asked: Asked, used: Sequence[Adaptation]) -> tuple[Adaptation, dict[str, Any]] | None:
    """Give the change that a refusal asks for, and the changed request; None: the refusal is the answer."""
    own_tools = tuple(_without_own_tools(refusal, asked))
    # The runtime's tools are taken back before anything that the client asked for.
    last = (*own_tools, *LEFT_OUT) if refusal.about_tools else (*LEFT_OUT, *own_tools)
    for adaptation in (*TABLE, *last):
        if any(adaptation.name == each.name for each in used) or not adaptation.concerns(refusal, asked):
            continue
        changed = adaptation.change(asked)
        if changed is not None:
            return adaptation, changed
    return None


def _field(name: str) -> Adaptation:
    return Adaptation(
        f"without {name}",
        lambda refusal, asked: name in asked.payload and refusal.names(name) and refusal.unsupported,
        lambda asked: _without(asked, name),
        left_out=name,
    )


def _renamed(old: str, new: str, concerns: Callable[[Refusal], bool]) -> Adaptation:
    def change(asked: Asked) -> dict[str, Any] | None:
        if old not in asked.payload or new in asked.payload:
            return None
        return {new if name == old else name: value for name, value in asked.payload.items()}

    return Adaptation(f"{new} for {old}", lambda refusal, _: concerns(refusal), change)


def _messages(
    name: str,
    concerns: Callable[[Refusal], bool],
    change: Callable[[Sequence[dict[str, Any]]], messages.Messages | None],
    left_out: str = "",
) -> Adaptation:
    def changed(asked: Asked) -> dict[str, Any] | None:
        found = change(asked.payload.get("messages") or ())
        return None if found is None else {**asked.payload, "messages": found}

    return Adaptation(name, lambda refusal, _: concerns(refusal), changed, left_out)


def _without(asked: Asked, *names: str) -> dict[str, Any] | None:
    if not any(name in asked.payload for name in names):
        return None
    return {name: value for name, value in asked.payload.items() if name not in names}


def _names_reasoning(refusal: Refusal) -> bool:
    return any(refusal.names(name) for name in REASONING_FIELDS)


def _about_role(refusal: Refusal, role: str) -> bool:
    return (
        role in refusal.words
        or "message role" in refusal.words
        or (bool(refusal.place) and refusal.place[-1] == "role")
    )


def _calls_without_tools(refusal: Refusal, asked: Asked) -> bool:
    return not asked.payload.get("tools") and refusal.about_tools


def _is_redundant_choice(refusal: Refusal, asked: Asked) -> bool:
    return asked.payload.get("tool_choice") == "auto" and (
        "tool_choice" in refusal.place or "tool_choice" in refusal.words
    )


def _without_strict(asked: Asked) -> dict[str, Any] | None:
    """Leave it to the client to check what a model calls its tools with, as it has to anyway."""
    tools = [_unstrict(tool) for tool in asked.payload.get("tools") or ()]
    changed = tools != (asked.payload.get("tools") or [])
    return {**asked.payload, "tools": tools} if changed else None


def _unstrict(tool: Any) -> Any:
    function = tool.get("function") if isinstance(tool, dict) else None
    if not isinstance(function, dict) or "strict" not in function:
        return tool
    return {**tool, "function": {name: value for name, value in function.items() if name != "strict"}}


def _rewritten(asked: Asked, change: Callable[[Sequence[dict[str, Any]]], messages.Messages | None]) -> Any:
    found = change(asked.payload.get("messages") or ())
    return None if found is None else {**asked.payload, "messages": found}


TABLE: tuple[Adaptation, ...] = (
    _renamed(
        "max_tokens", "max_completion_tokens", lambda it: it.names("max_completion_tokens") and it.names("max_tokens")
    ),
    _renamed("max_completion_tokens", "max_tokens", lambda it: it.names("max_completion_tokens") and it.unsupported),
    Adaptation(
        "without stream_options",
        lambda refusal, _: refusal.names("stream_options") or refusal.names("include_usage"),
        lambda asked: _without(asked, "stream_options"),
        left_out="stream_options",
    ),
    _messages("developer as system", lambda it: _about_role(it, "developer"), messages.developer_as_system),
    _messages(
        "the system first",
        lambda it: "system" in it.words or "alternat" in it.words or _about_role(it, "developer"),
        messages.system_first,
    ),
    _messages("alternating roles", lambda it: "alternat" in it.words, messages.alternating),
    _messages(
        "the system as user",
        lambda it: (
            (_about_role(it, "system") or "developer instruction" in it.words)
            and (it.unsupported or "role" in it.words or bool(it.place))
        ),
        messages.system_as_user,
    ),
    _messages(
        "with reasoning_content",
        lambda it: _names_reasoning(it) and bool(MISSING.search(it.words)) and not it.unsupported,
        messages.with_reasoning_content,
    ),
    _messages("without reasoning", _names_reasoning, messages.without_reasoning),
    _messages("with signatures", lambda it: "thought_signature" in it.words, messages.with_signatures),
    _messages(
        "with short ids",
        lambda it: bool(CALL_ID.search(it.words)) or (len(it.place) > 1 and it.place[-1] in {"id", "tool_call_id"}),
        messages.with_short_ids,
    ),
    _messages(
        "content as text",
        lambda it: it.names("content") or "expected a string" in it.words or "must be a string" in it.words,
        messages.content_as_text,
    ),
    _messages(
        "content that is not null",
        lambda it: it.names("content") and bool(NO_TEXT.search(it.words)),
        messages.content_not_null,
    ),
    _messages(
        "without names",
        lambda it: it.names("name") and it.unsupported and "tools" not in it.place,
        messages.without_names,
        left_out="messages.name",
    ),
    Adaptation("without tool_choice", _is_redundant_choice, lambda asked: _without(asked, "tool_choice")),
    _field("parallel_tool_calls"),
    Adaptation(
        "calls as text",
        _calls_without_tools,
        lambda asked: _rewritten(asked, messages.calls_as_text),
    ),
)
"""What means the same, and what is about tools."""

LEFT_OUT: tuple[Adaptation, ...] = (
    *(_field(name) for name in HINTS),
    *(
        Adaptation(
            f"without {name}, called a penalty",
            lambda refusal, _: "penalty" in refusal.words and refusal.unsupported,
            lambda asked, name=name: _without(asked, name),  # type: ignore[misc]  # bound here
            left_out=name,
        )
        for name in ("presence_penalty", "frequency_penalty")
    ),
    Adaptation(
        "without strict",
        lambda refusal, _: refusal.names("strict") and refusal.unsupported,
        _without_strict,
        left_out="tools.strict",
    ),
    Adaptation(
        "without reasoning_effort",
        lambda refusal, _: (
            refusal.names("reasoning_effort") and refusal.unsupported and "supported values" not in refusal.words
        ),
        lambda asked: _without(asked, "reasoning_effort"),
        left_out="reasoning_effort",
    ),
)


"""Hints, of which the client is told."""


def _without_own_tools(refusal: Refusal, asked: Asked) -> Iterator[Adaptation]:
    """Take back what the runtime offers: the tool that is named, or all, whatever the words are."""
    if not asked.own_tools:
        return
    for name in _named_tools(refusal, asked):
        yield Adaptation(
            f"without the tool {name}",
            lambda _, __: True,
            lambda asked, name=name: without_tools(asked, frozenset({name})),  # type: ignore[misc]  # bound here
        )
    yield Adaptation("without the server's tools", _may_be_about_tools, without_tools)


def _named_tools(refusal: Refusal, asked: Asked) -> Iterator[str]:
    place = refusal.place
    tools = asked.payload.get("tools") or []
    if len(place) > 1 and place[0] == "tools" and place[1].isdecimal() and int(place[1]) < len(tools):
        name = tool_name(tools[int(place[1])])
        if name in asked.own_tools:
            yield name
    yield from (name for name in sorted(asked.own_tools) if refusal.names(name.lower()))


def _may_be_about_tools(refusal: Refusal, asked: Asked) -> bool:
    if not refusal.of_request:
        return refusal.about_tools
    return not refusal.elsewhere(
        asked.payload, *TOOL_FIELDS, "messages", "response_format", "reasoning_effort", "stream"
    )


def without_tools(asked: Asked, names: frozenset[str] | None = None) -> dict[str, Any] | None:
    """Give the request without these of the runtime's tools, or without all of them."""
    removed = asked.own_tools if names is None else names & asked.own_tools
    tools = asked.payload.get("tools") or []
    left = [tool for tool in tools if tool_name(tool) not in removed]
    if len(left) == len(tools):
        return None
    if not left:
        return _without(asked, *TOOL_FIELDS)
    choice = asked.payload.get("tool_choice")
    payload = {**asked.payload, "tools": left}
    if tool_name(choice) in removed:
        del payload["tool_choice"]
    return payload


def tool_name(tool: Any) -> str:
    """Give the function's name of a tool or a choice; empty for anything else."""
    function = tool.get("function") if isinstance(tool, dict) else None
    return str(function.get("name") or "") if isinstance(function, dict) else ""
