"""The API server: get, list, create, patch, apply, delete and watch, on plain dictionaries.

`kubernetes.aio` brings configuration, TLS and credentials that refresh themselves; requests go through its HTTP client
without its generated models, which cost more time than the requests (docs/decisions/20261123-kubernetes-client.md).
"""

import asyncio
import math
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Protocol, Self
from urllib.parse import urlencode

import aiohttp
import orjson
from kubernetes.aio import client as kubernetes_client
from kubernetes.aio import config as kubernetes_config

from assistant_operator import __version__, labels
from assistant_operator.cluster.connections import Abandoning, proxy_of
from assistant_operator.cluster.decoding import UnreadableError, decode_object, is_version
from assistant_operator.cluster.fence import Fence, FencedError
from assistant_operator.cluster.page import Page
from assistant_operator.kinds import EVENT, Kind
from assistant_operator.rooms.manifests import Object

_JSON = "application/json"
_APPLY = "application/apply-patch+yaml"
_MERGE = "application/merge-patch+json"
_METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
_METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"

REQUEST_TIMEOUT_SECONDS = 30
"""A request that takes longer is lost; the API server itself gives up on a non-watch request after 60 s."""
_PAGE_BYTES = 4 * 1024**2
"""Bytes that a page of a list should have: one with 500 ConfigMaps of a mebibyte would not fit into memory."""
_FIRST_PAGE, _PAGES = 25, (5, 500)
"""Objects of the first page, and of a later one at least and at most; client-go's pages have 500."""
_EVENTS = 100
"""Events about one object that are read: a pod in trouble has about a dozen, since Kubernetes counts repeated ones."""
LARGEST_EVENT = 16 * 1024**2
"""Bytes of the longest event: an object has at most 1.5 MiB in etcd, and JSON writes some characters as six."""
WATCH_SILENCE_SECONDS = 10
"""A watch that has not ended so long after its time is dead."""


class ApiError(Exception):
    """The API server answered with an error: HTTP status, machine-readable reason, message, and the fields at fault."""

    def __init__(self, status: int, reason: str, message: str, fields: tuple[str, ...] = ()) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message
        self.fields = fields

    @property
    def namespace_terminating(self) -> bool:
        """Whether the object was refused because its namespace is being deleted."""
        return self.status == HTTPStatus.FORBIDDEN and "being terminated" in self.message

    @classmethod
    def of(cls, status: int, body: bytes) -> "ApiError":
        """Read a metav1.Status answer; anything else is quoted as it is."""
        try:
            answer = decode_object(body)
            causes = (answer.get("details") or {}).get("causes") or []
            fields = tuple(cause["field"] for cause in causes if cause.get("field"))
        except (ValueError, AttributeError, TypeError):
            return cls(status, "", body[:500].decode(errors="replace"))
        return cls(status, str(answer.get("reason") or ""), str(answer.get("message") or ""), fields)


class Client(Protocol):
    """The verbs that the engine needs. `ApiServer` is the real one; tests record what is asked of theirs."""

    async def get(self, kind: Kind, namespace: str, name: str, *, metadata_only: bool = False) -> Object | None:
        """Return an object, None where there is none."""

    async def create(self, kind: Kind, body: Object) -> Object:
        """Create an object; 409 where it exists."""

    async def apply(self, kind: Kind, body: Object, *, subresource: str | None = None) -> Object:
        """Server-side apply as the operator's field manager, forcing the fields given, unknown fields refused."""

    async def merge(self, kind: Kind, namespace: str, name: str, body: Object, *, dry_run: bool = False) -> Object:
        """Patch an object by JSON merge, or find out whether that would be taken."""

    async def delete(self, kind: Kind, namespace: str, name: str, uid: str) -> None:
        """Delete the object with that UID; nothing happens where it is gone or another one."""

    async def events(self, namespace: str, uid: str) -> Sequence[Object]:
        """Return events about the object with that UID."""


class ApiServer:
    """The API server over HTTP. Use as an async context manager.

    Parameters
    ----------
    fence
        Admits each write or raises; without one every write is sent.
    identity
        Names the process in the API server's audit log, beside the operator's name and version.
    """

    def __init__(
        self, configuration: kubernetes_client.Configuration, *, fence: Fence | None = None, identity: str = ""
    ) -> None:
        self._fence = fence or Fence()
        # No limit: each watch holds a connection, and the workers bound the rest.
        configuration.connection_pool_maxsize = 0
        # Otherwise aiohttp looks for a proxy and for a password in .netrc at each request, in threads: that costs more
        # processor time than the request.
        configuration.client_session_kwargs = {"trust_env": False}
        configuration.proxy = configuration.proxy or proxy_of(configuration.host)
        self._api = kubernetes_client.ApiClient(configuration)
        if self._fence.margin_seconds:
            self._api.rest_client = Abandoning(configuration, self._fence.margin_seconds)
        self._host = configuration.host.rstrip("/")
        self._agent = f"{labels.MANAGER}/{__version__}" + (f" ({identity})" if identity else "")

    @classmethod
    async def connect(
        cls,
        *,
        kubeconfig: str | None = None,
        context: str | None = None,
        fence: Fence | None = None,
        identity: str = "",
    ) -> "ApiServer":
        """Connect with a kubeconfig file, or else as the pod's service account, or else as kubectl would.

        Raises
        ------
        kubernetes.aio.config.ConfigException
            There is no usable configuration.
        """
        configuration = kubernetes_client.Configuration()
        if kubeconfig or context or not os.environ.get("KUBERNETES_SERVICE_HOST"):
            await kubernetes_config.load_kube_config(
                config_file=kubeconfig, context=context, client_configuration=configuration
            )
        else:
            kubernetes_config.load_incluster_config(client_configuration=configuration)
        return cls(configuration, fence=fence, identity=identity)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._api.close()

    async def get(self, kind: Kind, namespace: str, name: str, *, metadata_only: bool = False) -> Object | None:
        """Return an object, None where there is none."""
        accept = _METADATA if metadata_only else _JSON
        try:
            return await self._call("GET", kind.path(namespace, name), accept=accept)
        except ApiError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return None
            raise

    @property
    def configuration(self) -> kubernetes_client.Configuration:
        """Where the API server is, and the credentials for it."""
        return self._api.configuration

    async def serves(self, kind: Kind) -> bool:
        """Tell whether the API server knows a kind, which everyone may ask."""
        try:
            found = await self._call("GET", f"/apis/{kind.api_version}")
        except ApiError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return False
            raise
        return kind.plural in {resource["name"] for resource in found["resources"]}

    async def list(
        self,
        kind: Kind,
        namespace: str | None = None,
        *,
        selector: str | None = None,
        metadata_only: bool = False,
        keep: Callable[[Any], Object | None] = lambda body: body,
    ) -> Page:
        """Return every object of a kind, page by page, in a namespace or in all of them.

        `keep` reduces each object as its page arrives, so that a long list is never in memory as a whole. It may return
        None for one that can't be read, which is left out.

        Raises
        ------
        UnreadableError
            The answer is no list, or does not say of which version it is.
        """
        accept = _METADATA_LIST if metadata_only else _JSON
        items: list[Object] = []
        token: str | None = None
        limit = _FIRST_PAGE
        while True:
            query = _query(limit=limit, labelSelector=selector, **{"continue": token})
            raw = await self._read("GET", kind.path(namespace), query=query, accept=accept)
            answer = decode_object(raw)
            found, metadata = answer.get("items") or [], answer.get("metadata")
            if not (
                isinstance(found, list) and isinstance(metadata, dict) and is_version(metadata.get("resourceVersion"))
            ):
                raise UnreadableError(f"the answer is no list of {kind.plural}")
            items += [kept for body in found if (kept := keep(body)) is not None]
            token = metadata.get("continue")
            limit = _next_limit(len(raw), len(found))
            if not token:
                return Page(items, metadata["resourceVersion"])

    async def create(self, kind: Kind, body: Object) -> Object:
        """Create an object; `ApiError` 409 where it exists."""
        query = _query(fieldManager=labels.MANAGER, fieldValidation="Strict")
        return await self._write("POST", kind.path(body["metadata"]["namespace"]), query=query, body=body)

    async def apply(self, kind: Kind, body: Object, *, subresource: str | None = None) -> Object:
        """Server-side apply as the operator's field manager, forcing the fields given, unknown fields refused."""
        metadata = body["metadata"]
        path = kind.path(metadata["namespace"], metadata["name"], subresource)
        query = _query(fieldManager=labels.MANAGER, force="true", fieldValidation="Strict")
        return await self._write("PATCH", path, query=query, body=body, content_type=_APPLY)

    async def merge(self, kind: Kind, namespace: str, name: str, body: Object, *, dry_run: bool = False) -> Object:
        """Patch an object by JSON merge, or find out whether that would be taken."""
        query = _query(fieldManager=labels.MANAGER, dryRun="All" if dry_run else None)
        return await self._write("PATCH", kind.path(namespace, name), query=query, body=body, content_type=_MERGE)

    async def delete(self, kind: Kind, namespace: str, name: str, uid: str) -> None:
        """Delete the object with that UID; nothing happens where it is gone or another one."""
        body = {"preconditions": {"uid": uid}, "propagationPolicy": "Background"}
        try:
            await self._write("DELETE", kind.path(namespace, name), body=body)
        except ApiError as error:
            if error.status not in (HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT):
                raise

    async def events(self, namespace: str, uid: str) -> Sequence[Object]:
        """Return events about the object with that UID, a hundred at most."""
        query = _query(fieldSelector=f"regarding.uid={uid}", limit=_EVENTS)
        answer = await self._call("GET", EVENT.path(namespace), query=query)
        found: Sequence[Object] = answer.get("items") or []
        return found

    async def watch(
        self,
        kind: Kind,
        namespace: str | None,
        resource_version: str,
        *,
        selector: str | None,
        metadata_only: bool,
        timeout_seconds: int,
    ) -> AsyncIterator[tuple[str, Object]]:
        """Yield (type, object) of every change since `resource_version`, until the server ends the watch.

        The server ends it after `timeout_seconds`, and a connection that stays silent for longer is given up.

        Raises
        ------
        ApiError
            With status 410 the version is too old: list again.
        UnreadableError, orjson.JSONDecodeError
            What came is no event, or one that is larger than any object.
        TimeoutError, aiohttp.ClientError
            The connection is dead.
        """
        query = _query(
            watch="true",
            allowWatchBookmarks="true",
            resourceVersion=resource_version,
            timeoutSeconds=timeout_seconds,
            labelSelector=selector,
        )
        longest = timeout_seconds + WATCH_SILENCE_SECONDS
        timeout = aiohttp.ClientTimeout(total=longest, sock_connect=10)
        accept = _METADATA if metadata_only else _JSON
        response = await self._send("GET", kind.path(namespace), query, None, _JSON, accept, timeout)
        try:
            async for line in _lines(response.content):
                yield _event(line)
        finally:
            response.close()

    async def _call(self, method: str, path: str, **request: Any) -> Object:
        return decode_object(await self._read(method, path, **request))

    async def _write(self, method: str, path: str, *, query: Mapping[str, str] | None = None, **request: Any) -> Object:
        """Send a write if the fence admits it, and have both sides give it up before somebody else may write."""
        with self._fence.write() as remaining:
            seconds = min(remaining, REQUEST_TIMEOUT_SECONDS)
            if math.isfinite(remaining):
                query = {**(query or {}), "timeout": f"{max(1, int(seconds * 1000))}ms"}
            return await self._call(method, path, query=query, seconds=seconds, **request)

    async def _read(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Object | None = None,
        content_type: str = _JSON,
        accept: str = _JSON,
        seconds: float = REQUEST_TIMEOUT_SECONDS,
    ) -> bytes:
        timeout = aiohttp.ClientTimeout(total=seconds)
        response = await self._send(method, path, query or {}, body, content_type, accept, timeout)
        raw: bytes = await response.read()
        return raw

    async def _send(  # noqa: PLR0917 - private, and every argument always given
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Object | None,
        content_type: str,
        accept: str,
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - aiohttp's own timeout, of connect and read
    ) -> aiohttp.ClientResponse:
        headers = {"Accept": accept, "Content-Type": content_type, "User-Agent": self._agent}
        await self._api.update_params_for_auth(headers, [], ["BearerToken"], path, method, None)
        url = f"{self._host}{path}?{urlencode(query)}" if query else f"{self._host}{path}"
        answer = await self._api.rest_client.request(method, url, headers=headers, body=body, _request_timeout=timeout)
        response: aiohttp.ClientResponse = answer.response
        if not response.ok:
            raise ApiError.of(response.status, await response.read())
        return response


def _next_limit(size: int, count: int) -> int:
    """Return how many objects the next page should have, by the size of those of the last one."""
    least, most = _PAGES
    return max(least, min(most, _PAGE_BYTES * max(count, 1) // max(size, 1)))


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Yield the lines of a stream."""
    parts: list[bytes] = []
    size = 0
    async for chunk in content.iter_any():
        *ends, rest = chunk.split(b"\n")
        for end in ends:
            yield b"".join((*parts, end))
            parts, size = [], 0
        parts.append(rest)
        size += len(rest)
        if size > LARGEST_EVENT:
            raise UnreadableError(f"an event is larger than {LARGEST_EVENT} bytes")
    if size:
        raise aiohttp.ClientPayloadError("the connection was cut within an event")


def _event(line: bytes) -> tuple[str, Object]:
    event = decode_object(line)
    kind, body = event.get("type"), event.get("object")
    if not isinstance(kind, str) or not isinstance(body, dict):
        raise UnreadableError(f"this is no event: {line[:100]!r}")
    if kind == "ERROR":
        code = body.get("code")
        raise ApiError(
            code if isinstance(code, int) else HTTPStatus.INTERNAL_SERVER_ERROR,
            str(body.get("reason", "")),
            str(body.get("message", "")),
        )
    return kind, body


def _query(**parameters: Any) -> dict[str, str]:
    return {name: str(value) for name, value in parameters.items() if value is not None}


UNREACHABLE = (
    aiohttp.ClientError,
    asyncio.TimeoutError,
    OSError,
    orjson.JSONDecodeError,
    UnreadableError,
    FencedError,
)
"""What is raised when the API server can't be reached or may not be written to, or a proxy spoils its answer."""
