"""The record of a turn: what ran, how long, what failed, and from which sources. It stands in the answer."""

import time
from dataclasses import dataclass, field
from typing import Any, Literal

from assistant_runtime.tools.base import Source

Status = Literal["running", "done", "failed", "refused", "skipped"]

MAX_SNIPPET_CHARACTERS = 300
"""Enough to see what a source says; the model has the whole text."""

MAX_SOURCES = 100
"""A tool that gives more is cut, so that an answer stays readable."""


@dataclass(slots=True)
class Step:
    """One thing that happened between the question and the answer."""

    type: Literal["tool", "handoff"]
    id: str
    name: str
    arguments: Any
    status: Status = "running"
    error: str = ""
    agent: str = ""
    """The agent whose model asked for it."""
    started: float = field(default_factory=time.perf_counter)
    seconds: float = 0.0

    def end(self, status: Status, error: str = "") -> None:
        """Note how it ended."""
        self.status, self.error = status, error
        self.seconds = time.perf_counter() - self.started

    def told(self) -> dict[str, Any]:
        """Give the step as the client is told."""
        told: dict[str, Any] = {"type": self.type, "id": self.id, "name": self.name, "arguments": self.arguments}
        told |= {"status": self.status, "seconds": round(self.seconds, 3)}
        if self.error:
            told["error"] = self.error
        return told | {"agent": self.agent} if self.agent else told


@dataclass(slots=True)
class Record:
    """Everything that the client is told of a turn."""

    steps: list[Step] = field(default_factory=list)
    sources: list[Source] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What was left out, and why."""
    agent: str = ""
    """The agent that gave the answer."""
    session: dict[str, Any] | None = None
    """The session that keeps the turn, and its version since."""

    def add_sources(self, text: str, sources: tuple[Source, ...]) -> str:
        """Add a tool's sources, and put the numbers that they have in the answer into its text."""
        for place, source in enumerate(sources[: MAX_SOURCES - len(self.sources)], start=1):
            if source not in self.sources:
                self.sources.append(source)
            text = text.replace(f"[[{place}]]", f"[{self.sources.index(source) + 1}]")
        return text

    def told(self) -> dict[str, Any]:
        """Give the record as the client is told."""
        told: dict[str, Any] = {
            "steps": [step.told() for step in self.steps],
            "sources": [_source(number, source) for number, source in enumerate(self.sources, start=1)],
        }
        if self.agent:
            told["agent"] = self.agent
        if self.session:
            told["session"] = self.session
        return told | {"notes": self.notes} if self.notes else told


def _source(number: int, source: Source) -> dict[str, Any]:
    told: dict[str, Any] = {"number": number, "title": source.title}
    for name in ("url", "document_id", "span"):
        if value := getattr(source, name):
            told[name] = value
    return told | {"snippet": source.snippet[:MAX_SNIPPET_CHARACTERS]} if source.snippet else told
