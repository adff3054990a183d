"""langchain-openai, over chats and over responses: a stream, a tool round trip, structured output, a PDF."""

import base64
import json
import sys
from typing import Any

from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel


class City(BaseModel):
    """An answer with a form."""

    name: str


@tool
def clock(zone: str) -> str:
    """Tell the time."""
    return f"noon in {zone}"


def asked(model: ChatOpenAI) -> dict[str, Any]:
    """Ask in every way."""
    done: dict[str, Any] = {"chat": model.invoke("What is the capital of France?").text}
    done["stream"] = "".join(chunk.text for chunk in model.stream("What is the capital of France?"))
    bound = model.bind_tools([clock])
    messages: list[Any] = [HumanMessage("What time is it?")]
    messages.append(bound.invoke(messages))
    messages += [clock.invoke(call) for call in messages[-1].tool_calls]
    done["tool"] = bound.invoke(messages).text
    done["structured"] = model.with_structured_output(City, method="json_schema").invoke("Which city?")
    data = base64.b64encode(b"%PDF-1.4").decode()
    file = {"type": "file", "base64": data, "mime_type": "application/pdf", "filename": "a.pdf"}
    done["pdf"] = model.invoke([HumanMessage([{"type": "text", "text": "Sum it up."}, file])]).text
    return done


def main() -> None:
    """Ask over both APIs."""
    options: Any = {"base_url": sys.argv[1], "api_key": "none", "max_retries": 0, "model": "default"}
    done: dict[str, Any] = {
        "chats": asked(ChatOpenAI(**options)),
        "responses": asked(ChatOpenAI(**options, use_responses_api=True)),
    }
    first = ChatOpenAI(**options, use_responses_api=True, use_previous_response_id=True)
    answer = first.invoke("I am Ada.")
    again = first.invoke([HumanMessage("I am Ada."), answer, HumanMessage("Who am I?")])
    done["second turn"] = again.text
    embeddings = OpenAIEmbeddings(**options | {"model": "fake-1"}, check_embedding_ctx_length=False)
    done["embeddings"] = embeddings.embed_query("four")
    print(json.dumps(done, default=BaseModel.model_dump))


main()
