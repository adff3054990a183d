"""What was learned of providers: bounded, and forgotten after a time, because providers and models change."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from assistant_runtime.providers.dialect.adaptations import Adaptation

FORGOTTEN_SECONDS = 900.0
"""After this long a provider is asked again for what it refused, which costs one refused request."""

MAX_PLACES = 1024
"""Providers, models and kinds of request together; clients can invent models."""

Place = tuple[str, str, str]
"""Provider, model, and kind of request."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """A change that made a provider take a request."""

    adaptation: Adaptation
    reason: str
    """What the provider had said."""


class Memory:
    """Lessons by place.

    Parameters
    ----------
    clock
        Gives seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lessons: dict[Place, tuple[float, tuple[Lesson, ...]]] = {}

    def __bool__(self) -> bool:
        return bool(self._lessons)

    def known(self, place: Place) -> tuple[Lesson, ...]:
        """Give what is known of a place, in the order in which it was learned."""
        found = self._lessons.get(place)
        if found is None:
            return ()
        if found[0] < self._clock():
            del self._lessons[place]
            return ()
        return found[1]

    def learn(self, place: Place, lessons: tuple[Lesson, ...]) -> None:
        """Remember all that is known of a place now."""
        self._lessons.pop(place, None)
        if len(self._lessons) >= MAX_PLACES:
            del self._lessons[next(iter(self._lessons))]
        self._lessons[place] = (self._clock() + FORGOTTEN_SECONDS, lessons)


def kind_of(payload: dict[str, Any], own_tools: frozenset[str] = frozenset()) -> str:
    """Name the kind of a request, by what providers take in one and refuse in another."""
    kinds = [name for name in ("prompt", "stream", "functions", "reasoning_effort", "logprobs") if payload.get(name)]
    tools = payload.get("tools") or ()
    kinds += ["own tools"] if own_tools else []
    kinds += ["tools"] if len(tools) > len(own_tools) else []
    text_format = payload.get("response_format")
    if isinstance(text_format, dict):
        kinds.append(str(text_format.get("type"))[:32])
    if any(isinstance(message.get("content"), list) for message in payload.get("messages") or ()):
        kinds.append("parts")
    return "+".join(kinds)
