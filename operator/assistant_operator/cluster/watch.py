"""Watches of the operator's own objects: one list and then one stream a kind, narrowed by the server.

kopf watches the AIAssistants. It has no server-side selectors, and watching every Pod or Secret of a cluster is what
makes operators run out of memory, so the children have watches of their own.
"""

import asyncio
import functools
import random
import time
from collections.abc import AsyncIterator, Callable

import structlog

from assistant_operator import labels
from assistant_operator.cluster import kinds
from assistant_operator.cluster.cache import Cache, Key, owner_key, trim
from assistant_operator.cluster.client import UNREACHABLE, ApiError, ApiServer
from assistant_operator.cluster.kinds import Kind
from assistant_operator.manifests import Object

log = structlog.get_logger()

_GONE = 410
_WATCH_SECONDS = (270, 330)
"""A watch is renewed after about five minutes, at a random moment, so that many watches do not renew at once."""
_SHORTEST_WATCH_SECONDS = 1.0
_BACKOFF_SECONDS = (0.2, 1, 2, 5, 10, 30)
"""Waits after consecutive failures."""

OnSecret = Callable[[str, str], None]
OnChange = Callable[[Key], None]


class Watch:
    """Keeps the cache's picture of one kind up to date, in one namespace or in all.

    Parameters
    ----------
    on_change
        Told the assistant that a changed object belongs to.
    on_secret
        Told namespace and name of every changed Secret, the user's included.
    """

    def __init__(
        self,
        api: ApiServer,
        cache: Cache,
        kind: Kind,
        namespace: str | None,
        *,
        on_change: OnChange,
        on_secret: OnSecret,
    ) -> None:
        self._api, self._cache, self._kind, self._namespace = api, cache, kind, namespace
        self._on_change, self._on_secret = on_change, on_secret
        # Of Secrets, everyone's metadata and nobody's data: a referenced Secret carries none of our labels.
        self._metadata_only = kind is kinds.SECRET
        self._selector = None if self._metadata_only else f"{labels.MANAGED_BY}={labels.MANAGER}"
        self.synced = asyncio.Event()
        self.last_contact = time.monotonic()

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
                if error.status == _GONE:
                    version = None
                failures = await self._pause(failures, error)
            except UNREACHABLE as error:
                failures = await self._pause(failures, error)

    async def _pause(self, failures: int, error: Exception | str) -> int:
        # Trying is life: an API server that is away is no reason to restart the operator.
        self.last_contact = time.monotonic()
        delay = _BACKOFF_SECONDS[min(failures, len(_BACKOFF_SECONDS) - 1)]
        log.warning("watch_failed", watch=self.name, error=str(error) or type(error).__name__, retry_seconds=delay)
        await asyncio.sleep(delay * random.uniform(0.8, 1.2))  # noqa: S311 - jitter, no secret
        return failures + 1

    async def _list(self) -> str:
        page = await self._api.list(
            self._kind,
            self._namespace,
            selector=self._selector,
            metadata_only=self._metadata_only,
            keep=functools.partial(trim, self._kind.kind),
        )
        for key in self._cache.replace(self._kind.kind, self._namespace, page.items):
            self._on_change(key)
        if self._metadata_only:
            for body in page.items:
                self._on_secret(body["metadata"]["namespace"], body["metadata"]["name"])
        self.last_contact = time.monotonic()
        self.synced.set()
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
        if self._metadata_only:
            # Even if a pass has put this version into the cache already: others may use the Secret too.
            self._on_secret(body["metadata"]["namespace"], body["metadata"]["name"])
        if news and (key := owner_key(body)):
            self._on_change(key)
