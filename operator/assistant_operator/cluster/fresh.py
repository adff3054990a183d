"""Objects whose content is read once: the watch brings it, a pass takes it, and nothing keeps it."""

from typing import NamedTuple

from assistant_operator.cluster.cache import Cache, Key, Ref, owner_key
from assistant_operator.rooms.manifests import Object

_TAKEN = b"null"


class Waiting(NamedTuple):
    """A Secret whose content nobody has taken yet."""

    owner: Key
    version: int


class Fresh(Cache):
    """What a watch brought of Secrets and nobody has taken yet; of one that was taken only the version is kept."""

    def __init__(self) -> None:
        super().__init__(_trim)

    def take(self, found: Ref) -> Object | None:
        """Return an object and drop what it holds; None where there is nothing to take."""
        body = self.get(*found)
        if body is not None:
            self._entries[found] = self._entries[found]._replace(body=_TAKEN)
        return body

    def drop(self, owner: Key) -> None:
        """Drop what all Secrets of an assistant hold."""
        for found in self.owned(owner):
            self.take(found)

    def owners(self) -> set[Key]:
        """Return the assistants that the Secrets belong to by their labels."""
        return set(self._owned)

    def waiting(self, found: Ref) -> Waiting | None:
        """Return whose Secret it is and its version, None where nothing waits to be taken."""
        entry = self._entries.get(found)
        if entry is None or entry.owner is None or entry.body == _TAKEN:
            return None
        return Waiting(entry.owner, entry.version)


def _trim(_: str, body: Object) -> Object:
    metadata = body["metadata"]
    kept = ("name", "namespace", "uid", "resourceVersion", "labels", "ownerReferences")
    trimmed = {"metadata": {key: metadata[key] for key in kept if key in metadata}}
    return trimmed | ({"data": body.get("data") or {}} if owner_key(body) else {})
