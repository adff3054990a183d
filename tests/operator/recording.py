"""A client that records what it is asked, and keeps objects as simply as the engine's tests need.

It does not imitate server-side apply: an applied object replaces the one before. Ownership, conflicts and pruning are
tested on a real API server (tests/cluster).
"""

import itertools
from collections.abc import Callable
from typing import Any

from assistant_operator.cluster.client import ApiError
from assistant_operator.cluster.page import Page
from assistant_operator.kinds import Kind
from assistant_operator.rooms.manifests import Object


class RecordingClient:
    """Remembers calls as (verb, kind, name); `fail` may raise for one of them."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, str]] = []
        self.objects: dict[tuple[str, str, str], Object] = {}
        self.told: dict[str, list[Object]] = {}
        """Events about an object, by its UID."""
        self.fail: Callable[[str, str, str], None] = lambda *_: None
        self._versions = itertools.count(100)

    def writes(self) -> list[tuple[str, str, str]]:
        return [call for call in self.calls if call[0] not in ("get", "list", "rehearse")]

    def refuse(self, error: Exception, *, verb: str = "", kind: str = "") -> None:
        """Raise an error for every call with that verb and kind; an empty one stands for all."""

        def fail(called: str, of: str, _: str) -> None:
            if verb in ("", called) and kind in ("", of):
                raise error

        self.fail = fail

    def put(self, body: Object) -> Object:
        """Place an object as somebody else would."""
        metadata = {
            "namespace": "default",
            "uid": f"uid-{next(self._versions)}",
            **body["metadata"],
            "resourceVersion": str(next(self._versions)),
        }
        stored = {**body, "metadata": metadata}
        self.objects[body["kind"], metadata["namespace"], metadata["name"]] = stored
        return stored

    async def get(self, kind: Kind, namespace: str, name: str, *, metadata_only: bool = False) -> Object | None:
        self._record("get", kind.kind, name)
        return self.objects.get((kind.kind, namespace, name))

    async def create(self, kind: Kind, body: Object) -> Object:
        metadata = body["metadata"]
        name = metadata.get("name") or f"{metadata['generateName']}{next(self._versions)}"
        self._record("create", kind.kind, name)
        if (kind.kind, metadata["namespace"], name) in self.objects:
            raise ApiError(409, "AlreadyExists", f"{name} already exists")
        return self.put({**body, "metadata": {**metadata, "name": name}})

    async def apply(self, kind: Kind, body: Object, *, subresource: str | None = None) -> Object:
        metadata = body["metadata"]
        self._record("status" if subresource else "apply", kind.kind, metadata["name"])
        before = self.objects.get((kind.kind, metadata["namespace"], metadata["name"]), {})
        if before and metadata.get("resourceVersion") not in (None, before["metadata"]["resourceVersion"]):
            raise ApiError(409, "Conflict", "the object has been modified")
        if not before and "uid" in metadata:
            raise ApiError(409, "Conflict", "uid mismatch: no existing object was found")
        if before and metadata.get("uid") not in (None, before["metadata"]["uid"]):
            raise ApiError(422, "Invalid", "metadata.uid: field is immutable", ("metadata.uid",))
        if subresource:
            return self.put({**before, "status": body["status"]})
        kept = {key: before["metadata"][key] for key in ("uid",)} if before else {}
        return self.put({**body, "metadata": {**metadata, **kept}, "status": before.get("status", {})})

    async def merge(self, kind: Kind, namespace: str, name: str, body: Object, *, dry_run: bool = False) -> Object:
        self._record("rehearse" if dry_run else "merge", kind.kind, name)
        if (kind.kind, namespace, name) not in self.objects:
            raise ApiError(404, "NotFound", f"{name} not found")
        before = self.objects[kind.kind, namespace, name]
        if body.get("metadata", {}).get("resourceVersion") not in (None, before["metadata"]["resourceVersion"]):
            raise ApiError(409, "Conflict", "the object has been modified")
        if dry_run:
            return before
        return self.put(_merged(before, body))

    async def delete(self, kind: Kind, namespace: str, name: str, uid: str) -> None:
        self._record("delete", kind.kind, name)
        self.objects.pop((kind.kind, namespace, name), None)

    async def events(self, namespace: str, uid: str) -> list[Object]:
        self._record("list", "Event", uid)
        return self.told.get(uid, [])

    async def list(self, kind: Kind, namespace: str | None, **_: Any) -> Page:
        self._record("list", kind.kind, "")
        found = [body for key, body in self.objects.items() if key[0] == kind.kind and namespace in (None, key[1])]
        return Page(found, str(next(self._versions)))

    def _record(self, verb: str, kind: str, name: str) -> None:
        self.calls.append((verb, kind, name))
        self.fail(verb, kind, name)


def _merged(before: Any, patch: Any) -> Any:
    """Apply a JSON merge patch (RFC 7396)."""
    if not isinstance(patch, dict):
        return patch
    merged = {**before} if isinstance(before, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merged(merged.get(key), value)
    return merged


def events(client: RecordingClient) -> list[dict[str, Any]]:
    return [body for (kind, _, _), body in client.objects.items() if kind == "Event"]
