"""What the watches have seen: the operator's own picture of every object that it manages.

Objects are kept as compact JSON without what is never read (managed fields, most of a pod): a thousand assistants
fit in tens of megabytes, and a pass decodes the dozen objects that it needs.
"""

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import orjson

from assistant_operator import labels
from assistant_operator.cluster.decoding import encode
from assistant_operator.cluster.digests import digested, shortened
from assistant_operator.cluster.page import Page
from assistant_operator.rooms.manifests import Object

Key = tuple[str, str]
"""Namespace and name."""

_LARGE = 16 * 1024
"""Bytes from which on an object is searched for long texts: to encode it costs a hundredth of the search."""
_TOMBSTONES = 4096
"""Deletions remembered, so that the late answer of a write can't bring a deleted object back into the cache."""


class Ref(NamedTuple):
    """Kind, namespace and name of an object."""

    kind: str
    namespace: str
    name: str


def ref(kind: str, body: Object) -> Ref:
    """Return the reference of an object."""
    return Ref(kind, body["metadata"]["namespace"], body["metadata"]["name"])


def owner_key(body: Object) -> Key | None:
    """Return the assistant that an object belongs to by its labels, None for a foreign one."""
    metadata = body["metadata"]
    found = metadata.get("labels") or {}
    if found.get(labels.MANAGED_BY) != labels.MANAGER or labels.INSTANCE not in found:
        return None
    return metadata["namespace"], found[labels.INSTANCE]


class Changes(NamedTuple):
    """What a fresh list changes."""

    owners: set[Key]
    """Assistants whose objects changed."""
    objects: set[Ref]
    """Objects that are new, changed or gone."""
    gone: list[Ref]


class _Entry(NamedTuple):
    version: int
    order: int
    """Which of all puts it was."""
    owner: Key | None
    body: bytes


class Cache:
    """Objects by reference, and the references of each assistant's objects.

    `trim` reduces an object of a kind to what is ever read.
    """

    def __init__(self, trim: Callable[[str, Object], Object] | None = None) -> None:
        self.trim = trim or trim_own
        self._entries: dict[Ref, _Entry] = {}
        self._owned: defaultdict[Key, set[Ref]] = defaultdict(set)
        self._tombstones: OrderedDict[Ref, int] = OrderedDict()
        self._puts = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        """Return an object as last seen."""
        entry = self._entries.get(Ref(kind, namespace, name))
        return orjson.loads(entry.body) if entry else None

    def has(self, kind: str, namespace: str, name: str) -> bool:
        """Tell whether an object was seen and is not gone."""
        return Ref(kind, namespace, name) in self._entries

    def owned(self, key: Key) -> list[Ref]:
        """Return the references of an assistant's objects, sorted."""
        return sorted(self._owned.get(key, ()))

    def all(self, kind: str, key: Key) -> Iterator[Object]:
        """Yield an assistant's objects of one kind."""
        for found in self.owned(key):
            body = self.get(*found) if found.kind == kind else None
            if body:
                yield body

    def pods(self, key: Key, part: str) -> Iterator[Object]:
        """Yield the pods of one workload of an assistant, by the label value of its pods."""
        return (pod for pod in self.all("Pod", key) if pod["metadata"]["labels"].get(labels.NAME) == part)

    def claims(self, key: Key, part: str) -> Iterator[Object]:
        """Yield the volume claims of one workload of an assistant, by the label value of its pods."""
        found = self.all("PersistentVolumeClaim", key)
        return (claim for claim in found if claim["metadata"]["labels"].get(labels.NAME) == part)

    @property
    def mark(self) -> int:
        """What `replace` takes for the moment at which a list was asked for."""
        return self._puts

    def put(self, kind: str, body: Object) -> bool:
        """Keep an object; return whether it is news, which an older or the same version is not."""
        key, seen = ref(kind, body), version(body)
        known = self._entries.get(key)
        if (known and known.version >= seen) or self._tombstones.get(key, -1) >= seen:
            return False
        self._keep(key, seen, body)
        return True

    def _keep(self, key: Ref, seen: int, body: Object) -> None:
        self._unlink(key)
        self._puts += 1
        owner = owner_key(body)
        self._entries[key] = _Entry(seen, self._puts, owner, encode(self.trim(key.kind, body)))
        if owner:
            self._owned[owner].add(key)

    def remove(self, kind: str, body: Object) -> bool:
        """Forget a deleted object, whose last version is `body`; return whether it was not forgotten yet.

        Of a name that was deleted and created again, the deletion may be seen last: it changes nothing.
        """
        key, seen = ref(kind, body), version(body)
        known = self._entries.get(key)
        if known and known.version > seen:
            return False
        self._tombstones[key] = seen
        self._tombstones.move_to_end(key)
        while len(self._tombstones) > _TOMBSTONES:
            self._tombstones.popitem(last=False)
        self._unlink(key)
        return self._entries.pop(key, None) is not None

    def replace(self, kind: str, namespace: str | None, page: Page, since: int) -> Changes:
        """Take a fresh list of a kind for the whole truth, whatever was seen before.

        A list is older than what is known only where a write was answered while it was under way: `since` is the `mark`
        of when it was asked for. Anything else that is newer is of a time that is no more, since etcd was restored.
        """

        def outlives(entry: _Entry) -> bool:
            return entry.order > since and entry.version > int(page.resource_version)

        listed = {ref(kind, body): body for body in page.items}
        known = {
            key: entry
            for key, entry in self._entries.items()
            if key.kind == kind and namespace in (None, key.namespace) and not outlives(entry)
        }
        gone = [key for key in known if key not in listed]
        owners = {owner for key in gone if (owner := known[key].owner)}
        for key in gone:
            self._unlink(key)
            del self._entries[key]
        changed = {key for key, body in listed.items() if self._restate(key, body, known.get(key))}
        owners |= {owner for key in changed if (owner := self._entries[key].owner)}
        return Changes(owners, changed.union(gone), gone)

    def _restate(self, key: Ref, body: Object, known: _Entry | None) -> bool:
        """Keep an object as a list has it; return whether it was known otherwise."""
        seen = version(body)
        if known is None and key in self._entries:
            return False  # the answer to a write, which outlives the list
        if known and known.version == seen:
            return False
        self._tombstones.pop(key, None)
        self._keep(key, seen, body)
        return True

    def _unlink(self, key: Ref) -> None:
        known = self._entries.get(key)
        if known and known.owner:
            self._owned[known.owner].discard(key)
            if not self._owned[known.owner]:
                del self._owned[known.owner]


def version(body: Object) -> int:
    """Return an object's resource version as a number, 0 where it has none."""
    # Resource versions of one kind are ordered integers: https://kep.k8s.io/5504
    return int(body["metadata"].get("resourceVersion") or 0)


def trim_own(kind: str, body: Object) -> Object:
    """Return what is ever read of an object: of a large one long texts as digests, of a foreign Secret its version."""
    metadata = {key: value for key, value in body["metadata"].items() if key != "managedFields"}
    if kind == "Secret":
        ours = ("labels", "ownerReferences") if owner_key(body) else ()
        return {"metadata": _only(metadata, "name", "namespace", "uid", "resourceVersion", *ours)}
    if kind == "Pod":
        return _trim_pod(metadata, body)
    trimmed = {**body, "metadata": metadata}
    if len(encode(trimmed)) <= _LARGE:
        return trimmed
    return {key: (shortened if key == "status" else digested)(value) for key, value in trimmed.items()}


def trim_to_version(_: str, body: Object) -> Object:
    """Return no more of an object than its name and version."""
    return {"metadata": _only(body["metadata"], "name", "namespace", "uid", "resourceVersion")}


def trim_referenced(_: str, body: Object) -> Object:
    """Return an object of another operator without what is never read."""
    metadata = _only(body["metadata"], "name", "namespace", "uid", "resourceVersion", "generation", "deletionTimestamp")
    return {"metadata": metadata, **_only(body, "spec", "status")}


def trim_assistant(_: str, body: Object) -> Object:
    """Return an AIAssistant without who changed what: larger than the rest, and never read."""
    metadata = {key: value for key, value in body["metadata"].items() if key not in ("managedFields", "annotations")}
    return {**body, "metadata": metadata}


def _trim_pod(metadata: Object, body: Object) -> Object:
    status = body.get("status") or {}
    return {
        "metadata": _only(
            metadata,
            "name",
            "namespace",
            "uid",
            "resourceVersion",
            "labels",
            "deletionTimestamp",
            "creationTimestamp",
        ),
        "status": _only(
            status, "phase", "podIP", "reason", "message", "conditions", "initContainerStatuses", "containerStatuses"
        ),
    }


def _only(value: Object, *keys: str) -> dict[str, Any]:
    return {key: value[key] for key in keys if key in value}
