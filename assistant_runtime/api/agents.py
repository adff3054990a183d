"""/v1/agents: named agents, each tenant's own beside those of the settings."""

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from assistant_runtime.agents.directory import Directory
from assistant_runtime.api.context import context_of
from assistant_runtime.errors import ApiError
from assistant_runtime.settings.agents import AGENT_NAME, DEFAULT_MAX_STEPS, Agent, AgentName, ToolName

MAX_AGENTS = 1000
"""Of one tenant; who needs more generates them, and can send the prompt with each chat."""

MAX_VERSION = 2**31 - 1
"""Of PostgreSQL's integers."""

PAGE = 100
"""Entries of a page, at most: each may have a prompt of 64 KiB."""

AfterAgent = Annotated[str, Query(max_length=64, description="Last name of the previous page.")]
Name = Annotated[str, Path(pattern=AGENT_NAME)]
ExpectedVersion = Annotated[int | None, Query(ge=1, le=MAX_VERSION)]


class AgentChange(BaseModel):
    """An agent without its name, which is in the path."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "description": "Answers questions that need the web.",
                    "prompt": "Search before you answer, and name your sources.",
                    "tools": ["web_search"],
                    "expected_version": 3,
                }
            ]
        },
    )

    expected_version: int | None = Field(None, ge=0, le=MAX_VERSION)
    """The version that it replaces, 0: there must be none; absent: whatever is there."""
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
    version: int
    """One more with each change; 0 for a shared one."""


class AgentList(BaseModel):
    """Agents that the client can use, by name; `next` is the `after` of the next page."""

    object: Literal["list"] = "list"
    data: list[AgentAnswer]
    has_more: bool
    next: str | None


class DeletedAgent(BaseModel):
    """The agent was deleted."""

    name: str
    deleted: bool = True


class AgentRoutes:
    """The routes of agents.

    Parameters
    ----------
    directory
        Finds and keeps them.
    """

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    async def list(
        self, request: Request, limit: Annotated[int, Query(ge=1, le=PAGE)] = PAGE, after: AfterAgent = ""
    ) -> AgentList:
        """List the agents that the tenant can use."""
        found = await self._directory.page(_tenant(request), limit + 1, after)
        page, more = [_answer(*each) for each in found[:limit]], len(found) > limit
        return AgentList(data=page, has_more=more, next=page[-1].name if more else None)

    async def get(self, request: Request, name: Name) -> AgentAnswer:
        """Give an agent."""
        own = await self._directory.store.get(_tenant(request), name)
        if own is not None:
            return _answer(own.agent, own.version)
        if name not in self._directory.shared:
            raise _unknown(name)
        return _answer(self._directory.shared[name], 0)

    async def put(self, request: Request, response: Response, name: Name, body: AgentChange) -> AgentAnswer:
        """Create or update an agent."""
        agent = Agent(name=name, **body.model_dump(exclude={"expected_version"}))
        await self._check(_tenant(request), agent)
        version = await self._directory.store.put(_tenant(request), agent, body.expected_version)
        if version is None:
            raise await self._conflict(_tenant(request), name, body.expected_version)
        response.status_code = 201 if version == 1 else 200
        return _answer(agent, version)

    async def delete(self, request: Request, name: Name, expected_version: ExpectedVersion = None) -> DeletedAgent:
        """Delete an agent of the tenant's own."""
        if not await self._directory.store.delete(_tenant(request), name, expected_version):
            raise await self._conflict(_tenant(request), name, expected_version)
        return DeletedAgent(name=name)

    async def _check(self, tenant: str, agent: Agent) -> None:
        """Refuse an agent that could not work; raises ApiError."""
        known = {*self._directory.shared, *await self._directory.store.names(tenant)}
        for place, name in enumerate(agent.handoffs):
            if name not in known | {agent.name}:
                where = f"handoffs[{place}]"
                raise ApiError(400, f"{where}: there is no agent {name!r}.", code="invalid_value", param=where)
        if agent.name not in known and len(known) >= MAX_AGENTS:
            raise ApiError(409, f"There are {MAX_AGENTS} agents already: delete some.", code="too_many_agents")

    async def _conflict(self, tenant: str, name: str, expected: int | None) -> ApiError:
        """Say why nothing was changed: the agent is at another version, or gone."""
        current = await self._directory.store.get(tenant, name)
        if current is None:
            return _unknown(name)
        return ApiError(
            409,
            f"The agent is at version {current.version}, not {expected}: read it again and change that version.",
            code="version_conflict",
            param="expected_version",
            headers={"x-agent-version": str(current.version)},
        )


def agents_router(directory: Directory) -> APIRouter:
    """Give the routes of agents."""
    routes = AgentRoutes(directory)
    router = APIRouter(prefix="/v1/agents", tags=["agents"])
    add = router.add_api_route
    add("", routes.list, methods=["GET"], summary="List the agents that the client can use, by name")
    add("/{name}", routes.get, methods=["GET"], summary="Get an agent")
    add(
        "/{name}",
        routes.put,
        methods=["PUT"],
        summary="Create or update an agent",
        responses={201: {"model": AgentAnswer}},
    )
    add("/{name}", routes.delete, methods=["DELETE"], summary="Delete one of the tenant's own agents")
    return router


def _tenant(request: Request) -> str:
    return context_of(request.scope).tenant


def _answer(agent: Agent, version: int) -> AgentAnswer:
    return AgentAnswer(**agent.model_dump(), shared=version == 0, version=version)


def _unknown(name: str) -> ApiError:
    return ApiError(404, f"There is no agent {name!r} of your own.", code="agent_not_found", param="name")
