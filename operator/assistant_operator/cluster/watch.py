"""Watches of everything but the AIAssistants: one list and then one stream a kind, narrowed by the server.

kopf watches the AIAssistants. It has no server-side selectors, and watching every Pod or Secret of a cluster is what
makes operators run out of memory, so the children have watches of their own.
"""

import asyncio
import functools
import random
import time
from collections.abc import AsyncIterator, Callable
from http import HTTPStatus

import structlog

from assistant_operator import labels
from assistant_operator.cluster.cache import Cache, Key, owner_key, ref
from assistant_operator.cluster.client import UNREACHABLE, ApiError, ApiServer
from assistant_operator.cluster.kinds import Kind
from assistant_operator.manifests import Object

log = structlog.get_logger()

_WATCH_SECONDS = (270, 330)
"""A watch is renewed after about five minutes, at a random moment, so that many watches do not renew at once."""
_SHORTEST_WATCH_SECONDS = 1.0
_BACKOFF_SECONDS = (0.2, 1, 2, 5, 10, 30)
"""Waits after consecutive failures."""
_REFUSALS = (HTTPStatus.NOT_FOUND, HTTPStatus.FORBIDDEN)
_TRIES = 3
"""Failures after which nobody waits for the first list any more: a conversion webhook may be down for long."""
_UNKNOWN_KIND_SECONDS = 5
"""Wait before a kind that the API server does not know is asked for again: its definition may be installed now."""

OURS = f"{labels.MANAGED_BY}={labels.MANAGER}"
"""Label selector of the objects that the operator makes."""


class Watch:
    """Keeps the cache's picture of one kind up to date, in one namespace or in all.

    Parameters
    ----------
    selector
        Label selector of the objects to see; None: all of them.
    metadata_only
        Whether no more than the objects' metadata is asked for.
    on_change
        Told the assistant that a changed object belongs to by its labels.
    on_object
        Told namespace and name of every changed object, whomever it belongs to.
    on_answer
        Told that the kind was listed, or refused for another reason than before.
    """

    def __init__(
        self,
        api: ApiServer,
        cache: Cache,
        kind: Kind,
        namespace: str | None,
        *,
        selector: str | None = OURS,
        metadata_only: bool = False,
        on_change: Callable[[Key], None] = lambda _: None,
        on_object: Callable[[str, str], None] = lambda *_: None,
        on_answer: Callable[[], None] = lambda: None,
    ) -> None:
        self._api, self._cache, self._kind, self._namespace = api, cache, kind, namespace
        self._selector, self._metadata_only = selector, metadata_only
        self._on_change, self._on_object, self._on_answer = on_change, on_object, on_answer
        self.synced = asyncio.Event()
        """Set by the first list."""
        self.answered = asyncio.Event()
        """Set by the API server's first answer, be it a refusal."""
        self.refusal: ApiError | None = None
        """Why the API server gives no such objects: it knows no such kind, forbids it, or fails from the start."""
        self.last_contact = time.monotonic()

    def covers(self, namespace: str) -> bool:
        """Tell whether it sees the objects of a namespace."""
        return self._namespace in (None, namespace)

    @property
    def name(self) -> str:
        """Kind and namespace, for logs and health reports."""
        return f"{self._kind.plural}/{self._namespace or '*'}"

    async def run(self) -> None:
        """List and watch until cancelled; every failure is logged and followed by another try."""
        failures = 0
        version: str | None = None
        while True:
            try:
                version = version or await self._list()
                started = time.monotonic()
                async for seen in self._changes(version):
                    version, failures = seen, 0
                if time.monotonic() - started < _SHORTEST_WATCH_SECONDS:
                    failures = await self._pause(failures, "the server ended it at once")
            except ApiError as error:
                if error.status in _REFUSALS or (failures >= _TRIES and not self.synced.is_set()):
                    self._refused(error)
                if error.status in (HTTPStatus.GONE, *_REFUSALS):
                    version = None  # the next list also ends a refusal
                failures = await self._pause(failures, error)
            except UNREACHABLE as error:
                failures = await self._pause(failures, error)

    def _refused(self, error: ApiError) -> None:
        news = self.refusal is None or self.refusal.message != error.message
        self.refusal = error
        self.answered.set()
        if news:
            self._on_answer()

    async def _pause(self, failures: int, error: Exception | str) -> int:
        # Trying is life: an API server that is away is no reason to restart the operator.
        self.last_contact = time.monotonic()
        delay = _BACKOFF_SECONDS[min(failures, len(_BACKOFF_SECONDS) - 1)]
        if isinstance(error, ApiError) and error.status == HTTPStatus.NOT_FOUND:
            delay = min(delay, _UNKNOWN_KIND_SECONDS)
        log.warning("watch_failed", watch=self.name, error=str(error) or type(error).__name__, retry_seconds=delay)
        await asyncio.sleep(delay * random.uniform(0.8, 1.2))  # noqa: S311 - jitter, no secret
        return failures + 1

    async def _list(self) -> str:
        page = await self._api.list(
            self._kind,
            self._namespace,
            selector=self._selector,
            metadata_only=self._metadata_only,
            keep=functools.partial(self._cache.trim, self._kind.kind),
        )
        changed, gone = self._cache.replace(self._kind.kind, self._namespace, page.items)
        for key in changed:
            self._on_change(key)
        for found in (*gone, *(ref(self._kind.kind, body) for body in page.items)):
            self._on_object(found.namespace, found.name)
        self.last_contact = time.monotonic()
        self.refusal = None
        self.synced.set()
        self.answered.set()
        self._on_answer()
        return page.resource_version

    async def _changes(self, version: str) -> AsyncIterator[str]:
        stream = self._api.watch(
            self._kind,
            self._namespace,
            version,
            selector=self._selector,
            metadata_only=self._metadata_only,
            timeout_seconds=random.randint(*_WATCH_SECONDS),  # noqa: S311 - jitter, no secret
        )
        async for event, body in stream:
            self.last_contact = time.monotonic()
            if event != "BOOKMARK":
                self._take(event, body)
            yield body["metadata"]["resourceVersion"]

    def _take(self, event: str, body: Object) -> None:
        news = True
        if event == "DELETED":
            self._cache.remove(self._kind.kind, body)
        else:
            news = self._cache.put(self._kind.kind, body)
        # Even if a pass has put this version into the cache already: others may use the object too.
        self._on_object(body["metadata"]["namespace"], body["metadata"]["name"])
        if news and (key := owner_key(body)):
            self._on_change(key)
