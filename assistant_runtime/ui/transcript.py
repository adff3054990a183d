"""From what the API tells to what the page shows: the messages of Gradio's Chatbot. Pure."""

import string
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from assistant_runtime.ui.client import Event, Source, Step, Text

Message = dict[str, Any]

SYMBOLS = {"failed": "⚠️", "refused": "⚠️", "skipped": "⏭️"}
SNIPPET_CHARACTERS = 160
"""Two lines: enough to see what a source says."""

SHOWN_ROLES = ("user", "assistant")
"""What a person said and was told; tool calls and instructions are the model's own matter."""


@dataclass(slots=True)
class Transcript:
    """One answer as it grows."""

    text: str = ""
    steps: dict[str, Step] = field(default_factory=dict)
    sources: dict[int, Source] = field(default_factory=dict)
    problem: str = ""

    def take(self, event: Event) -> None:
        """Add what was told; a step is told again when it ends."""
        match event:
            case Text():
                self.text += event.delta
            case Step():
                self.steps[event.id] = event
            case Source():
                self.sources.setdefault(event.number, event)

    def messages(self) -> list[Message]:
        """Return the answer as messages: the steps, then the text with its sources, then what went wrong."""
        shown = [_step(step) for step in self.steps.values()]
        if self.text:
            shown.append(said("assistant", self.text + _list(self.sources.values())))
        if self.problem:
            shown.append(problem(self.problem))
        return shown


def said(role: str, text: str) -> Message:
    """Return one message."""
    return {"role": role, "content": text}


def problem(text: str) -> Message:
    """Return the message that tells what went wrong, unfolded: it is what a person has to read."""
    return said("assistant", f"⚠️ **That did not work.** {_escaped(text)}")


def past(messages: Sequence[Mapping[str, Any]]) -> list[Message]:
    """Return what a session's messages said, without tool calls and instructions."""
    return [
        said(message["role"], text)
        for message in messages
        if message.get("role") in SHOWN_ROLES and (text := _plain(message.get("content")))
    ]


def _step(step: Step) -> Message:
    title = f"{SYMBOLS[step.status]} {step.name}" if step.status in SYMBOLS else step.name
    metadata: dict[str, Any] = {"title": title}
    if step.status not in SYMBOLS:  # what went wrong stays unfolded
        metadata["status"] = "pending" if step.status == "running" else "done"
    if step.seconds is not None:
        metadata["duration"] = round(step.seconds, 2)
    # As it is, whatever it holds: a model chose these words, and they are no Markdown.
    content = f"```text\n{step.detail.replace('```', '')}\n```" if step.detail else ""
    return {"role": "assistant", "content": content, "metadata": metadata}


def _list(sources: Iterable[Source]) -> str:
    lines = [f"{source.number}. {_link(source)}{_quote(source)}" for source in sources]
    return "\n\n**Sources**\n\n" + "\n".join(lines) if lines else ""


def _quote(source: Source) -> str:
    words = " ".join(source.snippet.split())
    short = words if len(words) <= SNIPPET_CHARACTERS else f"{words[:SNIPPET_CHARACTERS].rstrip()} …"
    return f"  \n   {_escaped(short)}" if words else ""


def _escaped(text: str) -> str:
    """Write text from outside so that none of it is Markdown or HTML."""
    return "".join(f"&#{ord(character)};" if character in string.punctuation else character for character in text)


def _link(source: Source) -> str:
    title = _escaped(source.title.replace("\n", " "))
    # Only what a browser opens as a page: a source comes from outside, and may be anything.
    if source.url.startswith(("http://", "https://")):
        return f"[{title}](<{source.url.replace('>', '%3E')}>)"
    return title


def _plain(content: Any) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "\n".join(str(part["text"]) for part in parts if isinstance(part, dict) and part.get("text"))
