"""/v1/responses/ID: stored responses, each tenant's own."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, ConfigDict

from assistant_runtime.api.context import context_of
from assistant_runtime.api.responses.stored import StoredResponses
from assistant_runtime.api.schemas import ResponseAnswer
from assistant_runtime.errors import ApiError

PATH = "/v1/responses/{response_id}"
PAGE = 100
"""Items of a page, at most."""

ResponseId = Annotated[str, Path(max_length=128)]
Limit = Annotated[int, Query(ge=1, le=PAGE)]
Streamed = Annotated[bool | None, Query(description="Only false: a stored response can't be streamed.")]
After = Annotated[str, Query(max_length=128, description="`last_id` of the previous page.")]


class InputItems(BaseModel):
    """A page of a response's input items."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "object": "list",
                    "data": [
                        {
                            "id": "msg_0f8fad5bd9cb469fa165708677289500000000100",
                            "type": "message",
                            "role": "user",
                            "status": "completed",
                            "content": [{"type": "input_text", "text": "What is the capital of France?"}],
                        }
                    ],
                    "first_id": "msg_0f8fad5bd9cb469fa165708677289500000000100",
                    "last_id": "msg_0f8fad5bd9cb469fa165708677289500000000100",
                    "has_more": False,
                }
            ]
        }
    )

    object: Literal["list"] = "list"
    data: list[dict[str, Any]]
    first_id: str | None
    last_id: str | None
    has_more: bool


class DeletedResponse(BaseModel):
    """The response was deleted."""

    id: str
    object: Literal["response"] = "response"
    deleted: Literal[True] = True


class ResponseRoutes:
    """The routes of stored responses.

    Parameters
    ----------
    stored
        The responses.
    """

    def __init__(self, stored: StoredResponses) -> None:
        self._stored = stored

    async def get(self, request: Request, response_id: ResponseId, stream: Streamed = None) -> ResponseAnswer:
        """Give a response."""
        if stream:
            raise ApiError(400, "stream: a stored response can't be streamed", code="invalid_value", param="stream")
        return ResponseAnswer.model_validate(await self._stored.get(_tenant(request), response_id))

    async def delete(self, request: Request, response_id: ResponseId) -> DeletedResponse:
        """Delete a response."""
        await self._stored.delete(_tenant(request), response_id)
        return DeletedResponse(id=response_id)

    async def compact(self) -> None:
        """Refuse what is not offered by its name, which would be taken for a response's id."""
        raise ApiError(
            404,
            "Compaction is not offered: shorten the conversation in `input`, or follow a stored response.",
            code="not_found",
        )

    async def input_items(
        self,
        request: Request,
        response_id: ResponseId,
        limit: Limit = 20,
        order: Literal["asc", "desc"] = "desc",
        after: After = "",
    ) -> InputItems:
        """Give a page of a response's input."""
        data, more = await self._stored.input_items(
            _tenant(request), response_id, limit=limit, newest_first=order == "desc", after=after
        )
        first, last = (data[0]["id"], data[-1]["id"]) if data else (None, None)
        return InputItems(data=data, first_id=first, last_id=last, has_more=more)


def responses_router(stored: StoredResponses) -> APIRouter:
    """Give the routes of stored responses."""
    routes = ResponseRoutes(stored)
    router = APIRouter(tags=["responses"])
    add = router.add_api_route
    add("/v1/responses/compact", routes.compact, methods=["POST"], include_in_schema=False)
    add(PATH, routes.get, methods=["GET"], summary="Get a stored response")
    add(PATH, routes.delete, methods=["DELETE"], summary="Delete a stored response")
    add(f"{PATH}/input_items", routes.input_items, methods=["GET"], summary="List a stored response's input items")
    return router


def _tenant(request: Request) -> str:
    return context_of(request.scope).tenant
