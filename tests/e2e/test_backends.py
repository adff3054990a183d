"""Does what an assistant keeps outlive the pods of its servers, and the assistant itself?

The tests of this module tell one story, in order, about one assistant with every server that it may have: it becomes
Ready, something is written, the servers' pods are killed, the AIAssistant is deleted with its volumes kept and created
again, and what was written is still there.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from pymilvus import MilvusClient

from devcluster.demo.recipes import RUNTIME
from tests.support.kube import Kube, eventually
from tests.support.searxng import PAGES, engine

# The first test waits for images, which are built when they are not there yet.
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]

NAME = "full"
RUNTIME_PODS = f"app.kubernetes.io/instance={NAME},app.kubernetes.io/name=runtime"
STATEFUL = ("redis", "mongodb", "postgresql", "milvus")


def _small(memory: str) -> dict[str, Any]:
    """Return resources for one user's data on a small machine; the defaults are for many."""
    return {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"cpu": "2", "memory": memory}}


def _server(memory: str) -> dict[str, Any]:
    return {"enabled": True, "managed": {"resources": _small(memory), "storage": {"size": "1Gi"}}}


SEARCH = {
    # Nothing here asks the internet: its one engine is the index below.
    "use_default_settings": {"engines": {"keep_only": []}},
    "engines": [engine("http://index:8080")],
}
SPEC = {
    "replicas": 1,
    "resources": _small("512Mi"),
    "providers": {
        "items": [{"name": "local", "baseURL": "http://model-server:8080/v1", "model": "smollm2-135m-instruct"}]
    },
    "mongodb": _server("512Mi"),
    "postgresql": _server("512Mi"),
    "milvus": _server("2Gi"),
    "searxng": {"enabled": True, "managed": {"resources": _small("512Mi"), "settings": SEARCH}},
}


def _index(image: str) -> list[dict[str, Any]]:
    """Return a pod that answers every search with all pages, and its Service."""
    container = {
        "name": "index",
        "image": image,
        "command": ["python", "-m", "http.server", "8080", "--directory", "/index"],
        "resources": _small("128Mi"),
        "readinessProbe": {"tcpSocket": {"port": 8080}},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [{"name": "index", "mountPath": "/index"}],
    }
    pod = {
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
        "terminationGracePeriodSeconds": 1,  # there is nothing to finish
        "volumes": [{"name": "index", "configMap": {"name": "index"}}],
    }
    named = {"apiVersion": "v1", "metadata": {"name": "index", "labels": {"app": "index"}}}
    return [
        {**named, "kind": "ConfigMap", "data": {"search": json.dumps({"results": PAGES})}},
        {**named, "kind": "Pod", "spec": pod},
        {**named, "kind": "Service", "spec": {"selector": {"app": "index"}, "ports": [{"port": 8080}]}},
    ]


class Assistant:
    """The assistant, its sessions API, and its servers asked directly."""

    def __init__(self, kube: Kube) -> None:
        self.kube = kube
        self.session = ""

    def create(self) -> None:
        """Apply it and wait until it is Ready."""
        head = {"apiVersion": "aiassistant.dev/v1alpha1", "kind": "AIAssistant", "metadata": {"name": NAME}}
        self.kube.apply({**head, "spec": SPEC})
        self.wait()

    def wait(self) -> None:
        """Wait until it is Ready."""
        self.kube.run("wait", "--for=condition=Ready", f"aia/{NAME}", "--timeout=240s", timeout=250)

    def delete(self) -> None:
        """Delete it and wait until its pods are gone."""
        self.kube.run("delete", "aia", NAME, "--ignore-not-found")
        eventually(lambda: not self.kube.list("pods", f"app.kubernetes.io/instance={NAME}"), "no pod", timeout=120)

    def address(self, service: str) -> str:
        """Return a Service's address, which this machine has a route to."""
        return str(self.kube.must("service", service)["spec"]["clusterIP"])

    def sessions(self, method: str, path: str, body: object = None) -> httpx.Response:
        """Send a request to the sessions API."""
        headers = {"Authorization": f"Bearer {self.kube.secret(f'{NAME}-api-keys')['api-key']}"}
        url = f"http://{self.address(NAME)}/v1/sessions{path}"
        return httpx.request(method, url, json=body, headers=headers, timeout=30)

    @contextmanager
    def milvus(self) -> Iterator[MilvusClient]:
        """Connect with what the Secret has."""
        secret = self.kube.secret(f"{NAME}-milvus")
        url = f"http://{self.address(f'{NAME}-milvus')}:19530"
        client = MilvusClient(url, user=secret["username"], password=secret["password"], timeout=60)
        try:
            yield client
        finally:
            client.close()

    def psql(self, statement: str) -> str:
        """Give what PostgreSQL returns for a statement."""
        pod = f"{NAME}-postgresql-0"
        options = ("--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--dbname=ai_assistant")
        return self.kube.run("exec", pod, "--container=postgresql", "--", "psql", *options, "--command", statement)

    def write(self) -> None:
        """Write a session, a row and a vector."""
        made = self.sessions("POST", "", {"title": "kept"})
        assert made.status_code == 201, made.text
        self.session = str(made.json()["id"])
        self.psql("CREATE TABLE kept (text text); INSERT INTO kept VALUES ('kept')")
        with self.milvus() as client:
            client.create_collection("chunks", dimension=2)
            client.insert("chunks", [{"id": 1, "vector": [0.0, 1.0], "text": "kept"}])

    def expect_what_was_written(self) -> None:
        """Fail unless session, row and vector are there; the runtime may take a moment to connect anew."""
        eventually(
            lambda: self.sessions("GET", f"/{self.session}").json().get("title") == "kept",
            "the session is there",
            last=lambda: self.sessions("GET", f"/{self.session}").text,
        )
        assert self.psql("SELECT text FROM kept").strip() == "kept"
        with self.milvus() as client:
            client.load_collection("chunks")
            found = client.get("chunks", ids=[1], output_fields=["text"], consistency_level="Strong")
        assert [each["text"] for each in found] == ["kept"]


@pytest.fixture(scope="module")
def assistant(kube: Kube, loaded: dict[str, str]) -> Iterator[Assistant]:
    kube.apply(*_index(loaded[RUNTIME.name]))
    made = Assistant(kube)
    made.create()
    yield made
    made.delete()
    kube.run("delete", "pvc,secret", "-l", f"app.kubernetes.io/instance={NAME}")
    kube.run("delete", "pod,service,configmap", "index")


def test_every_server_is_ready(assistant: Assistant) -> None:
    for condition in ("RuntimeReady", "RedisReady", "MongoDBReady", "PostgreSQLReady", "MilvusReady", "SearXNGReady"):
        assert assistant.kube.condition(NAME, condition)["status"] == "True"


def test_search(assistant: Assistant) -> None:
    url = f"http://{assistant.address(f'{NAME}-searxng')}:8080/search"
    answer = httpx.get(url, params={"q": "anything", "format": "json"}, timeout=30).json()
    assert {each["url"] for each in answer["results"]} == {page["url"] for page in PAGES}, answer


def test_what_was_written_outlives_the_servers_pods(assistant: Assistant) -> None:
    kube = assistant.kube
    assistant.write()
    pods = [f"{NAME}-{server}-0" for server in STATEFUL]
    killed = {pod: kube.must("pod", pod)["metadata"]["uid"] for pod in pods}
    kube.run("delete", "pod", *pods, "--grace-period=0", "--force")
    for pod in pods:
        eventually(
            lambda pod=pod: (now := kube.get("pod", pod)) and now["metadata"]["uid"] != killed[pod], f"{pod} is new"
        )
        kube.run("wait", "--for=condition=Ready", f"pod/{pod}", "--timeout=240s", timeout=250)
    assistant.wait()
    assistant.expect_what_was_written()


def test_a_changed_password_of_mongodb_reaches_server_and_runtime(assistant: Assistant) -> None:
    kube, secret = assistant.kube, f"{NAME}-mongodb"
    server = kube.must("pod", f"{NAME}-mongodb-0")["metadata"]["uid"]
    before = {pod["metadata"]["uid"] for pod in kube.list("pods", RUNTIME_PODS)}
    kube.run("patch", "secret", secret, "--type=merge", '-p={"stringData":{"password":"changed-by-hand"}}')
    eventually(lambda: "changed-by-hand" in kube.secret(secret)["url"], "the URL has the new password")
    eventually(
        lambda: (now := {pod["metadata"]["uid"] for pod in kube.list("pods", RUNTIME_PODS)}) and not now & before,
        "the runtime's pods are new",
        timeout=120,
    )
    assistant.wait()
    assistant.expect_what_was_written()
    assert kube.must("pod", f"{NAME}-mongodb-0")["metadata"]["uid"] == server


def test_what_was_written_outlives_the_assistant(assistant: Assistant) -> None:
    assistant.delete()
    assistant.create()
    assistant.expect_what_was_written()
