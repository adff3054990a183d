"""Secrets: what the facts need of them, and the generated ones.

The values of generated Secrets come with a watch of their own, which sees no others, so a restart reads none of them by
its name. A pass takes the values, compares them, and keeps a digest of each.
"""

import base64
from collections.abc import Awaitable, Iterable, Mapping
from http import HTTPStatus

from assistant_operator import conditions, labels
from assistant_operator.cluster.cache import Cache, Key, Ref, ref, version
from assistant_operator.cluster.client import ApiError, Client
from assistant_operator.cluster.confirmation import Confirmation
from assistant_operator.cluster.contents import Contents
from assistant_operator.cluster.fresh import Fresh
from assistant_operator.errors import StalledError, TransientError
from assistant_operator.health.redaction import redacted
from assistant_operator.kinds import SECRET
from assistant_operator.rooms.credentials import Credential
from assistant_operator.rooms.manifests import Object
from assistant_operator.spec.assistant import AIAssistant


class Secrets(Contents):
    """Facts about Secrets, and the generated ones."""

    def __init__(self, api: Client, cache: Cache) -> None:
        super().__init__(api, cache, SECRET)
        self.fresh = Fresh()

    def recipient(self, found: Ref) -> Key | None:
        """Return the assistant that must look at the values of a Secret; None, and drop them, where they are known."""
        waiting = self.fresh.waiting(found)
        if waiting is None:
            return None
        known = self._known.get((found.namespace, found.name))
        if known and known.complete and int(known.version) >= waiting.version:
            self.fresh.take(found)
            return None
        return waiting.owner

    async def generate(self, credential: Credential, assistant: AIAssistant, confirmation: Confirmation) -> bool:
        """Create a generated Secret, or give it the values that it lacks; return whether it was written.

        Raises
        ------
        GoneError
            The Secret is missing, and the AIAssistant is gone too.
        StalledError
            A Secret of that name exists that the operator did not make.
        TransientError
            Another hand wrote it at the same moment.
        """
        live = self.cache.get(SECRET.kind, assistant.namespace, credential.name)
        if live is None:
            await confirmation.before_creation()
            return await self._create(credential, assistant)
        self._check(live, credential, assistant)
        if self._knows(live, complete=True):
            return False
        body = await self._fetch(live)
        if body is None:
            return False  # deleted just now, which the watch tells
        changes = credential.changes(_decode(body.get("data") or {}))
        if not changes:
            self._learn(body, complete=True)
            return False
        # What follows from a password must follow from the one that is there.
        version = {"resourceVersion": body["metadata"]["resourceVersion"]}
        patch = {"metadata": version, "data": _encode(changes)}
        return await self._write(credential, self._api.merge(SECRET, assistant.namespace, credential.name, patch))

    async def redact(self, text: str, namespace: str, names: Iterable[str]) -> str:
        """Return a text without any value of the named Secrets.

        Raises
        ------
        ApiError, UNREACHABLE
            The Secrets can't be read.
        """
        bodies = [await self._api.get(SECRET, namespace, name) or {} for name in sorted(set(names))]
        return redacted(text, [value for body in bodies for value in _decode(body.get("data") or {}).values()])

    async def _fetch(self, live: Object) -> Object | None:
        fresh = self.fresh.take(ref(SECRET.kind, live))
        return fresh if fresh and version(fresh) >= version(live) else await super()._fetch(live)

    async def _create(self, credential: Credential, assistant: AIAssistant) -> bool:
        """Create a Secret without an owner: `retention.py` decides on that, for it and the volumes together."""
        body = {
            "apiVersion": SECRET.api_version,
            "kind": SECRET.kind,
            "metadata": {
                "name": credential.name,
                "namespace": assistant.namespace,
                "labels": {**assistant.spec.common_labels, **labels.standard(assistant.name, credential.component)},
                "annotations": {**assistant.spec.common_annotations, **labels.KEPT},
            },
            "type": "Opaque",
            "data": _encode(credential.changes({})),
        }
        return await self._write(credential, self._api.create(SECRET, body))

    async def _write(self, credential: Credential, request: Awaitable[Object]) -> bool:
        try:
            self._learn(await request, complete=True)
        except ApiError as error:
            if error.status != HTTPStatus.CONFLICT:
                raise
            message = f"Secret {credential.name} was written by another hand just now; it is looked at again."
            raise TransientError(conditions.CONFLICT, message) from error
        return True

    def _check(self, live: Object, credential: Credential, assistant: AIAssistant) -> None:
        metadata = live["metadata"]
        found = metadata.get("labels") or {}
        if (found.get(labels.MANAGED_BY), found.get(labels.INSTANCE)) != (labels.MANAGER, assistant.name):
            raise StalledError(
                conditions.NAME_CONFLICT,
                f"Secret {metadata['namespace']}/{credential.name} exists and was not generated for this AIAssistant. "
                "Delete or rename it, or give the AIAssistant another name.",
            )


def _decode(values: Mapping[str, str]) -> dict[str, str]:
    return {key: base64.b64decode(value).decode(errors="replace") for key, value in values.items()}


def _encode(values: dict[str, str]) -> dict[str, str]:
    return {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
