"""Ask a provider in its dialect: as it was learned, and once more in another form where it refuses."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from assistant_runtime.errors import ProviderError
from assistant_runtime.providers.dialect import messages
from assistant_runtime.providers.dialect.adaptations import Asked, find, tool_name
from assistant_runtime.providers.dialect.memory import Lesson, Memory, Place, kind_of
from assistant_runtime.providers.dialect.refusal import REFUSED, Refusal

MAX_CHANGES = 8
"""Of one request; strict servers name one field at a time."""

ANSWERED = REFUSED | {500, 502}
"""Statuses with which a request is refused; llama.cpp and some gateways say so with a 5xx."""

FINAL_CODES = frozenset({"model_not_found", "content_filter", "content_policy_violation", "invalid_api_key"})
"""Refusals that no other form of the request changes."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Something that was asked for, and that the provider does not take."""

    field: str
    """A field of the request; empty for tools of the runtime."""
    tools: frozenset[str]
    """Names of the runtime's tools that were left out."""
    reason: str
    """What the provider said."""


class Dialects:
    """What each provider takes.

    Parameters
    ----------
    memory
        What was learned.
    """

    def __init__(self, memory: Memory | None = None) -> None:
        self._memory = memory or Memory()

    async def ask(
        self, provider: str, asked: Asked, send: Callable[[dict[str, Any]], Awaitable[T]]
    ) -> tuple[T, tuple[LeftOut, ...]]:
        """Send a request in the form that the provider takes.

        Parameters
        ----------
        provider
            Its name.
        asked
            The request, with the provider's own name of the model.
        send
            Sends a request.

        Raises
        ------
        ProviderError
            The provider failed, or refused the request in a way that no other form helps.
        """
        payload = prepared(asked.payload)
        if payload is not asked.payload:
            asked = replace(asked, payload=payload)
        known = lessons = self._memory.known(_place(provider, asked)) if self._memory else ()
        current = asked
        for lesson in known:
            current = replace(current, payload=lesson.adaptation.change(current) or current.payload)
        fleeting = False
        while True:
            try:
                answer = await send(current.payload)
            except ProviderError as error:
                refusal = refusal_of(error)
                found = find(refusal, current, [each.adaptation for each in lessons]) if refusal else None
                if refusal is None or found is None or len(lessons) == MAX_CHANGES:
                    raise
                fleeting = fleeting or refusal.too_long
                lessons = (*lessons, Lesson(found[0], refusal.reason))
                current = replace(current, payload=found[1])
            else:
                # Only now: what was refused may be at fault itself, and others ask this model too.
                if lessons is not known and not fleeting:
                    self._memory.learn(_place(provider, asked), lessons)
                return answer, _left_out(asked, current, lessons)


def _place(provider: str, asked: Asked) -> Place:
    return provider, str(asked.payload["model"]), kind_of(asked.payload, asked.own_tools)


def prepared(payload: dict[str, Any]) -> dict[str, Any]:
    """Give a request in the form that every provider takes: what the system says first is one message."""
    given = payload.get("messages") or []
    if len(given) < 2 or given[1].get("role") not in messages.SYSTEM_ROLES:  # noqa: PLR2004 - one is one already
        return payload
    joined = messages.leading_as_one(given)
    return payload if joined is None else {**payload, "messages": joined}


def refusal_of(error: ProviderError) -> Refusal | None:
    """Give what a provider said against a request; None where no other form of it could help."""
    if error.error is None or error.provider_status not in ANSWERED or error.error.get("code") in FINAL_CODES:
        return None
    refusal = Refusal(error.provider_status, error.error)
    return refusal if refusal.of_request or refusal.in_a_failure else None


def _left_out(asked: Asked, current: Asked, lessons: tuple[Lesson, ...]) -> tuple[LeftOut, ...]:
    """Say what the client asked for and did not get, and which of the runtime's tools were not offered."""
    if not lessons:
        return ()
    found = [
        LeftOut(lesson.adaptation.left_out, frozenset(), lesson.reason)
        for lesson in lessons
        if _is_missing(lesson.adaptation.left_out, asked, current)
    ]
    offered = {tool_name(tool) for tool in current.payload.get("tools") or ()}
    before = {tool_name(tool) for tool in asked.payload.get("tools") or ()}
    removed = asked.own_tools & (before - offered)
    if removed:
        found.append(LeftOut("", removed, lessons[-1].reason))
    return tuple(found)


def _is_missing(field: str, asked: Asked, current: Asked) -> bool:
    if not field or field in asked.own_fields:
        return False
    if field == "tools.strict":
        return asked.payload.get("tools") != current.payload.get("tools")
    if field == "messages.name":
        return any("name" in message for message in asked.payload.get("messages") or ())
    return field in asked.payload and field not in current.payload
