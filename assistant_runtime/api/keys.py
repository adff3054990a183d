"""/v1/keys and /v1/usage: what administrators do; both need the scope `admin` and a database."""

import time
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from assistant_runtime.errors import ApiError
from assistant_runtime.security.audit import note
from assistant_runtime.security.managed_keys import ManagedKeys
from assistant_runtime.security.principal import USER_SCOPES, Scope
from assistant_runtime.settings.security import MAX_TOKENS
from assistant_runtime.stores.keys import StoredKey

Name = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f]+$")]
Tokens = Annotated[int, Field(ge=1, le=MAX_TOKENS)]
KeyId = Annotated[str, Path(max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]
PAGE = 100


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
            "examples": [{"name": "CI", "scopes": ["chat"], "expires_in": 7776000, "token_budget_daily": 1000000}]
        },
    )

    name: Name
    user: Annotated[
        Name | None, Field(description="Whose key it is: keys of one user share sessions and documents.")
    ] = None
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=16)] = sorted(USER_SCOPES)  # type: ignore[arg-type]
    rate_limit: KeyLimit | None = None
    token_budget_daily: Tokens | None = None
    token_budget_monthly: Tokens | None = None
    expires_in: Annotated[int | None, Field(ge=60, le=10**9, description="Seconds.")] = None


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
    next: str | None


class UsageEntry(BaseModel):
    """What a key spent on a model in a day (UTC)."""

    key_id: str
    model: str
    day: date
    requests: int
    input_tokens: int
    output_tokens: int


class UsageList(BaseModel):
    """What was spent, by day."""

    object: Literal["list"] = "list"
    data: list[UsageEntry]


def keys_router(keys: ManagedKeys) -> APIRouter:
    """Give the routes of keys and usage."""
    router = APIRouter(tags=["administration"])

    @router.post("/v1/keys", summary="Make a key", status_code=201)
    async def create(body: NewKey) -> CreatedKey:
        secret, key = await keys.create(_wanted(body))
        note("key_created", id=key.id, user=key.user, scopes=key.scopes)
        return CreatedKey(**_answer(key).model_dump(), key=secret)

    @router.get("/v1/keys", summary="List keys")
    async def listed(
        limit: Annotated[int, Query(ge=1, le=PAGE)] = 20,
        after: Annotated[str, Query(max_length=64, pattern=r"^[A-Za-z0-9_-]*$")] = "",
    ) -> KeyList:
        found = await keys.store.listed(limit + 1, after)
        page = found[:limit]
        return KeyList(data=[_answer(key) for key in page], next=page[-1].id if len(found) > limit else None)

    @router.get("/v1/keys/{key_id}", summary="A key")
    async def get(key_id: KeyId) -> KeyAnswer:
        return _answer(await _known(keys, key_id))

    @router.delete("/v1/keys/{key_id}", summary="Revoke a key: every replica refuses it within seconds")
    async def revoke(key_id: KeyId) -> KeyAnswer:
        await keys.revoke(key_id)
        return _answer(await _known(keys, key_id))

    @router.get("/v1/usage", summary="Tokens by key, model and day")
    async def usage(
        since: Annotated[date | None, Query(description="First day; default: 30 days ago.")] = None,
        until: Annotated[date | None, Query(description="Last day; default: today.")] = None,
        key_id: Annotated[str | None, Query(max_length=64, pattern=r"^[A-Za-z0-9_-]+$")] = None,
    ) -> UsageList:
        today = datetime.now(UTC).date()
        first, last = since or today - timedelta(days=30), until or today
        rows = await keys.store.usage(first.isoformat(), last.isoformat(), key_id)
        return UsageList(data=[UsageEntry.model_validate(row, from_attributes=True) for row in rows])

    return router


async def _known(keys: ManagedKeys, key_id: str) -> StoredKey:
    key = await keys.store.get(key_id)
    if key is None:
        raise ApiError(404, f"There is no key {key_id!r}.", code="key_not_found", param="key_id")
    return key


def _wanted(body: NewKey) -> StoredKey:
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
        expires=now + body.expires_in if body.expires_in else None,
    )


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
        created=int(key.created),
        expires=int(key.expires) if key.expires is not None else None,
        revoked=int(key.revoked) if key.revoked is not None else None,
    )
