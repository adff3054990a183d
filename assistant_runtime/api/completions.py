"""POST /v1/completions: a text and what comes next, for editors that fill in code and for clients from before chats.

The provider has to offer it: a chat is asked otherwise, and answers otherwise. Tools, agents and sessions are of chats.
"""

from assistant_runtime.agents.base import MODEL_PREFIX
from assistant_runtime.api.caching import caching
from assistant_runtime.api.chat import honest
from assistant_runtime.api.endpoint import Call, JsonEndpoint
from assistant_runtime.api.once import Once
from assistant_runtime.api.schemas import CompletionRequest
from assistant_runtime.errors import ModelNotFoundError
from assistant_runtime.tool_loop.options import FIELD
from assistant_runtime.turn import Question, Turns


class Completions(JsonEndpoint):
    """The endpoint.

    Parameters
    ----------
    turns
        Asks the providers.
    once
        Answers requests that have an Idempotency-Key.
    """

    model = CompletionRequest

    def __init__(self, turns: Turns, once: Once | None) -> None:
        self._turns = turns
        self.once = once

    async def serve(self, call: Call) -> None:
        """Complete a text."""
        context, model = call.context, call.payload.get("model")
        if model and model.startswith(MODEL_PREFIX):
            raise ModelNotFoundError(model)
        read_cache, write_cache = caching(call.scope, call.payload)
        call.payload.pop(FIELD, None)
        question = Question(
            call.payload,
            principal=context.principal,
            request_id=context.request_id,
            account=context.account,
            read_cache=read_cache,
            write_cache=write_cache,
            text=True,
        )
        if not call.payload.get("stream"):
            await call.send_answer(await self._turns.answer(question))
            return
        await call.send_stream(
            self._turns.stream(question),
            lambda stream: honest(stream, context, call.client),
            lambda error: b"data: " + error.body + b"\n\n",
        )
