"""openai-agents, over responses and over chats: a tool, a handoff, structured output, a stream, a second turn."""

import asyncio
import json
import sys
from typing import Any

from agents import (
    Agent,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    Runner,
    SQLiteSession,
    WebSearchTool,
    function_tool,
    set_tracing_disabled,
)
from openai import AsyncOpenAI
from pydantic import BaseModel


class City(BaseModel):
    """An answer with a form."""

    name: str


@function_tool
def clock(zone: str) -> str:
    """Tell the time."""
    return f"noon in {zone}"


async def asked(model: Any) -> dict[str, Any]:
    """Ask in every way."""
    done: dict[str, Any] = {}
    helper = Agent(name="helper", instructions="Be brief.", model=model)
    agent = Agent(name="desk", instructions="Help.", model=model, tools=[clock])
    done["tool"] = (await Runner.run(agent, "What time is it?")).final_output
    done["chat"] = (await Runner.run(helper, "What is the capital of France?")).final_output
    desk = Agent(name="front", model=model, handoffs=[helper])
    result = await Runner.run(desk, "Let somebody help.")
    done["handoff"] = [result.last_agent.name, result.final_output]
    session = SQLiteSession("one")
    await Runner.run(helper, "I am Ada.", session=session)
    stream = Runner.run_streamed(helper, "Who am I?", session=session)
    kinds = {event.type async for event in stream.stream_events()}
    done["second turn, streamed"] = [stream.final_output, "raw_response_event" in kinds]
    form: Agent[None] = Agent(name="form", model=model, output_type=City)
    done["structured"] = (await Runner.run(form, "Which city?")).final_output
    if isinstance(model, OpenAIResponsesModel):
        searching = Agent(name="search", model=model, tools=[WebSearchTool(), clock])
        done["a search that is not there"] = (await Runner.run(searching, "Search.")).final_output
    return done


async def main() -> None:
    """Ask over both APIs."""
    set_tracing_disabled(disabled=True)
    client = AsyncOpenAI(base_url=sys.argv[1], api_key="none", max_retries=0)
    models = {
        "responses": OpenAIResponsesModel("default", client),
        "chats": OpenAIChatCompletionsModel("default", client),
    }
    done = {name: await asked(model) for name, model in models.items()}
    print(json.dumps(done, default=BaseModel.model_dump))


asyncio.run(main())
