"""Libraries that programs ask with: each in the ways that it is known for."""

from typing import Any

import pytest

from tests.clients.support import TEXT, Client
from tests.support.upstream import MODEL, WORDS

pytestmark = pytest.mark.asyncio(loop_scope="package")

CLOCK: Any = ("call_1", "clock", {"zone": "UTC"})
NOON = "The tool said: noon"
COMPLETED = "".join(WORDS)
"""What the provider makes of any text that it completes."""

PARIS = {"name": "Paris"}


def files(client: Client) -> int:
    """How many requests had a file for the model."""
    contents = [
        message.get("content") for request in client.provider.requests for message in request.get("messages", ())
    ]
    parts = [part for content in contents if isinstance(content, list) for part in content]
    return sum(
        part["type"] == "file" and part["file"]["file_data"].startswith("data:application/pdf;base64,JVBER")
        for part in parts
    )


async def test_openai_python(client: Client) -> None:
    client.answers.calls = [CLOCK, CLOCK, ("call_1", "note", {"input": "a note"})]
    client.answers.structured = PARIS
    done = await client.python("openai_python.py")
    assert done == {
        "chat": TEXT,
        "chat stream": TEXT,
        "chat tool": NOON,
        "chat structured": PARIS,
        "chat pdf": TEXT,
        "response": TEXT,
        "second turn, streamed": TEXT,
        "tool": NOON,
        "custom tool": "a note",
        "structured": PARIS,
        "pdf": TEXT,
        "stored": TEXT,
        "input items": ["message", "message", "message"],
        "deleted": 404,
        "models": ["default", MODEL, "gpt-5.5"],
        "embeddings": [3.0, 1.0],
    }
    assert files(client) == 2


async def test_openai_node(client: Client) -> None:
    client.answers.calls = [CLOCK, CLOCK]
    client.answers.structured = PARIS
    done = await client.javascript("openai_node.mjs")
    assert done == {
        "chat": TEXT,
        "chat stream": TEXT,
        "chat tool": NOON,
        "chat structured": PARIS,
        "response": TEXT,
        "second turn, streamed": TEXT,
        "tool": NOON,
        "structured": PARIS,
        "stored": TEXT,
        "input items": ["message"],
    }


async def test_vercels_ai(client: Client) -> None:
    client.answers.calls = [CLOCK, CLOCK, CLOCK]
    client.answers.structured = PARIS
    done = await client.javascript("vercel.mjs")
    every = {
        "tool": f"{NOON} in UTC",
        "second turn, streamed": TEXT,
        "third turn": TEXT,
        "structured": PARIS,
        "pdf": TEXT,
    }
    assert done == {"responses": every, "chats": every, "compatible": every, "text completion": COMPLETED}
    assert files(client) == 3


async def test_openai_agents(client: Client) -> None:
    client.answers.calls = [CLOCK, ("call_2", "transfer_to_helper", {}), CLOCK] * 2
    client.answers.structured = PARIS
    done = await client.python("openai_agents.py")
    every = {
        "tool": f"{NOON} in UTC",
        "chat": TEXT,
        "handoff": ["helper", """The tool said: {"assistant": "helper"}"""],
        "second turn, streamed": [TEXT, True],
        "structured": PARIS,
    }
    assert done == {"responses": every | {"a search that is not there": f"{NOON} in UTC"}, "chats": every}


async def test_langchain(client: Client) -> None:
    client.answers.calls = [CLOCK, CLOCK]
    client.answers.structured = PARIS
    done = await client.python("langchain.py")
    every = {"chat": TEXT, "stream": TEXT, "tool": f"{NOON} in UTC", "structured": PARIS, "pdf": TEXT}
    assert done == {"chats": every, "responses": every, "second turn": TEXT, "embeddings": [4.0, 1.0]}
    assert files(client) == 2


async def test_pydantic_ai(client: Client) -> None:
    client.answers.calls = [CLOCK, CLOCK]
    client.answers.structured = PARIS
    done = await client.python("pydantic_ai_client.py")
    every = {
        "tool": f"{NOON} in UTC",
        "chat": TEXT,
        "second turn, streamed": TEXT,
        "structured": PARIS,
        "pdf": TEXT,
    }
    assert done == {"chats": every, "responses": every}
    assert files(client) == 2


async def test_llama_index(client: Client) -> None:
    client.answers.calls = [CLOCK]
    done = await client.python("llama_index_client.py", "llama-index")
    assert done == {
        "chat": TEXT,
        "stream": TEXT,
        "tool": "noon in UTC",
        "complete by chat": TEXT,
        "text completion": COMPLETED,
        "text completion, streamed": COMPLETED,
    }


async def test_litellm(client: Client) -> None:
    client.answers.calls = [CLOCK]
    done = await client.python("litellm_client.py")
    assert done == {"chat": TEXT, "stream": TEXT, "tool": NOON, "response": TEXT, "text completion": COMPLETED}
