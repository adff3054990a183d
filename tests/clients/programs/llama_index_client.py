"""llama-index's OpenAILike: a chat, a stream, a tool round trip, a text completion."""

import json
import sys
from typing import Any

from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai_like import OpenAILike


def clock(zone: str) -> str:
    """Tell the time."""
    return f"noon in {zone}"


def main() -> None:
    """Ask in every way."""
    options: Any = {"model": "fake-1", "api_base": sys.argv[1], "api_key": "none", "max_retries": 0}
    model = OpenAILike(**options, is_chat_model=True, is_function_calling_model=True)
    asked = [ChatMessage(role="user", content="What is the capital of France?")]
    done: dict[str, Any] = {"chat": model.chat(asked).message.content}
    done["stream"] = "".join(part.delta or "" for part in model.stream_chat(asked))
    tool = FunctionTool.from_defaults(clock)
    done["tool"] = model.predict_and_call([tool], "What time is it?").response
    done["complete by chat"] = model.complete("Paris is").text
    text = OpenAILike(**options, is_chat_model=False)
    done["text completion"] = text.complete("Paris is").text
    done["text completion, streamed"] = "".join(part.delta or "" for part in text.stream_complete("Paris is"))
    print(json.dumps(done))


main()
