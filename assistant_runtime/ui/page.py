"""The chat page's layout and what its parts do.

A person's API key stays in that person's browser and goes with each request to the API, so that the page itself may do
nothing and everyone sees only their own sessions and documents.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr

from assistant_runtime.ui.client import AssistantClient, Conversation, ProblemError, Step
from assistant_runtime.ui.guard import KEEP_SECONDS, forget
from assistant_runtime.ui.transcript import Message, Transcript, past, problem, said

TITLE = "Assistant"
OBSCURED_WITH = "assistant-api-key"
"""Gradio sends it to every visitor, so that it is no secret: it keeps a key from a glance at the browser's storage."""

TITLE_CHARACTERS = 60
"""What fits on one line of the list."""

FILE_TYPES = [".txt", ".md", ".html", ".htm", ".pdf"]
CSS_FILE = Path(__file__).with_name("page.css")
SCRIPT_FILE = Path(__file__).with_name("page.js")
FONTS = ("system-ui", "sans-serif")
"""Of the reader's own machine: a page that asks another site for its fonts tells it who reads here."""

BEGIN = """(...values) => {
  window.assistantKey = values[0] || "";
  if (window.innerWidth < 700) document.querySelector(".sidebar.open .toggle-button")?.click();
  return values;
}"""
"""The key goes with uploads (page.js). Where the list of chats would cover the chat, it begins closed."""

TAKE_KEY = "(key) => { window.assistantKey = key.trim(); return key; }"

DELETE_SECONDS = 60
"""Between two looks for uploads that nobody sent."""

State = tuple[list[Message], str]


class ChatPage:
    """The page, built for one API.

    Parameters
    ----------
    base_url
        The API's root, ending in /v1.
    """

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url
        self.blocks = gr.Blocks(
            title=TITLE, fill_height=True, analytics_enabled=False, delete_cache=(DELETE_SECONDS, KEEP_SECONDS)
        )
        with self.blocks:
            self._lay_out()
            self._connect()

    def _lay_out(self) -> None:
        self._key = gr.BrowserState("", storage_key="assistant-api-key", secret=OBSCURED_WITH)
        self._conversation = gr.State("")
        with gr.Sidebar(width=280):
            self._new = gr.Button("New chat", variant="primary", elem_id="new-chat")
            self._list = gr.Radio([], label="Chats", elem_id="chats", container=False)
            self._delete = gr.Button("Delete this chat", size="sm", visible=False, elem_id="delete-chat")
            self._upload = gr.UploadButton(
                "Add documents", file_count="multiple", file_types=FILE_TYPES, size="sm", elem_id="add-documents"
            )
            with gr.Accordion("Settings", open=False, elem_id="settings"):
                self._model = gr.Dropdown(["default"], value="default", label="Model", allow_custom_value=True)
                self._key_box = gr.Textbox(label="API key", type="password", elem_id="api-key")
        self._chat = gr.Chatbot(
            show_label=False,
            scale=1,
            min_height=200,
            elem_id="chat",
            placeholder="Ask anything. Attach documents, and ask about them.",
            buttons=["copy"],
            layout="bubble",
        )
        self._box = gr.MultimodalTextbox(
            show_label=False,
            placeholder="Message",
            file_count="multiple",
            file_types=FILE_TYPES,
            sources=["upload"],
            autofocus=True,
            elem_id="message",
        )

    def _connect(self) -> None:
        asked = [self._box, self._chat, self._conversation, self._key, self._model]
        answer = self._box.submit(self._answer, asked, [self._box, self._chat, self._conversation])
        answer.then(self._titles, [self._key, self._conversation], self._list)
        self._box.stop(_ready, None, self._box, cancels=[answer])
        self._new.click(lambda: ([], "", None), None, [self._chat, self._conversation, self._list])
        self._list.input(self._open, [self._list, self._key], [self._chat, self._conversation])
        self._delete.click(self._forget, [self._conversation, self._key], [self._chat, self._conversation]).then(
            self._titles, [self._key, self._conversation], self._list
        )
        self._conversation.change(lambda opened: gr.Button(visible=bool(opened)), self._conversation, self._delete)
        self._upload.upload(self._add, [self._upload, self._key, self._chat], self._chat)
        # The key goes into the browser first: everything else is asked with it.
        self._key_box.blur(lambda key: key.strip(), self._key_box, self._key, js=TAKE_KEY).then(
            self._begin, self._key, [self._list, self._model, self._chat]
        )
        self.blocks.load(self._begin, self._key, [self._list, self._model, self._chat], js=BEGIN)

    def _client(self, key: str | None) -> AssistantClient:
        return AssistantClient(self._base_url, key or "")

    async def _begin(self, key: str | None) -> tuple[Any, Any, Any]:
        """Fill the lists for the person whose key this is."""
        try:
            async with self._client(key) as client:
                models = await client.models()
                conversations = await client.conversations()
        except ProblemError as error:
            return gr.skip(), gr.skip(), [problem(str(error))]
        names = ["default", *(name for name in models if name != "default")]
        return _choices(conversations, ""), gr.Dropdown(choices=names), []

    async def _titles(self, key: str | None, conversation: str) -> Any:
        try:
            async with self._client(key) as client:
                return _choices(await client.conversations(), conversation)
        except ProblemError:
            return gr.skip()  # whatever is wrong is told where it matters: beside the answer

    async def _open(self, conversation: str, key: str | None) -> State:
        try:
            async with self._client(key) as client:
                return past(await client.history(conversation)), conversation
        except ProblemError as error:
            return [problem(str(error))], ""

    async def _forget(self, conversation: str, key: str | None) -> State:
        try:
            async with self._client(key) as client:
                if conversation:
                    await client.forget(conversation)
        except ProblemError as error:
            return [problem(str(error))], conversation
        return [], ""

    async def _add(self, files: list[str], key: str | None, shown: list[Message]) -> AsyncIterator[list[Message]]:
        transcript = Transcript()
        async with self._client(key) as client:
            async for step in _upload(client, files):
                transcript.take(step)
                yield [*shown, *transcript.messages()]

    async def _answer(
        self, asked: Mapping[str, Any], shown: list[Message], conversation: str, key: str | None, model: str
    ) -> AsyncIterator[tuple[Any, list[Message], str]]:
        """Answer one message, showing it as it grows."""
        question, files = str(asked.get("text") or "").strip(), list(asked.get("files") or [])
        waiting = gr.MultimodalTextbox(value=None, interactive=False, submit_btn=False, stop_btn=True)
        before = [*shown, said("user", question or f"({len(files)} documents)")]
        yield waiting, before, conversation
        transcript = Transcript()
        async with self._client(key) as client:
            try:
                async for step in _upload(client, files):
                    transcript.take(step)
                    yield gr.skip(), [*before, *transcript.messages()], conversation
                if question:
                    conversation = conversation or (await client.start(question[:TITLE_CHARACTERS])).id
                    async for event in client.ask(question, conversation, model or "default"):
                        transcript.take(event)
                        yield gr.skip(), [*before, *transcript.messages()], conversation
            except ProblemError as error:
                transcript.problem = str(error)
        yield _ready(), [*before, *transcript.messages()], conversation


async def _upload(client: AssistantClient, files: list[str]) -> AsyncIterator[Step]:
    """Give the assistant each file; one that it refuses stops none of the others."""
    for number, file in enumerate(files):
        step = Step(f"document-{number}", f"Document: {Path(file).name}", "running")
        yield step
        try:
            title = await client.upload(Path(file))
        except ProblemError as error:
            yield replace(step, status="failed", detail=str(error))
        except OSError:
            yield replace(step, status="failed", detail="The page does not have the file any more. Attach it again.")
        else:
            yield replace(step, name=f"Document: {title}", status="done", detail="The assistant can answer from it.")
        finally:
            forget(Path(file))


def _ready() -> Any:
    """Return the box as it takes a message."""
    return gr.MultimodalTextbox(interactive=True, submit_btn=True, stop_btn=False)


def _choices(conversations: list[Conversation], chosen: str) -> Any:
    choices = [(each.title or "Untitled", each.id) for each in conversations]
    return gr.Radio(choices=choices, value=chosen or None)
