"""litellm as a client: a chat, a stream, a tool, a response, a text completion."""

import json
import sys
from typing import Any

import litellm

CLOCK = {"name": "clock", "description": "Tell the time.", "parameters": {"type": "object", "properties": {}}}


def main() -> None:
    """Ask in every way."""
    options: Any = {"model": "openai/default", "api_base": sys.argv[1], "api_key": "none", "max_retries": 0}
    asked: list[Any] = [{"role": "user", "content": "What is the capital of France?"}]
    done: dict[str, Any] = {}
    done["chat"] = litellm.completion(messages=asked, **options).choices[0].message.content
    stream = litellm.completion(messages=asked, stream=True, **options)
    done["stream"] = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
    tools = [{"type": "function", "function": CLOCK}]
    message = litellm.completion(messages=asked, tools=tools, **options).choices[0].message
    result = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "noon"}
    again = litellm.completion(messages=[*asked, message, result], tools=tools, **options)
    done["tool"] = again.choices[0].message.content
    response: Any = litellm.responses(input="What is the capital of France?", **options)
    done["response"] = response.output[0].content[0].text
    text = options | {"model": "text-completion-openai/fake-1"}
    done["text completion"] = litellm.text_completion(prompt="Paris is", **text).choices[0].text
    print(json.dumps(done))


main()
