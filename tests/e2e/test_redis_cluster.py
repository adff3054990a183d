"""Does a Redis Cluster of real pods lose a master under load without the assistant's clients losing anything?

The tests of this module tell one story, in order, about one assistant: its Redis Cluster is formed, and then a master
goes twice while sessions are appended to: once with a goodbye, in which its replica takes over, and once without.
"""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Self

import httpx
import pytest

from tests.support.kube import Kube, eventually

# The first test waits for images, which are built when they are not there yet.
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]

NAME = "clustered"
Record = Callable[[str, object], None]
SERVERS = 6
SLOTS = 16384
SOON = 15
"""Seconds after the loss of a master within which no error is left."""
PODS = f"app.kubernetes.io/instance={NAME},app.kubernetes.io/name=redis-cluster"


def _small(memory: str, cpu: str = "20m") -> dict[str, Any]:
    return {"requests": {"cpu": cpu, "memory": "32Mi"}, "limits": {"cpu": "1", "memory": memory}}


SPEC = {
    "replicas": 1,
    "resources": _small("512Mi", "50m"),
    "deletionPolicy": "Delete",
    "rateLimit": {"requests": 100_000},
    "providers": {
        "items": [{"name": "local", "baseURL": "http://model-server:8080/v1", "model": "smollm2-135m-instruct"}]
    },
    "redis": {"managed": {"topology": "cluster", "maxMemory": "32Mi", "resources": _small("128Mi")}},
    "mongodb": {"managed": {"resources": _small("512Mi"), "storage": {"size": "1Gi"}}},
    "milvus": {"enabled": False},
    "searxng": {"enabled": False},
}


@dataclass
class Load:
    """Appends to sessions, one after another, until the block ends; and a look at what the runtime says of Redis."""

    url: str
    key: str
    sessions: list[str]
    acknowledged: dict[str, list[str]] = field(default_factory=dict)
    errors: list[tuple[float, str]] = field(default_factory=list)
    """What went wrong, each with the time of a monotonic clock in seconds."""

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def count(self) -> int:
        """How many messages were acknowledged."""
        return sum(map(len, self.acknowledged.values()))

    def _run(self) -> None:
        number = 0
        with httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {self.key}"}, timeout=30) as client:
            while not self._stop.wait(0.02):
                number += 1
                try:
                    self._append(client, self.sessions[number % len(self.sessions)], f"message {number}")
                except httpx.HTTPError as error:
                    self.errors.append((time.monotonic(), repr(error)))

    def _append(self, client: httpx.Client, session: str, text: str) -> None:
        body = {"messages": [{"role": "user", "content": text}]}
        answer = client.post(f"/v1/sessions/{session}/messages", json=body)
        if answer.status_code == httpx.codes.CREATED:
            self.acknowledged.setdefault(session, []).append(text)
        else:
            self.errors.append((time.monotonic(), f"{answer.status_code} {answer.text}"))
        redis = client.get("/ready").json()["checks"]["redis"]
        if redis["status"] != "up":
            self.errors.append((time.monotonic(), f"Redis: {redis}"))


class Cluster:
    """The assistant, and its Redis Cluster seen from within the pods."""

    def __init__(self, kube: Kube) -> None:
        self.kube = kube
        self.url = f"http://{kube.must('service', NAME)['spec']['clusterIP']}"
        self.key = kube.secret(f"{NAME}-api-keys")["api-key"]

    def pods(self) -> list[dict[str, Any]]:
        """Give the pods that stay."""
        return [pod for pod in self.kube.list("pods", PODS) if not pod["metadata"].get("deletionTimestamp")]

    def redis(self, pod: str, *words: str) -> str:
        """Give what the server of a pod answers."""
        return self.kube.run("exec", pod, "--container=redis", "--", "redis-cli", *words)

    def is_whole(self) -> bool:
        """Tell whether six servers with the addresses of their pods serve all slots, three of them a replica each."""
        pods = self.pods()
        addresses = {(pod.get("status") or {}).get("podIP") for pod in pods}
        if len(pods) != SERVERS or not all(map(_is_ready, pods)):
            return False
        told = [line.split() for line in self.redis(pods[0]["metadata"]["name"], "cluster", "nodes").splitlines()]
        masters = {node[0] for node in told if "master" in node[2]}
        return (
            {node[1].partition(":")[0] for node in told} == addresses
            and not any("fail" in node[2] or node[7] != "connected" for node in told)
            and {node[3] for node in told if "slave" in node[2]} == masters
            and sum(_slots(node) for node in told) == SLOTS
        )

    def limiting_master(self) -> str:
        """Give the pod of the master that the load uses most: it keeps the client's rate limit."""
        for pod in self.pods():
            name = pod["metadata"]["name"]
            keys = self.redis(name, "--scan", "--pattern", "assistant:limit:*")
            if keys.strip() and self.redis(name, "role").startswith("master"):
                return str(name)
        raise AssertionError("no master keeps a rate limit")

    def load(self) -> Load:
        """Return a load on three new sessions."""
        headers = {"Authorization": f"Bearer {self.key}"}
        made = [httpx.post(f"{self.url}/v1/sessions", json={}, headers=headers, timeout=30) for _ in range(3)]
        return Load(self.url, self.key, [str(answer.json()["id"]) for answer in made])

    def texts(self, session: str) -> list[str]:
        """Give all messages of a session."""
        found: list[str] = []
        after: int | None = 0
        while after is not None:
            answer = httpx.get(
                f"{self.url}/v1/sessions/{session}/messages",
                params={"after": after, "limit": 100},
                headers={"Authorization": f"Bearer {self.key}"},
                timeout=30,
            ).json()
            found += [each["message"]["content"] for each in answer["data"]]
            after = answer["next"]
        return found

    def lose(self, pod: str, load: Load, *options: str) -> float:
        """Delete a pod, wait until another is in its place and all is well; return when it was deleted."""
        gone, address = (self.kube.must("pod", pod)[part] for part in ("metadata", "status"))
        deleted = time.monotonic()
        self.kube.run("delete", "pod", pod, "--wait=false", *options)
        eventually(
            lambda: (now := self.kube.get("pod", pod)) and now["metadata"]["uid"] != gone["uid"], f"{pod} is new"
        )
        eventually(self.is_whole, "the cluster is whole again", timeout=180, last=self.pods)
        self.kube.run("wait", "--for=condition=Ready", f"aia/{NAME}", "--timeout=120s", timeout=130)
        assert self.kube.must("pod", pod)["status"]["podIP"] != address["podIP"]
        before = load.count
        eventually(lambda: load.count > before, "messages are acknowledged")
        return deleted


def _is_ready(pod: dict[str, Any]) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def _slots(node: list[str]) -> int:
    """Count the slots at the end of a line of `cluster nodes`: single ones, and ranges."""
    ends = ([int(end) for end in slots.split("-")] for slots in node[8:] if not slots.startswith("["))
    return sum(end[-1] - end[0] + 1 for end in ends)


def _expect(cluster: Cluster, load: Load, deleted: float) -> float:
    """Fail unless every acknowledged message is there, once and in order, and errors ended in time; return when."""
    for session, texts in load.acknowledged.items():
        kept = [text for text in cluster.texts(session) if text in set(texts)]
        assert kept == texts
    late = [what for when, what in load.errors if when > deleted + SOON]
    assert late == []
    return max((round(when - deleted, 1) for when, _ in load.errors), default=0.0)


@pytest.fixture(scope="module")
def cluster(kube: Kube) -> Iterator[Cluster]:
    head = {"apiVersion": "aiassistant.dev/v1alpha1", "kind": "AIAssistant", "metadata": {"name": NAME}}
    kube.apply({**head, "spec": SPEC})
    kube.run("wait", "--for=condition=Ready", f"aia/{NAME}", "--timeout=240s", timeout=250)
    yield Cluster(kube)
    kube.run("delete", "aia", NAME)
    eventually(lambda: not kube.list("pods", f"app.kubernetes.io/instance={NAME}"), "no pod", timeout=120)


def test_the_job_forms_the_cluster(cluster: Cluster) -> None:
    eventually(cluster.is_whole, "the cluster is whole")
    eventually(
        lambda: [job["status"].get("succeeded") for job in cluster.kube.list("jobs", f"{PODS}-setup")] == [1],
        "the Job is done",
    )


def test_a_deleted_master_hands_over_and_no_acknowledged_message_is_lost(
    cluster: Cluster, record_testsuite_property: Record
) -> None:
    with cluster.load() as load:
        eventually(lambda: load.count > 20, "messages are acknowledged")
        pod = cluster.limiting_master()
        deleted = cluster.lose(pod, load)
    record_testsuite_property("seconds to the last error, Redis master deleted", _expect(cluster, load, deleted))
    logs = [cluster.kube.run("logs", each["metadata"]["name"], "--container=redis") for each in cluster.pods()]
    # Asked by the script that runs before a pod is stopped, and by nothing else.
    assert any("Manual failover user request accepted" in log for log in logs)


def test_a_killed_master_is_got_over_and_no_acknowledged_message_is_lost(
    cluster: Cluster, record_testsuite_property: Record
) -> None:
    with cluster.load() as load:
        eventually(lambda: load.count > 20, "messages are acknowledged")
        pod = cluster.limiting_master()
        deleted = cluster.lose(pod, load, "--grace-period=0", "--force")
    record_testsuite_property("seconds to the last error, Redis master killed", _expect(cluster, load, deleted))
