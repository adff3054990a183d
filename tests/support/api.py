"""What tests ask an API server again and again: a kubectl for each question would cost more than all the rest."""

import ssl
from dataclasses import dataclass
from typing import Any

import httpx

from devcluster import state
from devcluster.cluster import Cluster

Object = dict[str, Any]

DISCOVERY = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
TIMEOUT_SECONDS = 60.0
TRIED = {"dryRun": "All", "fieldValidation": "Strict"}


class RefusedError(Exception):
    """The API server refused; the text is what it or kubectl said."""


@dataclass(frozen=True)
class Resource:
    """Where the objects of a kind are."""

    root: str
    plural: str
    kind: str
    namespaced: bool

    def path(self, namespace: str, name: str = "") -> str:
        """Return the path of an object, or of all of them."""
        within = f"/namespaces/{namespace}" if self.namespaced else ""
        return f"{self.root}{within}/{self.plural}" + (f"/{name}" if name else "")


class Api:
    """The API server of a cluster, as its administrator."""

    def __init__(self, cluster: Cluster) -> None:
        pki = state.files(cluster.name).pki
        self._server = cluster.server
        self._trust = ssl.create_default_context(cafile=str(pki / "ca.crt"))
        self._trust.load_cert_chain(pki / "admin.crt", pki / "admin.key")
        self._resources: dict[str, Resource] = {}

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        """Return an object, None where there is none."""
        answer = self._request("GET", self._resource(kind).path(namespace, name))
        return None if answer.status_code == httpx.codes.NOT_FOUND else _accepted(answer)

    def list(self, kind: str, namespace: str, selector: str = "") -> list[Object]:
        """Return the objects of a kind."""
        found = self._resource(kind)
        listed = _accepted(self._request("GET", found.path(namespace), params={"labelSelector": selector}))
        return [{"kind": found.kind, **item} for item in listed["items"]]

    def create(self, body: Object, namespace: str = "", *, keep: bool = True) -> None:
        """Create an object; or have the API server check one, strictly, and not keep it."""
        path = self._resource_of(body).path(namespace)
        _accepted(self._request("POST", path, params={} if keep else TRIED, json=body))

    def delete(self, kind: str, name: str, namespace: str = "") -> None:
        """Have an object deleted."""
        _accepted(self._request("DELETE", self._resource(kind).path(namespace, name)))

    def try_to_apply(self, body: Object, namespace: str) -> None:
        """Have the API server check an object as it is applied on the server's side, strictly, and not keep it."""
        _accepted(
            self._request(
                "PATCH",
                self._resource_of(body).path(namespace, body["metadata"]["name"]),
                params={**TRIED, "fieldManager": "tests"},
                headers={"Content-Type": "application/apply-patch+yaml"},
                json=body,
            )
        )

    def _resource_of(self, body: Object) -> Resource:
        group = body["apiVersion"].rpartition("/")[0]
        return self._resource(f"{body['kind']}.{group}")

    def _resource(self, kind: str) -> Resource:
        """Find a kind by any of the names that kubectl takes; looks anew for one that was not there before."""
        if kind.lower() not in self._resources:
            self._resources = self._discover()
        return self._resources[kind.lower()]

    def _discover(self) -> dict[str, Resource]:
        found: dict[str, Resource] = {}
        for root in ("/api", "/apis"):
            groups = _accepted(self._request("GET", root, headers={"Accept": DISCOVERY}))["items"]
            for group in groups:
                name = group["metadata"].get("name", "")
                version = group["versions"][0]  # the preferred one comes first
                place = "/".join(part for part in (root, name, version["version"]) if part)
                for each in version["resources"]:
                    kind, namespaced = each["responseKind"]["kind"], each["scope"] == "Namespaced"
                    made = Resource(place, each["resource"], kind, namespaced)
                    for alias in _names(each, name):
                        found.setdefault(alias, made)
        return found

    def _request(self, method: str, path: str, **options: Any) -> httpx.Response:
        return httpx.request(
            method, f"{self._server}{path}", verify=self._trust, timeout=TIMEOUT_SECONDS, trust_env=False, **options
        )


def _names(resource: Object, group: str) -> list[str]:
    plural, kind = resource["resource"], resource["responseKind"]["kind"].lower()
    return [f"{plural}.{group}", f"{kind}.{group}", plural, kind, *resource.get("shortNames", [])]


def _accepted(answer: httpx.Response) -> Object:
    if not answer.is_success:
        raise RefusedError(answer.json()["message"])
    body: Object = answer.json()
    return body
