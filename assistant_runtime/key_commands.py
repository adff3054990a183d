"""`assistant-runtime keys create | list | revoke`: API keys in the database of the environment's settings.

The same as /v1/keys, for whoever can reach the database and has SECRET_KEY, without a server that runs. A secret goes
to standard output with nothing else, and what is said about it to standard error.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime

from pydantic import ValidationError

from assistant_runtime.api.keys import KeyLimit, NewKey, wanted_key
from assistant_runtime.errors import AssistantError, StoreUnavailableError
from assistant_runtime.security.choice import choose_security
from assistant_runtime.security.managed_keys import ManagedKeys
from assistant_runtime.settings import Settings
from assistant_runtime.settings.values import problem_lines
from assistant_runtime.stores.choice import choose_stores
from assistant_runtime.stores.keys import StoredKey

PAGE = 100
"""Keys that are read at once."""

Work = Callable[[ManagedKeys], Awaitable[dict[str, object]]]
"""Does something with keys; gives what the audit log is to say of it."""


class CommandError(AssistantError):
    """The command can't be done; the text says why."""


def run(settings: Settings, options: argparse.Namespace) -> int:
    """Run a command; gives the exit code."""
    try:
        asyncio.run(_in_database(settings, options.action, lambda keys: ACTIONS[options.action](keys, options)))
    except (CommandError, StoreUnavailableError) as error:
        _say(f"assistant-runtime: {error}")
        return 1
    return 0


async def create(keys: ManagedKeys, options: argparse.Namespace) -> dict[str, object]:
    """Make a key and print its secret."""
    secret, key = await keys.create(wanted_key(_wanted(options)))
    _say(f"{key.id}: {', '.join(key.scopes)}; this is the only time that the key is shown")
    print(secret)  # noqa: T201 - a command's output
    return {"id": key.id, "user": key.user, "scopes": key.scopes}


async def listed(keys: ManagedKeys, options: argparse.Namespace) -> dict[str, object]:
    """Print every key, one a line with tabs between."""
    after, count = "", 0
    while page := await keys.store.listed(PAGE, after, options.user):
        for key in page:
            print("\t".join(_columns(key)))  # noqa: T201 - a command's output
        after, count = page[-1].id, count + len(page)
    return {"count": count}


async def revoke(keys: ManagedKeys, options: argparse.Namespace) -> dict[str, object]:
    """Revoke a key."""
    if not await keys.revoke(options.id):
        raise CommandError(f"there is no key {options.id!r}")
    _say(f"{options.id} is revoked: every replica refuses it within seconds")
    return {"id": options.id}


ACTIONS = {"create": create, "list": listed, "revoke": revoke}


async def _in_database(settings: Settings, action: str, work: Work) -> None:
    if settings.secret_key is None:
        raise CommandError("SECRET_KEY: set it as the server has it, or the server would not know the key")
    stores = choose_stores(settings)
    security = choose_security(settings, stores)
    try:
        if security.managed is None or stores.database is None:
            raise CommandError("keys are kept in a database: set DATABASE_URL or DATA_DIR as the server has it")
        for backend in stores.backends:
            await backend.open()
        if not stores.database.available:
            raise CommandError(f"DATABASE_URL: {stores.database.check()['detail'].partition(';')[0]}")
        done = await work(security.managed)
        if security.audit is not None:
            security.audit.add("command", {"command": f"keys {action}", **done})
            security.audit.add("chain_ended", {})
            await security.audit.flush()
    finally:
        for backend in stores.backends:
            await backend.aclose()


def _wanted(options: argparse.Namespace) -> NewKey:
    given = {
        "name": options.name,
        "user": options.user,
        "scopes": options.scope,
        "models": options.model,
        "tools": options.tool,
        "expires_in": options.expires_in,
        "token_budget_daily": options.token_budget_daily,
        "token_budget_monthly": options.token_budget_monthly,
        "tokens_per_minute": options.tokens_per_minute,
        "max_parallel_requests": options.max_parallel_requests,
    }
    try:
        if options.rate_limit is not None:
            requests, window = options.rate_limit
            given["rate_limit"] = KeyLimit(requests=requests, window=window)
        return NewKey.model_validate({name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        raise CommandError("; ".join(problem_lines(error))) from None


def _columns(key: StoredKey) -> Iterator[str]:
    yield key.id
    yield key.name
    yield key.user or "-"
    yield ",".join(key.scopes)
    yield f"{datetime.fromtimestamp(key.created, UTC):%Y-%m-%d}"
    yield _state(key)


def _state(key: StoredKey) -> str:
    if key.revoked is not None:
        return f"revoked {datetime.fromtimestamp(key.revoked, UTC):%Y-%m-%d}"
    if key.expires is None:
        return "valid"
    word = "valid until" if key.valid(time.time()) else "expired"
    return f"{word} {datetime.fromtimestamp(key.expires, UTC):%Y-%m-%d}"


def _say(text: str) -> None:
    print(text, file=sys.stderr)  # noqa: T201 - a command's output
