"""Watches of everything that is read: one list and then one stream a kind, narrowed by the server.

No object and no answer ends a watch. What can't be read is left out of a list, named in the log and counted. A watch
goes on from a version only after it has ended at its time; whatever else ends it is followed by a fresh list. For the
API server may have been restarted with an older state, and a watch from a version that it has not reached yet is
silent, and ends well, until it has.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import orjson
import structlog

from assistant_operator import labels
from assistant_operator.cluster.cache import Cache, Key, Ref, owner_key, ref
from assistant_operator.cluster.client import UNREACHABLE, ApiError, ApiServer
from assistant_operator.cluster.decoding import UnreadableError, is_readable, is_version
from assistant_operator.kinds import Kind
from assistant_operator.rooms.manifests import Object

log = structlog.get_logger()

_WATCH_SECONDS = (25, 35)
"""A watch is renewed after half a minute, at a random moment, so that many watches do not renew at once.

Its end is the sign of life that can't fail to come: a connection that a proxy or a lost route has silenced is noticed
within a minute, without any change to wait for. To go on from a version costs the API server next to nothing.
"""
_EARLY_SECONDS = 1.0
"""A watch that ends so much before its time was ended by something else than its time."""
_BACKOFF_SECONDS = (0.2, 1, 2, 5, 10)
"""Waits after consecutive failures; short enough for a watch to be back soon after the API server is."""
_REFUSALS = (HTTPStatus.NOT_FOUND, HTTPStatus.FORBIDDEN)
_OVERLOADED = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.INTERNAL_SERVER_ERROR, HTTPStatus.SERVICE_UNAVAILABLE)
"""Answers of an API server that has too much to do for a list."""
_TRIES = 3
"""Failures after which nobody waits for the first list any more: a conversion webhook may be down for long."""
_UNKNOWN_KIND_SECONDS = 5
"""Wait before a kind that the API server does not know is asked for again: its definition may be installed now."""

OURS = f"{labels.MANAGED_BY}={labels.MANAGER}"
"""Label selector of the objects that the operator makes."""


@dataclass(frozen=True)
class Target:
    """What a watch watches: a kind, in one namespace or in all."""

    kind: Kind
    namespace: str | None
    selector: str | None = OURS
    """Label selector of the objects to see; None: all of them."""
    metadata_only: bool = False
    """Whether no more than the objects' metadata is asked for."""

    @property
    def name(self) -> str:
        """Kind and namespace, for logs and health reports."""
        name = f"{self.kind.plural}/{self.namespace or '*'}"
        return f"{name} (metadata)" if self.metadata_only else name


def _ignore(*_: Any) -> None:
    pass


@dataclass(frozen=True)
class Listener:
    """Who is called by a watch."""

    on_change: Callable[[Key], None] = _ignore
    """With the assistant that a changed object belongs to by its labels."""
    on_object: Callable[[Ref, bool], None] = _ignore
    """With every object that a list or event names, whomever it belongs to, and whether it was news to the cache."""
    on_answer: Callable[[], None] = _ignore
    """When the kind was listed for the first time or after a refusal, or refused for another reason than before."""
    on_unreadable: Callable[[str], None] = _ignore
    """With the plural of an object or event that can't be read."""
    on_contact: Callable[[], None] = _ignore
    """At each sign of life of the API server."""
    on_failure: Callable[[str, str], None] = _ignore
    """With its name and the kind of a failure."""


class Watch:
    """Keeps the cache's picture of one kind up to date."""

    def __init__(self, api: ApiServer, cache: Cache, target: Target, listener: Listener) -> None:
        self._api, self._cache, self._listener = api, cache, listener
        self.target = target
        self.synced = asyncio.Event()
        """Set by the first list."""
        self.answered = asyncio.Event()
        """Set by the API server's first answer, be it a refusal."""
        self.refusal: ApiError | None = None
        """Why the API server gives no such objects: it knows no such kind, forbids it, or has failed from the start."""
        self.last_contact = time.monotonic()
        """When the API server last answered as it should."""

    def covers(self, namespace: str) -> bool:
        """Tell whether it sees the objects of a namespace."""
        return self.target.namespace in (None, namespace)

    @property
    def name(self) -> str:
        """Kind and namespace, for logs and health reports."""
        return self.target.name

    @property
    def unserved(self) -> bool:
        """Whether it is of an optional kind that the API server does not know."""
        return self.target.kind.optional and self.refusal is not None and self.refusal.status == HTTPStatus.NOT_FOUND

    @property
    def settled(self) -> bool:
        """Whether the cache has all that there is of its kind: none of one that is not served."""
        return self.synced.is_set() or self.unserved

    async def run(self) -> None:
        """List and watch until cancelled; every failure is logged and followed by another try."""
        failures = 0
        version: str | None = None
        while True:
            try:
                version = version or await self._list()
                duration = random.randint(*_WATCH_SECONDS)  # noqa: S311 - jitter, no secret
                ends = time.monotonic() + duration
                async for seen in self._changes(version, duration):
                    version, failures = seen, 0
                if time.monotonic() < ends - _EARLY_SECONDS:
                    version, failures = None, await self._pause(failures, "the server ended it early")
                else:
                    failures = 0
                    self._hear()
            except Exception as error:  # noqa: BLE001 - whatever it is, the other kinds and assistants go on
                version = self._after(error, failures, version)
                failures = await self._pause(failures, error)

    def _after(self, error: Exception, failures: int, version: str | None) -> str | None:
        """Take note of a failure; return the version to watch from, None to list again."""
        lasting = failures >= _TRIES
        self._listener.on_failure(self.name, _kind_of(error))
        if isinstance(error, ApiError):
            if error.status in _REFUSALS or (lasting and not self.synced.is_set()):
                self._refused(error)
            return version if error.status in _OVERLOADED and not lasting else None
        if lasting and not self.synced.is_set():
            self._refused(ApiError(HTTPStatus.BAD_GATEWAY, type(error).__name__, str(error)))
        if isinstance(error, UnreadableError | orjson.JSONDecodeError):
            self._listener.on_unreadable(self.target.kind.plural)
        elif not isinstance(error, UNREACHABLE):
            log.error("watch_crashed", watch=self.name, exc_info=error)
        return None

    def _refused(self, error: ApiError) -> None:
        news = self.refusal is None or self.refusal.message != error.message
        self.refusal = error
        self.answered.set()
        if news:
            known = error.status != HTTPStatus.NOT_FOUND
            log.warning("kind_refused" if known else "kind_not_served", watch=self.name, message=error.message)
            self._listener.on_answer()

    async def _pause(self, failures: int, error: Exception | str) -> int:
        delay = _BACKOFF_SECONDS[min(failures, len(_BACKOFF_SECONDS) - 1)]
        if isinstance(error, ApiError) and error.status == HTTPStatus.NOT_FOUND:
            delay = min(delay, _UNKNOWN_KIND_SECONDS)
        if failures < len(_BACKOFF_SECONDS):  # what lasts is in the metrics and in /readyz
            log.warning("watch_failed", watch=self.name, error=str(error) or type(error).__name__, retry_seconds=delay)
        await asyncio.sleep(delay * random.uniform(0.8, 1.2))  # noqa: S311 - jitter, no secret
        return failures + 1

    async def _list(self) -> str:
        kind, since = self.target.kind.kind, self._cache.mark
        page = await self._api.list(
            self.target.kind,
            self.target.namespace,
            selector=self.target.selector,
            metadata_only=self.target.metadata_only,
            keep=self._kept,
        )
        changes = self._cache.replace(kind, self.target.namespace, page, since)
        for key in changes.owners:
            self._listener.on_change(key)
        for found in (*changes.gone, *(ref(kind, body) for body in page.items)):
            self._listener.on_object(found, found in changes.objects)
        self._hear()
        news = self.refusal is not None or not self.synced.is_set()
        self.refusal = None
        self.synced.set()
        self.answered.set()
        if news:
            self._listener.on_answer()
        return page.resource_version

    def _hear(self) -> None:
        """Take note of a sign of life."""
        self.last_contact = time.monotonic()
        self._listener.on_contact()

    def _kept(self, body: Any) -> Object | None:
        """Return what is kept of an object of a list, None of one that can't be read."""
        self._hear()  # a long list is a sign of life with each of its pages, not only at its end
        if is_readable(body):
            try:
                return self._cache.trim(self.target.kind.kind, body)
            except Exception:  # one object of an odd form must not keep the others from being seen
                log.exception("object_unreadable", watch=self.name, name=body["metadata"]["name"])
        else:
            log.error("object_unreadable", watch=self.name, object=repr(body)[:500])
        self._listener.on_unreadable(self.target.kind.plural)
        return None

    async def _changes(self, version: str, duration: int) -> AsyncIterator[str]:
        stream = self._api.watch(
            self.target.kind,
            self.target.namespace,
            version,
            selector=self.target.selector,
            metadata_only=self.target.metadata_only,
            timeout_seconds=duration,
        )
        async for event, body in stream:
            self._hear()
            seen = _version(body)
            if int(seen) < int(version):
                raise ApiError(HTTPStatus.GONE, "Expired", f"version {seen} came after {version}: etcd was restored")
            if event != "BOOKMARK":
                self._take(event, body)
            version = seen
            yield seen

    def _take(self, event: str, body: Object) -> None:
        if not is_readable(body):
            raise UnreadableError(f"the object of an event can't be read: {str(body.get('metadata'))[:500]}")
        kind = self.target.kind.kind
        news = self._cache.remove(kind, body) if event == "DELETED" else self._cache.put(kind, body)
        # Even if a pass has put this version into the cache already: others may use the object too.
        self._listener.on_object(ref(kind, body), news)
        if news and (key := owner_key(body)):
            self._listener.on_change(key)


def _version(body: Object) -> str:
    """Return the version that a watch goes on from after an event."""
    metadata = body.get("metadata")
    version = metadata.get("resourceVersion") if isinstance(metadata, dict) else None
    if not is_version(version):
        raise UnreadableError("an event has no version")
    return str(version)


def _kind_of(error: Exception) -> str:
    """Return what a failure is called in a metric: few values, whatever the message says."""
    return str(error.status) if isinstance(error, ApiError) else type(error).__name__
