"""What Secrets or ConfigMaps hold, as far as the facts need it.

The watch of everyone's objects brings metadata only. An object's values are read when one of its versions is seen for
the first time, reduced to a digest each, and not kept.
"""

import base64
import hashlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from assistant_operator.cluster.cache import Cache
from assistant_operator.cluster.client import Client
from assistant_operator.kinds import SECRET, Kind
from assistant_operator.rooms.facts import ContentFacts
from assistant_operator.rooms.manifests import Object


class _Known(NamedTuple):
    version: str
    facts: ContentFacts
    complete: bool


class Contents:
    """Facts about the Secrets or the ConfigMaps, read once for each version.

    Parameters
    ----------
    cache
        What the watch has seen of the kind.
    """

    def __init__(self, api: Client, cache: Cache, kind: Kind) -> None:
        self.cache = cache
        self._api, self._kind = api, kind
        self._known: dict[tuple[str, str], _Known] = {}

    async def facts(self, namespace: str, names: Iterable[str]) -> dict[str, ContentFacts]:
        """Return the facts of those of the named objects that exist."""
        found = {}
        for name in sorted(set(names)):
            await self._read(namespace, name)
            if known := self._known.get((namespace, name)):
                found[name] = known.facts
        return found

    def forget_deleted(self, namespace: str, name: str) -> None:
        """Drop what is known of an object if the cache has it no more."""
        if self.cache.get(self._kind.kind, namespace, name) is None:
            self._known.pop((namespace, name), None)

    async def _read(self, namespace: str, name: str) -> None:
        """Read an object where its version is news."""
        live = self.cache.get(self._kind.kind, namespace, name)
        if live is None:
            self._known.pop((namespace, name), None)
        elif not self._knows(live) and (body := await self._fetch(live)):
            self._learn(body)

    async def _fetch(self, live: Object) -> Object | None:
        """Return an object with its values, None if it was deleted just now."""
        return await self._api.get(self._kind, live["metadata"]["namespace"], live["metadata"]["name"])

    def _knows(self, live: Object, *, complete: bool = False) -> bool:
        """Tell whether this version of an object was read, and found `complete`."""
        known = self._known.get((live["metadata"]["namespace"], live["metadata"]["name"]))
        return known is not None and known.version == live["metadata"]["resourceVersion"] and known.complete >= complete

    def _values(self, body: Object) -> Iterator[tuple[str, str]]:
        """Yield keys with the values that are not blank, as the API writes them."""
        is_secret = self._kind is SECRET
        for key, value in (body.get("data" if is_secret else "binaryData") or {}).items():
            if base64.b64decode(value).strip():
                yield key, value
        for key, value in ({} if is_secret else body.get("data") or {}).items():
            if value.strip():
                yield key, value

    def _learn(self, body: Object, *, complete: bool = False) -> None:
        metadata = body["metadata"]
        # With the object's name, so that equal values in two of them give no equal digests. A blank value is none: the
        # runtime would do without the server whose address it is, and keep in its memory what that should have kept.
        digests = {
            key: hashlib.sha256(f"{metadata['namespace']}/{metadata['name']}/{key}={value}".encode()).hexdigest()[:16]
            for key, value in self._values(body)
        }
        self.cache.put(self._kind.kind, body)
        self._known[metadata["namespace"], metadata["name"]] = _Known(
            metadata["resourceVersion"], ContentFacts(digests), complete
        )
