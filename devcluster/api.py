"""The few requests that the driver itself sends to an API server, and waiting for what they tell.

kubectl would do, but it takes longer to start than the answer takes to come.
"""

import ssl
import time
from collections.abc import Callable, Iterable
from typing import Any, Self

import httpx

from devcluster.errors import DevclusterError, component_error
from devcluster.state import Files

REQUEST_TIMEOUT_SECONDS = 5.0
POLL_SECONDS = 0.05
FIELD_MANAGER = "devcluster"

PLURALS = {"StorageClass": "storageclasses"}
"""Kinds whose plural is not the name with an s."""


class Api:
    """The API server, as the cluster's administrator."""

    def __init__(self, files: Files, server: str) -> None:
        context = ssl.create_default_context(cafile=str(files.pki / "ca.crt"))
        context.load_cert_chain(files.pki / "admin.crt", files.pki / "admin.key")
        # No proxy of the environment lies between this machine and a cluster on it.
        self._client = httpx.Client(base_url=server, verify=context, timeout=REQUEST_TIMEOUT_SECONDS, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def is_ok(self, path: str) -> bool:
        """Tell whether a GET of `path` succeeds; False also when nothing answers."""
        try:
            return self._client.get(path).is_success
        except httpx.TransportError:
            return False

    def items(self, path: str) -> list[dict[str, Any]]:
        """Return the objects of the list at `path`; none when it can't be read."""
        try:
            answer = self._client.get(path)
        except httpx.TransportError:
            return []
        return list(answer.json()["items"]) if answer.is_success else []

    def apply(self, manifest: dict[str, Any]) -> None:
        """Apply an object; applying it again changes nothing.

        Raises
        ------
        DevclusterError
            The API server refused it, or is gone.
        """
        path = object_path(manifest)
        try:
            answer = self._client.patch(
                path,
                params={"fieldManager": FIELD_MANAGER, "force": "true"},
                headers={"Content-Type": "application/apply-patch+yaml"},
                json=manifest,
            )
        except httpx.TransportError as error:
            raise DevclusterError(f"the API server does not answer: {error}") from error
        if not answer.is_success:
            raise DevclusterError(f"{path} could not be applied: {answer.text}")


def answers(url: str) -> bool:
    """Tell whether a plain GET of `url` succeeds: how programs without the API server's certificates are asked."""
    try:
        return httpx.get(url, timeout=REQUEST_TIMEOUT_SECONDS, trust_env=False).is_success
    except httpx.TransportError:
        return False


def object_path(manifest: dict[str, Any]) -> str:
    """Return the path of an object below the API server's URL."""
    version, kind, metadata = manifest["apiVersion"], manifest["kind"], manifest["metadata"]
    root = f"/apis/{version}" if "/" in version else f"/api/{version}"
    namespace = f"/namespaces/{metadata['namespace']}" if "namespace" in metadata else ""
    return f"{root}{namespace}/{PLURALS.get(kind, kind.lower() + 's')}/{metadata['name']}"


def wait(
    condition: Callable[[], bool],
    *,
    what: str,
    files: Files,
    components: Iterable[str],
    timeout_seconds: float,
) -> None:
    """Wait until `condition` holds.

    Parameters
    ----------
    condition
        Asked every few milliseconds.
    what
        What is waited for, as "the API server to be ready".
    files
        Of the cluster.
    components
        Those that must run for the condition ever to hold: the wait ends when one of them has ended. The first
        is the one to blame when time runs out.
    timeout_seconds
        How long to wait.

    Raises
    ------
    DevclusterError
        A component has ended, or time ran out; with the end of its log.
    """
    needed = list(components)
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        for component in needed:
            if files.process(component) is None:
                raise component_error(f"{component} ended while waiting for {what}", files.log(component))
        if time.monotonic() > deadline:
            problem = f"waited {timeout_seconds:.0f} s in vain for {what}"
            raise component_error(problem, files.log(needed[0]))
        time.sleep(POLL_SECONDS)
