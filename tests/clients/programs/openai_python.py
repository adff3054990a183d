"""openai-python: chats, responses, tools, structured output, files, stored responses, models, embeddings."""

import base64
import json
import sys
from typing import Any

import openai
from pydantic import BaseModel

PDF = "data:application/pdf;base64," + base64.b64encode(b"%PDF-1.4").decode()
CLOCK: Any = {"name": "clock", "description": "Tell the time.", "parameters": {"type": "object", "properties": {}}}
TEXT = "What is the capital of France?"


class City(BaseModel):
    """An answer with a form."""

    name: str


def chats(client: openai.OpenAI) -> dict[str, Any]:
    """Ask by chats."""
    asked: list[Any] = [{"role": "user", "content": TEXT}]
    done: dict[str, Any] = {}
    done["chat"] = client.chat.completions.create(model="default", messages=asked).choices[0].message.content
    stream = client.chat.completions.create(model="default", messages=asked, stream=True)
    done["chat stream"] = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
    tools: Any = [{"type": "function", "function": CLOCK}]
    message = client.chat.completions.create(model="default", messages=asked, tools=tools).choices[0].message
    assert message.tool_calls
    result = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "noon"}
    again = client.chat.completions.create(
        model="default", messages=[*asked, message.model_dump(exclude_none=True), result], tools=tools
    )
    done["chat tool"] = again.choices[0].message.content
    parsed = client.chat.completions.parse(model="default", messages=asked, response_format=City)
    done["chat structured"] = parsed.choices[0].message.parsed
    file = {"type": "file", "file": {"filename": "a.pdf", "file_data": PDF}}
    asked[0]["content"] = [{"type": "text", "text": "Sum it up."}, file]
    done["chat pdf"] = client.chat.completions.create(model="default", messages=asked).choices[0].message.content
    return done


def responses(client: openai.OpenAI) -> dict[str, Any]:
    """Ask by responses."""
    done: dict[str, Any] = {}
    first = client.responses.create(model="default", input=TEXT)
    done["response"] = first.output_text
    with client.responses.stream(model="default", input="And now?", previous_response_id=first.id) as events:
        second = events.get_final_response()
    done["second turn, streamed"] = second.output_text
    tools: Any = [{"type": "function", "strict": False, **CLOCK}]
    called = client.responses.create(model="default", input=TEXT, tools=tools)
    (call,) = called.output
    assert call.type == "function_call"
    history: Any = [{"role": "user", "content": TEXT}, *called.output]
    history.append({"type": "function_call_output", "call_id": call.call_id, "output": "noon"})
    done["tool"] = client.responses.create(model="default", input=history, tools=tools).output_text
    custom: Any = [{"type": "custom", "name": "note", "description": "Write a note."}]
    called = client.responses.create(model="default", input=TEXT, tools=custom)
    (note,) = called.output
    assert note.type == "custom_tool_call"
    done["custom tool"] = note.input
    done["structured"] = client.responses.parse(model="default", input=TEXT, text_format=City).output_parsed
    parts: Any = [{"type": "input_text", "text": "Sum it up."}]
    parts.append({"type": "input_file", "filename": "a.pdf", "file_data": PDF})
    done["pdf"] = client.responses.create(model="default", input=[{"role": "user", "content": parts}]).output_text
    done["stored"] = client.responses.retrieve(second.id).output_text
    done["input items"] = [item.type for item in client.responses.input_items.list(second.id, order="asc")]
    client.responses.delete(second.id)
    try:
        client.responses.retrieve(second.id)
    except openai.NotFoundError as error:
        done["deleted"] = error.status_code
    return done


def main() -> None:
    """Ask in every way."""
    client = openai.OpenAI(base_url=sys.argv[1], api_key="none", max_retries=0)
    done = chats(client) | responses(client)
    done["models"] = [model.id for model in client.models.list()]
    done["embeddings"] = client.embeddings.create(model="fake-1", input=["one", "two"]).data[1].embedding
    print(json.dumps(done, default=BaseModel.model_dump))


main()
