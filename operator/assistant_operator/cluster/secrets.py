"""Secrets: what the facts need of them, and the generated ones.

The watch brings metadata only. A Secret's values are read when one of its versions is seen for the first time, reduced
to a digest, and not kept.
"""

import base64
import hashlib
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import NamedTuple

from assistant_operator import conditions, labels
from assistant_operator.assistant import AIAssistant
from assistant_operator.cluster.cache import Cache
from assistant_operator.cluster.client import ApiError, Client, Confirm
from assistant_operator.cluster.kinds import SECRET
from assistant_operator.credentials import Credential
from assistant_operator.errors import StalledError, TransientError, WaitingError
from assistant_operator.facts import SecretFacts
from assistant_operator.manifests import Object, owner_reference

_SHORTEST_SECRET = 6
"""Characters of a word that is taken for a secret when a text is quoted."""


class _Known(NamedTuple):
    version: str
    facts: SecretFacts


class Secrets:
    """Facts about Secrets, read once for each version."""

    def __init__(self, api: Client, cache: Cache) -> None:
        self._api, self._cache = api, cache
        self._known: dict[tuple[str, str], _Known] = {}

    async def facts(self, namespace: str, names: Iterable[str]) -> dict[str, SecretFacts]:
        """Return the facts of those of the named Secrets that exist."""
        found = {}
        for name in sorted(set(names)):
            await self._read_news(namespace, name)
            if known := self._known.get((namespace, name)):
                found[name] = known.facts
        return found

    def forget_deleted(self, namespace: str, name: str) -> None:
        """Drop what is known of a Secret if the cache has it no more."""
        if self._cache.get(SECRET.kind, namespace, name) is None:
            self._known.pop((namespace, name), None)

    async def _read_news(self, namespace: str, name: str) -> Object | None:
        """Read a Secret whose version is new, and return it; None where there is no news or no Secret."""
        live = self._cache.get(SECRET.kind, namespace, name)
        if live is None:
            self._known.pop((namespace, name), None)
            return None
        known = self._known.get((namespace, name))
        if known and known.version == live["metadata"]["resourceVersion"]:
            return None
        body = await self._api.get(SECRET, namespace, name)
        if body:
            self._learn(body)
        return body

    def _learn(self, body: Object) -> None:
        metadata, data = body["metadata"], body.get("data") or {}
        # With the Secret's name, so that equal values in two Secrets give no equal digests. A blank value is none: the
        # runtime would do without the server whose address it is, and keep in its memory what that should have kept.
        digests = {
            key: hashlib.sha256(f"{metadata['namespace']}/{metadata['name']}/{key}={value}".encode()).hexdigest()[:16]
            for key, value in data.items()
            if base64.b64decode(value).strip()
        }
        self._cache.put(SECRET.kind, body)
        self._known[metadata["namespace"], metadata["name"]] = _Known(metadata["resourceVersion"], SecretFacts(digests))

    async def ensure(self, credential: Credential, assistant: AIAssistant, confirm: Confirm) -> bool:
        """Create a generated Secret, or give it the values and the owner that it lacks; return whether it was written.

        Raises
        ------
        StalledError
            A Secret of that name exists that the operator did not make.
        WaitingError
            A predecessor's Secret is still being deleted.
        """
        live = self._cache.get(SECRET.kind, assistant.namespace, credential.name)
        if live is None:
            await confirm()
            return await self._create(credential, assistant)
        self._check(live, credential, assistant)
        patch = await self._patch(live, credential, assistant)
        if patch:
            self._learn(await self._api.merge(SECRET, assistant.namespace, credential.name, patch))
        return bool(patch)

    async def redact(self, text: str, namespace: str, names: Iterable[str]) -> str:
        """Return a text without any value of the named Secrets, each of its words taken for one.

        Raises
        ------
        ApiError, UNREACHABLE
            The Secrets can't be read.
        """
        for name in sorted(set(names)):
            body = await self._api.get(SECRET, namespace, name) or {}
            for value in _decode(body.get("data") or {}).values():
                for word in {value, *value.split()}:
                    if len(word) >= _SHORTEST_SECRET:
                        text = text.replace(word, "***")
        return text

    async def _create(self, credential: Credential, assistant: AIAssistant) -> bool:
        body = {
            "apiVersion": SECRET.api_version,
            "kind": SECRET.kind,
            "metadata": {
                "name": credential.name,
                "namespace": assistant.namespace,
                "labels": labels.standard(assistant.name, credential.component),
                "ownerReferences": _owners(assistant),
            },
            "type": "Opaque",
            "data": _encode(credential.changes({})),
        }
        try:
            self._learn(await self._api.create(SECRET, body))
        except ApiError as error:
            if error.status != HTTPStatus.CONFLICT:
                raise
            message = f"Secret {credential.name} was created by another hand just now; it is looked at again."
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
        owners = metadata.get("ownerReferences") or []
        if any(owner["uid"] != assistant.metadata.uid for owner in owners):
            message = f"Secret {credential.name} of the AIAssistant's predecessor is still being deleted."
            raise WaitingError(conditions.TERMINATING, message)

    async def _patch(self, live: Object, credential: Credential, assistant: AIAssistant) -> Object:
        """Return the merge patch that makes a generated Secret complete, empty where it is."""
        patch: Object = {}
        if (live["metadata"].get("ownerReferences") or []) != _owners(assistant):
            patch["metadata"] = {"ownerReferences": _owners(assistant)}
        # A version that was looked at before was complete then.
        body = await self._read_news(assistant.namespace, credential.name)
        changes = credential.changes(_decode(body.get("data") or {})) if body else {}
        if changes:
            patch["data"] = _encode(changes)
        return patch


def _owners(assistant: AIAssistant) -> list[Object]:
    """Owned Secrets go with the assistant; those without an owner stay and are adopted by its successor."""
    return [owner_reference(assistant)] if assistant.spec.deletion_policy == "Delete" else []


def _decode(values: Mapping[str, str]) -> dict[str, str]:
    return {key: base64.b64decode(value).decode(errors="replace") for key, value in values.items()}


def _encode(values: dict[str, str]) -> dict[str, str]:
    return {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
