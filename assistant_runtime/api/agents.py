"""/v1/agents: named agents, each tenant's own beside those of the settings."""

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from assistant_runtime.agents.directory import Directory
from assistant_runtime.api.context import context_of
from assistant_runtime.errors import ApiError
from assistant_runtime.settings.agents import AGENT_NAME, DEFAULT_MAX_STEPS, Agent, AgentName, ToolName

MAX_AGENTS = 1000
"""Of one tenant; who needs more generates them, and can send the prompt with each chat."""

Name = Annotated[str, Path(pattern=AGENT_NAME)]


class AgentChange(BaseModel):
    """An agent, without its name, which stands in the path."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "description": "Answers questions that need the web.",
                    "prompt": "Search before you answer, and name your sources.",
                    "tools": ["web_search"],
                }
            ]
        },
    )

    description: str = Field("", max_length=1024)
    prompt: str = Field(min_length=1, max_length=64 * 1024)
    model: str | None = Field(None, min_length=1, max_length=256)
    tools: list[ToolName] | None = Field(None, max_length=64)
    handoffs: list[AgentName] = Field([], max_length=32)
    max_steps: int = Field(DEFAULT_MAX_STEPS, ge=1, le=100)


class AgentAnswer(Agent):
    """An agent, and whether it is the tenant's own."""

    shared: bool
    """Whether it comes from the settings, for everyone; such a one can't be changed or deleted here."""


class AgentList(BaseModel):
    """Agents that can be asked."""

    data: list[AgentAnswer]


class DeletedAgent(BaseModel):
    """An agent that is gone."""

    name: str
    deleted: bool = True


def agents_router(directory: Directory) -> APIRouter:
    """Give the routes of agents."""
    router = APIRouter(prefix="/v1/agents", tags=["agents"])

    @router.get("", summary="Agents that can be asked, by name")
    async def listed(request: Request) -> AgentList:
        tenant = context_of(request.scope).tenant
        own = {agent.name for agent in await directory.store.list(tenant)}
        return AgentList(data=[_answer(agent, own) for agent in await directory.all(tenant)])

    @router.get("/{name}", summary="An agent")
    async def get(request: Request, name: Name) -> AgentAnswer:
        tenant = context_of(request.scope).tenant
        own = await directory.store.get(tenant, name)
        agent = own or directory.shared.get(name)
        if agent is None:
            raise _unknown(name)
        return _answer(agent, {name} if own else set())

    @router.put("/{name}", summary="Make an agent, or change it", responses={201: {"model": AgentAnswer}})
    async def put(request: Request, response: Response, name: Name, body: AgentChange) -> AgentAnswer:
        tenant = context_of(request.scope).tenant
        agent = Agent(name=name, **body.model_dump())
        await _check(directory, tenant, agent)
        response.status_code = 201 if await directory.store.put(tenant, agent) else 200
        return _answer(agent, {name})

    @router.delete("/{name}", summary="Delete an agent of one's own")
    async def delete(request: Request, name: Name) -> DeletedAgent:
        if not await directory.store.delete(context_of(request.scope).tenant, name):
            raise _unknown(name)
        return DeletedAgent(name=name)

    return router


async def _check(directory: Directory, tenant: str, agent: Agent) -> None:
    """Refuse an agent that could not work; raises ApiError."""
    known = {each.name for each in await directory.all(tenant)}
    for place, name in enumerate(agent.handoffs):
        if name not in known | {agent.name}:
            raise ApiError(
                400, f"handoffs[{place}]: there is no agent {name!r}.", code="invalid_value", param=f"handoffs[{place}]"
            )
    if agent.name not in known and len(known) >= MAX_AGENTS:
        raise ApiError(409, f"There are {MAX_AGENTS} agents already: delete some.", code="too_many_agents")


def _answer(agent: Agent, own: set[str]) -> AgentAnswer:
    return AgentAnswer(**agent.model_dump(), shared=agent.name not in own)


def _unknown(name: str) -> ApiError:
    return ApiError(404, f"There is no agent {name!r} of your own.", code="agent_not_found", param="name")
