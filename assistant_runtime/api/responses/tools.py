"""The request's tools as functions of a chat, and the calls of these functions in the client's own words.

A chat has functions in one list and nothing else. So a member of a namespace is a function whose name begins with the
namespace's, and a custom tool, which takes a text, is a function with that text as its only argument. A hosted tool
that is not there is left out, and the answer says so: clients name such tools with every request, needed or not.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from assistant_runtime.api.responses.checks import bad, text_field

WEB_SEARCH = frozenset({"web_search", "web_search_2025_08_26", "web_search_preview", "web_search_preview_2025_03_11"})
"""OpenAI's own search tool in its versions: here it is the runtime's `web_search`."""

CLIENTS = frozenset({"function", "custom"})
"""Tools that the client runs. All others are OpenAI's own, of which there are more every year."""

SHOWN: Mapping[str, Mapping[str, Any]] = {"function": {"description": None, "parameters": None, "strict": None}}
"""Fields that a tool has in a response also where the client left them out."""

FUNCTION_FIELDS = ("description", "parameters", "strict")
MAX_NAME_CHARACTERS = 64
NAME = re.compile(rf"[A-Za-z0-9_-]{{1,{MAX_NAME_CHARACTERS}}}")
"""What providers take as a function's name."""

INPUT = "input"
"""The argument that has a custom tool's text."""


@dataclass(frozen=True, slots=True)
class Form:
    """What a function of the chat is to the client."""

    name: str
    namespace: str = ""
    custom: bool = False


@dataclass(slots=True)
class ClientTools:
    """What a request's tools become."""

    functions: list[dict[str, Any]] = field(default_factory=list)
    """As a chat has them."""
    shown: list[dict[str, Any]] = field(default_factory=list)
    """As the client sent them, but for those that are left out."""
    searches: bool = False
    """Whether the runtime's own web search is wanted."""
    notes: list[str] = field(default_factory=list)
    """What is left out, and why."""
    choice: Any = "auto"
    """The choice that the response tells."""
    forms: dict[str, Form] = field(default_factory=dict)

    def form(self, chat_name: str) -> Form:
        """Give what the client calls a function; models leave a namespace out at times."""
        known = self.forms.get(chat_name)
        if known is None:
            meant = [form for form in self.forms.values() if form.name == chat_name]
            known = meant[0] if len(meant) == 1 else Form(chat_name)
        return known

    def add(self, tool: Mapping[str, Any], where: str, namespace: str = "") -> None:
        """Take a function or a custom tool; raises ApiError 400."""
        form = Form(text_field(tool, "name", where), namespace, tool["type"] == "custom")
        if not form.name:
            raise bad(f"{where}.name", "must not be empty")
        name = chat_name(form.name, namespace)
        if name in self.forms:
            raise bad(f"{where}.name", f"there is another tool of the name {form.name!r}")
        function = {"name": name, **(_custom(tool) if form.custom else _function(tool))}
        self.functions.append({"type": "function", "function": function})
        self.forms[name] = form

    def only(self, chosen: Sequence[str]) -> None:
        """Offer these functions alone; calls of others, in what was said before, keep their form."""
        self.functions = [each for each in self.functions if each["function"]["name"] in chosen]


def chat_name(name: str, namespace: str = "") -> str:
    """Give the name of the function that stands for a client's tool, the same in every request."""
    joined = f"{namespace}__{name}" if namespace else name
    if not namespace or NAME.fullmatch(joined):
        return joined
    told_apart = hashlib.sha256(joined.encode()).hexdigest()[:8]
    return f"{re.sub('[^A-Za-z0-9_-]', '_', joined)[: MAX_NAME_CHARACTERS - 9]}_{told_apart}"


def client_tools(tools: Sequence[Mapping[str, Any]], *, can_search: bool) -> ClientTools:
    """Read a request's tools.

    Parameters
    ----------
    tools
        As the client sent them.
    can_search
        Whether the runtime has a web search.

    Raises
    ------
    ApiError
        400: a tool is malformed, or two have one name.
    """
    found = ClientTools()
    for place, tool in enumerate(tools):
        where = f"tools[{place}]"
        kind = text_field(tool, "type", where)
        if kind in CLIENTS:
            found.add(tool, where)
        elif kind == "namespace":
            _add_members(found, tool, where)
        elif kind in WEB_SEARCH and can_search:
            found.searches = True
        else:
            found.notes.append(_left_out(kind))
            continue
        found.shown.append({**SHOWN.get(kind, {}), **tool})
    return found


def tool_choice(choice: Any, tools: ClientTools) -> Any:
    """Give the choice as a chat has it, None for the chat's own; may bound or note what is offered.

    Raises
    ------
    ApiError
        400: it names no tool.
    """
    tools.choice = choice
    if isinstance(choice, str):
        if choice not in {"auto", "none", "required"}:
            raise bad("tool_choice", "must be auto, none, required, or an object that names a tool")
        offered = tools.functions or tools.searches or choice == "none"
        return choice if offered and (choice != "auto" or tools.functions) else None
    kind = text_field(choice, "type", "tool_choice")
    if kind == "allowed_tools":
        return _allowed(choice, tools)
    if kind in WEB_SEARCH and tools.searches:
        return _named("web_search")
    if kind not in CLIENTS:
        tools.choice = "auto"
        tools.notes.append(f"tool_choice: {kind} is not offered, so the model decides")
        return None
    return _named(_chosen(choice, "tool_choice"))


def call_arguments(text: str) -> str:
    """Write a custom tool's text as the arguments of its function."""
    return orjson.dumps({INPUT: text}).decode()


def custom_input(arguments: str) -> str:
    """Give the text of a custom tool's call; a model that wrote plain text, or another name for it, is understood."""
    try:
        parsed = orjson.loads(arguments)
    except orjson.JSONDecodeError:
        return arguments
    if not isinstance(parsed, dict):
        return parsed if isinstance(parsed, str) else arguments
    texts = [parsed[INPUT]] if INPUT in parsed else list(parsed.values())
    return texts[0] if len(texts) == 1 and isinstance(texts[0], str) else arguments


def _add_members(found: ClientTools, namespace: Mapping[str, Any], where: str) -> None:
    name, members = text_field(namespace, "name", where), namespace.get("tools")
    if not isinstance(members, list):
        raise bad(f"{where}.tools", "must be a list of tools")
    for place, member in enumerate(members):
        inside = f"{where}.tools[{place}]"
        if text_field(member, "type", inside) not in CLIENTS:
            raise bad(f"{inside}.type", "must be function or custom")
        found.add(member, inside, name)
    if members and namespace.get("description"):
        first = found.functions[-len(members)]["function"]
        first["description"] = f"{name}: {namespace['description']}\n\n{first.get('description') or ''}".strip()


def _function(tool: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tool[name] for name in FUNCTION_FIELDS if tool.get(name) is not None}


def _custom(tool: Mapping[str, Any]) -> dict[str, Any]:
    """Describe the text by its grammar, which a function's schema can't hold."""
    description = str(tool.get("description") or "")
    text_format = tool.get("format")
    if isinstance(text_format, dict) and text_format.get("type") == "grammar":
        grammar = f"`{INPUT}` must match this {text_format.get('syntax')} grammar:\n{text_format.get('definition')}"
        description = f"{description}\n\n{grammar}".strip()
    parameters = {
        "type": "object",
        "properties": {INPUT: {"type": "string", "description": "The whole text for the tool."}},
        "required": [INPUT],
        "additionalProperties": False,
    }
    return {**({"description": description} if description else {}), "parameters": parameters}


def _left_out(kind: str) -> str:
    if kind in WEB_SEARCH:
        return f"tools: {kind} was left out: this assistant has no web search (SEARXNG_URL or FIRECRAWL_URL)"
    return f"tools: {kind} was left out: this assistant does not run it"


def _allowed(choice: Mapping[str, Any], tools: ClientTools) -> Any:
    allowed = choice.get("tools")
    if choice.get("mode") not in {"auto", "required"} or not isinstance(allowed, list):
        raise bad("tool_choice", "allowed_tools needs `mode` (auto or required) and `tools`")
    kinds = [text_field(each, "type", f"tool_choice.tools[{place}]") for place, each in enumerate(allowed)]
    tools.searches = tools.searches and any(kind in WEB_SEARCH for kind in kinds)
    tools.only(
        [
            _chosen(each, f"tool_choice.tools[{place}]")
            for place, (kind, each) in enumerate(zip(kinds, allowed, strict=True))
            if kind in CLIENTS
        ]
    )
    mode = tool_choice(choice["mode"], tools)
    tools.choice = dict(choice)
    return mode


def _chosen(choice: Mapping[str, Any], where: str) -> str:
    return chat_name(text_field(choice, "name", where), str(choice.get("namespace") or ""))


def _named(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name}}
