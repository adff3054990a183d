"""Asking a model for a text, as a chat would be asked: with the same names, fallback, metrics and errors."""

from assistant_runtime.errors import ProviderError
from assistant_runtime.tool_loop.answer import read_answer
from assistant_runtime.turn import Question, Turns
from assistant_runtime.writers.panel import Ask
from assistant_runtime.writers.prompts import Messages

TENANT = "writers"
REQUEST_ID = "writing-job"


def asking(turns: Turns) -> Ask:
    """Return how a model is asked.

    The response cache is left out of it: of two writers with one model, each writes a text of its own.
    """

    async def ask(model: str, messages: Messages, max_tokens: int | None) -> str:
        payload = {"model": model, "messages": messages} | ({"max_tokens": max_tokens} if max_tokens else {})
        question = Question(payload, TENANT, REQUEST_ID, read_cache=False, write_cache=False)
        answer = await turns.answer(question)
        _, said = read_answer(answer.body)
        if not said.content.strip():
            raise ProviderError(502, f"provider {answer.provider} gave no text", code="provider_bad_response")
        return said.content

    return ask
