"""What is sent to the model in each round: the client's request, with tools, agents and results worked in.

The client's own tools stand beside the runtime's. A name that both use is the client's. Only the runtime's tools are
taken away for the last round, so that a client's tools work to the end.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from assistant_runtime import json_text
from assistant_runtime.agents.base import HANDOFF_PREFIX
from assistant_runtime.providers.dialect.adaptations import tool_name
from assistant_runtime.providers.dialect.thoughts import with_thoughts
from assistant_runtime.settings.agents import Agent
from assistant_runtime.stores.tool_pairing import paired
from assistant_runtime.tool_loop.options import FIELD
from assistant_runtime.tools.base import Tool

SYSTEM_ROLES = ("system", "developer")
TOOL_FIELDS = ("tools", "tool_choice", "parallel_tool_calls")


@dataclass(frozen=True, slots=True)
class Round:
    """What the model answered in one round."""

    content: str
    calls: tuple[Mapping[str, Any], ...]
    """The calls, each as the model's message has it."""
    finish_reason: str | None
    """In OpenAI's words."""
    thoughts: Mapping[str, Any]
    """What the model thought, in the fields in which it came: some providers want these back."""
    refusal: str = ""
    """Why the model refused to answer, where it said so apart."""

    @property
    def text(self) -> str:
        """What the model said, be it that it refuses."""
        return self.content or self.refusal


class Conversation:
    """One question's growing conversation.

    Parameters
    ----------
    payload
        The client's request.
    """

    def __init__(self, payload: Mapping[str, Any]) -> None:
        self._base = {name: value for name, value in payload.items() if name not in {FIELD, "messages", *TOOL_FIELDS}}
        self._choice = {name: payload[name] for name in TOOL_FIELDS[1:] if name in payload}
        self._messages: list[Any] = list(payload["messages"])
        self._kept: list[Any] = [message for message in self._messages if message.get("role") not in SYSTEM_ROLES]
        self.asked = len(self._kept)
        """How many of the turn's messages are the client's."""
        self._client_tools: list[Any] = list(payload.get("tools") or ())
        self._client_names = {tool_name(tool) for tool in self._client_tools}
        self._tools: Mapping[str, Tool] = {}
        self._handoffs: Mapping[str, Agent] = {}
        self.agent: Agent | None = None
        self.final = False
        """Whether this round goes without the runtime's tools."""

    @property
    def tools(self) -> Mapping[str, Tool]:
        """The runtime's tools that are offered in this round."""
        return {} if self.final else self._tools

    @property
    def handoffs(self) -> Mapping[str, Agent]:
        """The agents that may be handed over to in this round, by the function's name."""
        return {} if self.final else self._handoffs

    @property
    def own_tools(self) -> frozenset[str]:
        """The names of all functions that the runtime offers in this round."""
        return frozenset() if self.final else frozenset((*self._tools, *self._handoffs))

    @property
    def kept(self) -> list[Any]:
        """What the turn adds to its session: all but system messages, which each request brings anew."""
        return list(self._kept)

    def remember(self, history: Sequence[Any]) -> None:
        """Put a session's messages before the client's new ones; raises ApiError if the two don't fit together."""
        self._messages = following(history, self._messages)

    def offer(self, tools: Mapping[str, Tool]) -> None:
        """Offer these tools from now on."""
        self._tools = {name: tool for name, tool in tools.items() if name not in self._client_names}

    def act_as(self, agent: Agent, handoffs: Iterable[Agent]) -> None:
        """Let this agent answer from now on."""
        self.agent = agent
        self._handoffs = {f"{HANDOFF_PREFIX}{other.name}": other for other in handoffs}
        self._base["model"] = agent.model or "default"

    def is_clients(self, name: str) -> bool:
        """Whether a call of that name is for the client: one of its tools, or none of anybody's that it may know."""
        if name in self._client_names:
            return True
        return bool(self._client_tools) and name not in self._tools and name not in self._handoffs

    def payload(self) -> dict[str, Any]:
        """Give this round's request."""
        messages = self._messages
        if self.agent is not None:
            messages = [{"role": "system", "content": self.agent.prompt}, *messages]
        tools = [*self._client_tools, *self._offered()]
        return {**self._base, "messages": messages, **self._tool_fields(tools)}

    def add(self, found: Round, answers: Mapping[str, str]) -> None:
        """Add the model's calls and their results; a tool that had to be called has been called now."""
        added: list[Any] = [said(found, found.calls)]
        added += [{"role": "tool", "tool_call_id": call["id"], "content": answers[call["id"]]} for call in found.calls]
        self._messages += added
        self._kept += added
        if self._choice.get("tool_choice") != "auto":
            self._choice.pop("tool_choice", None)

    def _offered(self) -> Iterable[dict[str, Any]]:
        for tool in self.tools.values():
            yield function(tool.name, tool.description, tool.parameters)
        for name, agent in self.handoffs.items():
            description = f"Hand the conversation over to the agent {agent.name}. {agent.description}".strip()
            yield function(name, description, {"type": "object", "properties": {}})

    def _tool_fields(self, tools: Sequence[Any]) -> dict[str, Any]:
        if not tools:
            return {}
        fields = {"tools": list(tools), **self._choice}
        chosen = tool_name(fields.get("tool_choice"))
        if chosen and chosen not in {tool_name(tool) for tool in tools}:
            del fields["tool_choice"]
        return fields


def following(history: Sequence[Any], messages: Sequence[Any]) -> list[Any]:
    """Put a conversation before new messages, but for their system ones; raises ApiError if they don't fit together."""
    system = [message for message in messages if message.get("role") in SYSTEM_ROLES]
    whole, _ = paired((), [*history, *(message for message in messages if message.get("role") not in SYSTEM_ROLES)])
    return [*system, *whole]


def said(found: Round, calls: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Write what the model said as a message, with its thoughts, and with some of its calls."""
    asked = json_text.sane([dict(call) for call in calls])
    message = with_thoughts(
        {"role": "assistant", "content": found.text or (None if asked else "")}, json_text.sane(dict(found.thoughts))
    )
    return {**message, "tool_calls": asked} if asked else message


def function(name: str, description: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Write a tool as OpenAI's API takes it."""
    return {
        "type": "function",
        "function": {"name": name, "description": description, "parameters": dict(parameters)},
    }
