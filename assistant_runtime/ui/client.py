"""The API as the chat page uses it: chats as streams of events, sessions, documents.

Each failure becomes one ProblemError whose text a person can act on.
"""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import httpx

from assistant_runtime import json_text
from assistant_runtime.providers.dialect.reading import said_in, text_of

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 600.0
"""As long as the runtime waits for a provider."""

SESSIONS_SHOWN = 50
"""As many as a person looks through."""


MESSAGES_SHOWN = 100
"""A page of the API; older ones are the model's to remember."""


class ProblemError(Exception):
    """What went wrong, in words for the person at the page; `needs_key` asks for an API key."""

    def __init__(self, message: str, *, needs_key: bool = False) -> None:
        super().__init__(message)
        self.needs_key = needs_key


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of the answer."""

    delta: str


@dataclass(frozen=True, slots=True)
class Step:
    """Something that the assistant did on the way: a tool that it ran, another agent that it asked."""

    id: str
    name: str
    status: str
    """`running`, `done`, `failed`, `refused` or `skipped`."""
    detail: str = ""
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """Where the answer's facts are from."""

    number: int
    """As the answer names it, in brackets."""
    title: str
    url: str = ""
    snippet: str = ""


Event = Text | Step | Source


@dataclass(frozen=True, slots=True)
class Conversation:
    """A session of this person."""

    id: str
    title: str


class AssistantClient:
    """The API, as one person.

    Parameters
    ----------
    base_url
        The API's root, ending in /v1.
    api_key
        The person's key; empty where none is needed.
    """

    def __init__(self, base_url: str, api_key: str) -> None:
        headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
        timeout = httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS)
        # No proxy of the environment stands between the page and its own API.
        self._http = httpx.AsyncClient(base_url=base_url, headers=headers, timeout=timeout, trust_env=False)

    async def __aenter__(self) -> Self:
        """Use it as a context manager, which closes its connections."""
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def models(self) -> list[str]:
        """Return the names of the models."""
        return [model["id"] for model in (await self._json("GET", "models"))["data"]]

    async def conversations(self) -> list[Conversation]:
        """Return this person's sessions, the newest first."""
        found = await self._json("GET", "sessions", params={"limit": SESSIONS_SHOWN})
        return [Conversation(each["id"], each.get("title") or "") for each in found["data"]]

    async def start(self, title: str) -> Conversation:
        """Open a session."""
        made = await self._json("POST", "sessions", json={"title": title})
        return Conversation(made["id"], made.get("title") or "")

    async def history(self, conversation: str) -> list[dict[str, Any]]:
        """Return a session's messages, the oldest first."""
        found = await self._json("GET", f"sessions/{conversation}/messages", params={"limit": MESSAGES_SHOWN})
        return [each["message"] for each in found["data"]]

    async def forget(self, conversation: str) -> None:
        """Delete a session."""
        await self._json("DELETE", f"sessions/{conversation}")

    async def upload(self, file: Path) -> str:
        """Give the assistant a document to answer from; return its title."""
        with file.open("rb") as content:
            made = await self._json("POST", "documents", files={"file": (file.name, content)})
        return str(made.get("title") or file.name)

    async def ask(self, question: str, conversation: str, model: str) -> AsyncIterator[Event]:
        """Ask within a session; yields the answer's pieces, steps and sources as they come.

        Raises
        ------
        ProblemError
            The assistant refused, failed or broke off; what was yielded until then is what there is.
        """
        body = {
            "model": model,
            "assistant": {"session": conversation},
            "messages": [{"role": "user", "content": question}],
            "stream": True,
        }
        async with self._problems(), self._http.stream("POST", "chat/completions", json=body) as answer:
            if answer.status_code != httpx.codes.OK:
                await answer.aread()
                raise _refusal(answer)
            async for line in answer.aiter_lines():
                if line.startswith("data:") and (data := line[5:].strip()) != "[DONE]":
                    for event in read_event(json.loads(data)):
                        yield event

    async def _json(self, method: str, path: str, **options: Any) -> Any:
        async with self._problems():
            answer = await self._http.request(method, path, **options)
        if answer.is_error:
            raise _refusal(answer)
        return answer.json() if answer.content else None

    @asynccontextmanager
    async def _problems(self) -> AsyncIterator[None]:
        try:
            yield
        except httpx.ConnectError as error:
            raise ProblemError("The assistant can't be reached. It may be starting: try again in a moment.") from error
        except httpx.TimeoutException as error:
            raise ProblemError(
                "The assistant did not answer in time. Try again, or send a shorter question."
            ) from error
        except httpx.TransportError as error:
            raise ProblemError("The connection broke before the answer was complete. Try again.") from error


def read_event(chunk: Mapping[str, Any]) -> list[Event]:
    """Read one event of a stream.

    Raises
    ------
    ProblemError
        It says that the answer is broken off.
    """
    if error := chunk.get("error"):
        raise ProblemError(str(error.get("message") or "The answer is truncated."))
    events: list[Event] = []
    extension = chunk.get("assistant") or {}
    # A step is told when it begins and when it ends; the last event tells all of them, and the sources.
    events += [_step(step) for step in (extension.get("step"), *(extension.get("steps") or ())) if step]
    events += [_source(number, source) for number, source in enumerate(extension.get("sources") or (), start=1)]
    for choice in chunk.get("choices") or ():
        if text := text_of(said_in(choice).get("content")):
            events.append(Text(json_text.whole(text)))
    return events


def _step(step: Mapping[str, Any]) -> Step:
    status = str(step.get("status") or "done")
    detail = str(step.get("error") or "") or _arguments(step.get("arguments"))
    seconds = None if status == "running" else step.get("seconds")
    return Step(str(step.get("id") or step.get("name")), str(step.get("name") or "step"), status, detail, seconds)


def _arguments(arguments: Any) -> str:
    """Write what a tool was asked as a person reads it: `query: weather in Paris`."""
    if not isinstance(arguments, Mapping):
        return str(arguments or "")
    return "\n".join(f"{name}: {value}" for name, value in arguments.items())


def _source(place: int, source: Mapping[str, Any]) -> Source:
    url = str(source.get("url") or "")
    title = str(source.get("title") or url or "A document")
    return Source(int(source.get("number") or place), title, url, str(source.get("snippet") or ""))


def _refusal(answer: httpx.Response) -> ProblemError:
    try:
        message = str(answer.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        message = f"The assistant answered with status {answer.status_code}."
    if answer.status_code == httpx.codes.UNAUTHORIZED:
        return ProblemError("Enter your API key under Settings: the assistant requires one.", needs_key=True)
    if answer.status_code == httpx.codes.TOO_MANY_REQUESTS and (wait := answer.headers.get("retry-after")):
        return ProblemError(f"{message} Try again in {wait} seconds.")
    return ProblemError(message)
