"""/v1/users: whom keys belong to; for administrators."""

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict

from assistant_runtime.api.keys import PRINTED, Name
from assistant_runtime.errors import ApiError
from assistant_runtime.security.audit import note
from assistant_runtime.security.managed_keys import ManagedKeys
from assistant_runtime.stores.users import StoredUser

ROOT = "/v1/users"
PATH = "/v1/users/{user_id}"
PAGE = 100
"""Entries of a page, at most."""

UserId = Annotated[str, Path(max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]
AfterUser = Annotated[str, Query(max_length=128, pattern=PRINTED, description="`next` of the previous page.")]


class NewUser(BaseModel):
    """A user to make."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"name": "carol"}]})

    name: Name


class UserChange(BaseModel):
    """Whether the user's keys open anything."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"disabled": True}]})

    disabled: bool


class UserAnswer(BaseModel):
    """A user; `keys` counts those that are not revoked."""

    object: Literal["user"] = "user"
    id: str
    name: str
    created: int
    disabled: int | None
    keys: int


class UserList(BaseModel):
    """Users by name; `next` is the `after` of the next page."""

    object: Literal["list"] = "list"
    data: list[UserAnswer]
    has_more: bool
    next: str | None


class DeletedUser(BaseModel):
    """A user that is gone, and whose keys are revoked."""

    id: str
    object: Literal["user.deleted"] = "user.deleted"
    deleted: Literal[True] = True


class UserRoutes:
    """The routes of users.

    Parameters
    ----------
    keys
        The keys in the database, and their users.
    """

    def __init__(self, keys: ManagedKeys) -> None:
        self._keys = keys

    async def create(self, body: NewUser) -> UserAnswer:
        """Create a user, for whom keys can be made."""
        user_id = await self._keys.create_user(body.name)
        if user_id is None:
            raise ApiError(409, f"There is a user {body.name!r} already.", code="user_exists", param="name")
        note("user_created", id=user_id)
        return await self.get(user_id)

    async def list(self, limit: Annotated[int, Query(ge=1, le=PAGE)] = 20, after: AfterUser = "") -> UserList:
        """List users; those for whom only a key was made are among them."""
        found = await self._keys.users.listed(limit + 1, after)
        page, more = found[:limit], len(found) > limit
        return UserList(data=[_answer(user) for user in page], has_more=more, next=page[-1].name if more else None)

    async def get(self, user_id: UserId) -> UserAnswer:
        """Give a user."""
        user = await self._keys.users.get(user_id)
        if user is None:
            raise _unknown(user_id)
        return _answer(user)

    async def change(self, user_id: UserId, body: UserChange) -> UserAnswer:
        """Let the user's keys open nothing, or let them open again."""
        if not await self._keys.disable_user(user_id, disabled=body.disabled):
            raise _unknown(user_id)
        note("user_disabled" if body.disabled else "user_enabled", id=user_id)
        return await self.get(user_id)

    async def delete(self, user_id: UserId) -> DeletedUser:
        """Forget a user and revoke its keys; sessions and documents stay for a user of the same name."""
        if not await self._keys.delete_user(user_id):
            raise _unknown(user_id)
        note("user_deleted", id=user_id)
        return DeletedUser(id=user_id)


def users_router(keys: ManagedKeys) -> APIRouter:
    """Give the routes of users."""
    routes = UserRoutes(keys)
    router = APIRouter(tags=["administration"])
    add = router.add_api_route
    add(ROOT, routes.create, methods=["POST"], status_code=201, summary="Create a user")
    add(ROOT, routes.list, methods=["GET"], summary="List users, by name")
    add(PATH, routes.get, methods=["GET"], summary="Get a user")
    add(PATH, routes.change, methods=["PATCH"], summary="Disable or enable a user's keys")
    add(PATH, routes.delete, methods=["DELETE"], summary="Delete a user, and revoke its keys")
    return router


def _answer(user: StoredUser) -> UserAnswer:
    return UserAnswer(
        id=user.id,
        name=user.name,
        created=int(user.created),
        disabled=int(user.disabled) if user.disabled is not None else None,
        keys=user.keys,
    )


def _unknown(user_id: str) -> ApiError:
    return ApiError(404, f"There is no user {user_id!r}.", code="user_not_found", param="user_id")
