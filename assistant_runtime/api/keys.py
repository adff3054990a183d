"""/v1/keys and /v1/usage: administrators make keys and read everyone's usage, and each key reads its own."""

import time
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from assistant_runtime.api.context import context_of
from assistant_runtime.errors import ApiError
from assistant_runtime.security.audit import note
from assistant_runtime.security.managed_keys import ManagedKeys
from assistant_runtime.security.principal import USER_SCOPES, Principal, Scope
from assistant_runtime.settings.security import MAX_TOKENS
from assistant_runtime.stores.keys import FIRST, StoredKey, WantedUsage

PRINTED = r"^[^\x00-\x1f]*$"
"""No control characters: PostgreSQL takes no NUL."""

Name = Annotated[str, Field(min_length=1, max_length=128, pattern=PRINTED)]
Tokens = Annotated[int, Field(ge=1, le=MAX_TOKENS)]
Parallel = Annotated[int, Field(ge=1, le=100_000, description="Parallel requests in each replica.")]
Allowed = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=256, pattern=PRINTED)]], Field(min_length=1, max_length=64)
]
KeyId = Annotated[str, Path(max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]
AfterKey = Annotated[str, Query(max_length=64, pattern=r"^[A-Za-z0-9_-]*$", description="`next` of the previous page.")]
OfUser = Annotated[
    str | None, Query(max_length=128, pattern=PRINTED, description="Name of a user, for this user's keys only.")
]
ROOT = "/v1/keys"
PATH = "/v1/keys/{key_id}"
PAGE = 100
"""Entries of a page, at most."""


USAGE_PAGE = 1000
"""Entries of a page of usage, at most."""


class KeyLimit(BaseModel):
    """A rate limit of a key's own."""

    model_config = ConfigDict(extra="forbid")

    requests: Annotated[int, Field(ge=1, le=100_000)]
    window: Annotated[int, Field(ge=1, le=86_400, description="Seconds.")]


class NewKey(BaseModel):
    """What a key is to open."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"name": "CI", "scopes": ["chat"], "expires_in": 7776000, "tokens_per_minute": 100000}]
        },
    )

    name: Name
    user: Annotated[
        Name | None, Field(description="The key's user; keys of one user share sessions and documents.")
    ] = None
    # mypy knows of USER_SCOPES only that they are strings.
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=16)] = sorted(USER_SCOPES)  # type: ignore[arg-type]
    rate_limit: KeyLimit | None = None
    token_budget_daily: Tokens | None = None
    token_budget_monthly: Tokens | None = None
    tokens_per_minute: Tokens | None = None
    max_parallel_requests: Parallel | None = None
    models: Allowed | None = Field(
        None, description="Models that the key may use, as /v1/models names them; null: all."
    )
    tools: Allowed | None = Field(
        None, description="The runtime's tools that the key may use, such as `web_search` or `desk_*`; null: all."
    )
    expires_in: Annotated[int | None, Field(ge=60, le=10**9, description="Seconds.")] = None


class KeyChange(BaseModel):
    """What is to change of a key."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"token_budget_daily": 2000000, "rate_limit": None}]}
    )

    name: Name | None = None
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=16)] | None = None
    rate_limit: KeyLimit | None = None
    token_budget_daily: Tokens | None = None
    token_budget_monthly: Tokens | None = None
    tokens_per_minute: Tokens | None = None
    max_parallel_requests: Parallel | None = None
    models: Allowed | None = Field(
        None, description="Models that the key may use, as /v1/models names them; null: all."
    )
    tools: Allowed | None = Field(
        None, description="The runtime's tools that the key may use, such as `web_search` or `desk_*`; null: all."
    )
    expires_in: Annotated[int | None, Field(ge=60, le=10**9, description="Seconds from now.")] = None


class KeyAnswer(BaseModel):
    """A key, without its secret."""

    object: Literal["api_key"] = "api_key"
    id: str
    name: str
    user: str | None
    hint: str
    scopes: list[str]
    rate_limit: KeyLimit | None
    token_budget_daily: int | None
    token_budget_monthly: int | None
    tokens_per_minute: int | None
    max_parallel_requests: int | None
    models: list[str] | None
    tools: list[str] | None
    created: int
    expires: int | None
    revoked: int | None


class CreatedKey(KeyAnswer):
    """A new key; `key` is its secret, which is told this once."""

    key: str


class KeyList(BaseModel):
    """Keys by id; `next` is the `after` of the next page."""

    object: Literal["list"] = "list"
    data: list[KeyAnswer]
    has_more: bool
    next: str | None


class UsageQuery(BaseModel):
    """Which usage is asked for."""

    since: date | None = Field(None, description="First day; default: 30 days ago.")
    until: date | None = Field(None, description="Last day; default: today.")
    key_id: str | None = Field(None, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")
    user: str | None = Field(
        None, max_length=128, pattern=PRINTED, description="Name of a user, for this user's keys only."
    )
    limit: int = Field(USAGE_PAGE, ge=1, le=USAGE_PAGE)
    after: str = Field("", max_length=400, pattern=PRINTED, description="`next` of the previous page.")


class UsageEntry(BaseModel):
    """What a key spent on a model in a day (UTC)."""

    key_id: str
    model: str
    day: date
    requests: int
    input_tokens: int
    output_tokens: int


class UsageList(BaseModel):
    """What was spent, by day; `next` is the `after` of the next page."""

    object: Literal["list"] = "list"
    data: list[UsageEntry]
    has_more: bool
    next: str | None


class KeyRoutes:
    """The routes of keys and usage.

    Parameters
    ----------
    keys
        The keys in the database.
    """

    def __init__(self, keys: ManagedKeys) -> None:
        self._keys = keys

    async def create(self, body: NewKey) -> CreatedKey:
        """Create a key, and tell its secret this once."""
        secret, key = await self._keys.create(wanted_key(body))
        note("key_created", id=key.id, user=key.user, scopes=key.scopes)
        return CreatedKey(**_answer(key).model_dump(), key=secret)

    async def list(
        self, limit: Annotated[int, Query(ge=1, le=PAGE)] = 20, after: AfterKey = "", user: OfUser = None
    ) -> KeyList:
        """List keys, also those that are revoked or have expired."""
        found = await self._keys.store.listed(limit + 1, after, user)
        page, more = found[:limit], len(found) > limit
        return KeyList(data=[_answer(key) for key in page], has_more=more, next=page[-1].id if more else None)

    async def get(self, key_id: KeyId) -> KeyAnswer:
        """Give a key."""
        return _answer(await self._known(key_id))

    async def change(self, key_id: KeyId, body: KeyChange) -> KeyAnswer:
        """Change what is given; null takes a limit, a budget or an expiry away."""
        changes = _changes(body)
        await self._keys.change(key_id, changes)
        key = await self._known(key_id)
        note("key_changed", id=key.id, fields=sorted(changes))
        return _answer(key)

    async def revoke(self, key_id: KeyId) -> KeyAnswer:
        """Revoke a key for good."""
        await self._keys.revoke(key_id)
        key = await self._known(key_id)
        note("key_revoked", id=key.id)
        return _answer(key)

    async def usage(self, request: Request, asked: Annotated[UsageQuery, Query()]) -> UsageList:
        """Tell what was spent: by anyone to an administrator, and by itself to any other key."""
        principal = context_of(request.scope).principal
        if "admin" not in principal.scopes:
            asked = asked.model_copy(update={"key_id": _own(principal, asked), "user": None})
        today, limit = datetime.now(UTC).date(), asked.limit
        first, last = asked.since or today - timedelta(days=30), asked.until or today
        wanted = WantedUsage(first.isoformat(), last.isoformat(), asked.key_id, asked.user)
        found = await self._keys.store.usage(wanted, limit + 1, _usage_place(asked.after))
        page, more = found[:limit], len(found) > limit
        return UsageList(
            data=[UsageEntry.model_validate(row, from_attributes=True) for row in page],
            has_more=more,
            next=f"{page[-1].day}/{page[-1].key_id}/{page[-1].model}" if more else None,
        )

    async def _known(self, key_id: str) -> StoredKey:
        key = await self._keys.store.get(key_id)
        if key is None:
            raise ApiError(404, f"There is no key {key_id!r}.", code="key_not_found", param="key_id")
        return key


def _own(principal: Principal, asked: UsageQuery) -> str:
    """Give the key's own id; raises ApiError 403 where another's usage is asked for."""
    if asked.user is not None or asked.key_id not in {None, principal.key_id}:
        principal.require("admin", "user" if asked.user is not None else "key_id")
    return principal.key_id


def keys_router(keys: ManagedKeys) -> APIRouter:
    """Give the routes of keys and usage."""
    routes = KeyRoutes(keys)
    router = APIRouter(tags=["administration"])
    add = router.add_api_route
    add(ROOT, routes.create, methods=["POST"], status_code=201, summary="Create a key")
    add(ROOT, routes.list, methods=["GET"], summary="List keys")
    add(PATH, routes.get, methods=["GET"], summary="Get a key")
    add(PATH, routes.change, methods=["PATCH"], summary="Update a key; every replica applies it within seconds")
    add(PATH, routes.revoke, methods=["DELETE"], summary="Revoke a key; every replica refuses it within seconds")
    add("/v1/usage", routes.usage, methods=["GET"], summary="List requests and tokens by key, model and day")
    return router


def wanted_key(body: NewKey) -> StoredKey:
    """Give the key that is to be made, as far as it is known before."""
    now = time.time()
    return StoredKey(
        id="",
        digest="",
        hint="",
        name=body.name,
        user=body.user or "",
        tenant="",
        scopes=tuple(sorted(set(body.scopes))),
        created=now,
        rate_limit_requests=body.rate_limit.requests if body.rate_limit else None,
        rate_limit_window=body.rate_limit.window if body.rate_limit else None,
        budget_daily=body.token_budget_daily,
        budget_monthly=body.token_budget_monthly,
        tokens_per_minute=body.tokens_per_minute,
        max_parallel_requests=body.max_parallel_requests,
        models=None if body.models is None else tuple(sorted(set(body.models))),
        tools=None if body.tools is None else tuple(sorted(set(body.tools))),
        expires=now + body.expires_in if body.expires_in else None,
    )


def _usage_place(after: str) -> tuple[str, str, str]:
    """Read the `next` of a page of usage: a day, a key, and a model, which may have slashes of its own."""
    if not after:
        return FIRST
    day, _, rest = after.partition("/")
    key_id, found, model = rest.partition("/")
    if not found:
        raise ApiError(400, "after: give `next` of the previous page.", code="invalid_value", param="after")
    return day, key_id, model


def _changes(body: KeyChange) -> dict[str, Any]:
    """Give the fields to set, by their names in the store."""
    given: dict[str, Any] = {"name": body.name, "scopes": sorted(set(body.scopes or ()))}
    changes = {name: value for name, value in given.items() if value}
    limit = body.rate_limit
    limited = {"rate_limit_requests": limit and limit.requests, "rate_limit_window": limit and limit.window}
    removable: dict[str, dict[str, Any]] = {
        "rate_limit": limited,
        "token_budget_daily": {"budget_daily": body.token_budget_daily},
        "token_budget_monthly": {"budget_monthly": body.token_budget_monthly},
        "tokens_per_minute": {"tokens_per_minute": body.tokens_per_minute},
        "max_parallel_requests": {"max_parallel_requests": body.max_parallel_requests},
        "models": {"models": body.models},
        "tools": {"tools": body.tools},
        "expires_in": {"expires": body.expires_in and time.time() + body.expires_in},
    }
    for name in removable.keys() & body.model_fields_set:
        changes |= removable[name]
    return changes


def _answer(key: StoredKey) -> KeyAnswer:
    limited = key.rate_limit_requests is not None and key.rate_limit_window is not None
    return KeyAnswer(
        id=key.id,
        name=key.name,
        user=key.user or None,
        hint=f"...{key.hint}",
        scopes=list(key.scopes),
        rate_limit=KeyLimit(requests=key.rate_limit_requests or 1, window=key.rate_limit_window or 1)
        if limited
        else None,
        token_budget_daily=key.budget_daily,
        token_budget_monthly=key.budget_monthly,
        tokens_per_minute=key.tokens_per_minute,
        max_parallel_requests=key.max_parallel_requests,
        models=None if key.models is None else list(key.models),
        tools=None if key.tools is None else list(key.tools),
        created=int(key.created),
        expires=int(key.expires) if key.expires is not None else None,
        revoked=int(key.revoked) if key.revoked is not None else None,
    )
