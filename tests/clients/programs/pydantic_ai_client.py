"""pydantic-ai, over chats and over responses: a tool, structured output, a stream, a second turn, a PDF."""

import asyncio
import json
import sys
from typing import Any

from pydantic import BaseModel
from pydantic_ai import Agent, BinaryContent, NativeOutput
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider


class City(BaseModel):
    """An answer with a form."""

    name: str


async def asked(model: Any) -> dict[str, Any]:
    """Ask in every way."""
    agent: Agent[None, str] = Agent(model, instructions="Be brief.")

    @agent.tool_plain
    def clock(zone: str) -> str:
        """Tell the time."""
        return f"noon in {zone}"

    plain: Agent[None, str] = Agent(model)
    done: dict[str, Any] = {"tool": (await agent.run("What time is it?")).output}
    first = await plain.run("What is the capital of France?")
    done["chat"] = first.output
    async with plain.run_stream("And now?", message_history=first.all_messages()) as stream:
        done["second turn, streamed"] = await stream.get_output()
    form: Agent[None, City] = Agent(model, output_type=NativeOutput(City))
    done["structured"] = (await form.run("Which city?")).output
    file = BinaryContent(b"%PDF-1.4", media_type="application/pdf")
    done["pdf"] = (await plain.run(["Sum it up.", file])).output
    return done


async def main() -> None:
    """Ask over both APIs."""
    provider = OpenAIProvider(base_url=sys.argv[1], api_key="none")
    models = {
        "chats": OpenAIChatModel("default", provider=provider),
        "responses": OpenAIResponsesModel("default", provider=provider),
    }
    done = {name: await asked(model) for name, model in models.items()}
    print(json.dumps(done, default=BaseModel.model_dump))


asyncio.run(main())
