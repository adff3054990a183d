"""Does an assistant live with a PostgreSQL that CloudNativePG runs, the operator itself and not what it would write?

The tests of this module tell one story, in order: an assistant names a Cluster before anything of CloudNativePG is
there, the operator is installed, its user makes the Cluster, and the assistant keeps a key and what it spent in there.
The primary is lost, the password changes, and at last the assistant goes, and the Cluster stays as it is.
"""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import httpx
import pytest

from devcluster.cluster import Cluster
from devcluster.demo.recipes import POSTGRESQL
from tests.e2e.conftest import SYSTEM_NAMESPACE
from tests.support import cloudnative_pg
from tests.support.api import Object, RefusedError
from tests.support.every_backend import small
from tests.support.kube import Kube, eventually

# The first test waits for images, which are built when they are not there yet.
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]

NAME = "referring"
GROUP = "postgresql.cnpg.io"
KIND = f"clusters.{GROUP}"
REF = {"apiVersion": f"{GROUP}/v1", "kind": "Cluster", "name": "main"}
SECRET = "main-app"
RUNTIME_PODS = f"app.kubernetes.io/instance={NAME},app.kubernetes.io/name=runtime"
CONDITION = "PostgreSQLReady"
INSTANCES = 2
OPERATOR = f"system:serviceaccount:{SYSTEM_NAMESPACE}:"

SPEC = {
    "replicas": 1,
    "deletionPolicy": "Delete",
    "resources": small("512Mi"),
    "providers": {
        "items": [{"name": "local", "baseURL": "http://model-server:8080/v1", "model": "smollm2-135m-instruct"}]
    },
    "rateLimit": {"requests": 100_000},
    "postgresql": {"enabled": True, "operatorRef": REF},
    **{server: {"enabled": False} for server in ("redis", "mongodb", "milvus", "searxng")},
}


def _cluster(loaded: dict[str, str], size: str = "1Gi") -> list[Object]:
    """Return the Cluster of two, and the catalog by which it finds an image whose tag is no version."""
    head = {"apiVersion": REF["apiVersion"], "metadata": {"name": REF["name"]}}
    catalog = {"images": [{"major": 15, "image": loaded[POSTGRESQL.name]}]}
    soon = {"periodSeconds": 1}
    spec = {
        "instances": INSTANCES,
        "imageCatalogRef": {"apiGroup": GROUP, "kind": "ImageCatalog", "name": REF["name"], "major": 15},
        # The ids of the user in the image.
        "postgresUID": 999,
        "postgresGID": 999,
        "storage": {"size": size},
        "resources": small("512Mi"),
        "probes": {"startup": soon, "readiness": soon},
        # The runtime keeps its connections, for whose end an instance would wait.
        "smartShutdownTimeout": 1,
    }
    return [{**head, "kind": "ImageCatalog", "spec": catalog}, {**head, "kind": REF["kind"], "spec": spec}]


@dataclass
class Assistant:
    """The assistant, asked by HTTP, and what it has been given to keep."""

    kube: Kube
    client_key: str = ""
    spent: list[dict[str, Any]] = field(default_factory=list)

    def wait(self) -> None:
        """Wait until it is Ready."""
        self.kube.run("wait", "--for=condition=Ready", f"aia/{NAME}", "--timeout=300s", timeout=310)

    def wait_for_the_cluster(self) -> None:
        """Wait until both instances serve, and the assistant is Ready with them."""
        whole = ("True", f"Cluster main: {INSTANCES}/{INSTANCES} instances are ready.")
        eventually(
            lambda: ((told := self.told()).get("status"), told.get("message")) == whole,
            "the Cluster is whole",
            timeout=300,
            last=self.told,
        )
        self.wait()

    def told(self) -> dict[str, Any]:
        """Give what the assistant says of the Cluster."""
        return self.kube.condition(NAME, CONDITION)

    def ask(self, method: str, path: str, body: object = None, *, key: str = "") -> Any:
        """Send a request by the generated key or another; give the answer, None where it is not a good one."""
        address = self.kube.must("service", NAME)["spec"]["clusterIP"]
        headers = {"Authorization": f"Bearer {key or self.kube.secret(f'{NAME}-api-keys')['api-key']}"}
        answer = httpx.request(method, f"http://{address}{path}", json=body, headers=headers, timeout=60)
        return answer.json() if answer.is_success else None

    def pods(self) -> set[str]:
        """Give the runtime's pods by what no other pod is called."""
        return {pod["metadata"]["uid"] for pod in self.kube.list("pods", RUNTIME_PODS)}

    def sql(self, statement: str) -> str:
        """Give what the primary answers, in the runtime's database."""
        primary = self.kube.must(KIND, REF["name"])["status"]["currentPrimary"]
        command = ["psql", "--no-psqlrc", "--tuples-only", "--no-align", f"--command={statement}", "app"]
        return self.kube.run("exec", primary, "--container=postgres", "--", *command).strip()

    def expect_what_was_kept(self) -> None:
        """Fail unless the database has the key and what it spent."""
        usage = f"/v1/usage?key_id={self.spent[0]['key_id']}"
        found = eventually(lambda: self.ask("GET", usage), "the ledger is read", last=lambda: self.ask("GET", "/ready"))
        assert found["data"] == self.spent
        eventually(lambda: self.ask("GET", "/v1/models", key=self.client_key), "the key is known")


@pytest.fixture(scope="module")
def assistant(kube: Kube) -> Iterator[Assistant]:
    head = {"apiVersion": "aiassistant.dev/v1alpha1", "kind": "AIAssistant", "metadata": {"name": NAME}}
    kube.apply({**head, "spec": SPEC})
    yield Assistant(kube)
    kube.run("delete", "aia", NAME, "--ignore-not-found")
    if kube.run("get", "crd", KIND, "--ignore-not-found"):
        kube.run("delete", KIND, "--all", "--wait=false")


def test_it_goes_on_when_cloudnative_pg_is_installed(assistant: Assistant, nodes: Cluster) -> None:
    kube = assistant.kube
    stalled = kube.wait_for_reason(NAME, "ApiNotInstalled", "Stalled")
    assert KIND in stalled["message"]
    nodes.load(cloudnative_pg.image())
    cloudnative_pg.install(nodes)
    kube.wait_for_reason(NAME, "ObjectNotFound")


def test_its_webhooks_refuse_and_complete_clusters(assistant: Assistant, loaded: dict[str, str]) -> None:
    """The API server reaches a pod by a Service, over TLS with a certificate that the operator made."""
    with pytest.raises(RefusedError, match="Size value isn't valid"):
        assistant.kube.apply(*_cluster(loaded, size="large"))
    assistant.kube.apply(*_cluster(loaded))
    assert assistant.kube.must(KIND, REF["name"])["spec"]["bootstrap"]["initdb"]["database"] == "app"


def test_the_assistant_is_ready_with_the_cluster(assistant: Assistant) -> None:
    assistant.wait_for_the_cluster()
    assert assistant.ask("GET", "/ready")["degraded"] == []


def test_it_keeps_a_key_and_what_it_spent_over_tls(assistant: Assistant) -> None:
    key = assistant.ask("POST", "/v1/keys", {"name": "kept", "scopes": ["chat"]})
    assistant.client_key = key["key"]
    chat = {"messages": [{"role": "user", "content": "Hello."}], "max_tokens": 8}
    assert assistant.ask("POST", "/v1/chat/completions", chat, key=assistant.client_key)
    usage = f"/v1/usage?key_id={key['id']}"
    assistant.spent = eventually(lambda: assistant.ask("GET", usage)["data"], "the ledger is written")
    assert assistant.spent[0]["requests"] == 1
    ssl = "SELECT DISTINCT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = 'app'"
    assert assistant.sql(ssl) == "t"


def test_the_loss_of_the_primary_is_told_and_loses_nothing(assistant: Assistant) -> None:
    kube = assistant.kube
    lost = kube.must(KIND, REF["name"])["status"]["currentPrimary"]
    # It acknowledges what its replica has not got yet.
    caught_up = "SELECT replay_lsn >= pg_current_wal_lsn() FROM pg_stat_replication"
    eventually(lambda: assistant.sql(caught_up) == "t", "the replica has everything")
    kube.run("delete", "pod", lost, "--grace-period=0", "--force")
    told = kube.wait_for_reason(NAME, "ClusterIsNotReady", CONDITION, timeout=120)
    assert told["status"] == "False"
    assert told["message"].startswith("Cluster main: ")
    assistant.wait_for_the_cluster()
    assert kube.must(KIND, REF["name"])["status"]["currentPrimary"] != lost
    assistant.expect_what_was_kept()


def test_a_hibernated_cluster_is_told_and_wakes_with_everything(assistant: Assistant) -> None:
    kube = assistant.kube
    kube.run("annotate", KIND, REF["name"], "cnpg.io/hibernation=on")
    told = kube.wait_for_reason(NAME, "Hibernated", CONDITION, timeout=120)
    assert told["status"] == "False"
    kube.run("annotate", KIND, REF["name"], "cnpg.io/hibernation-")
    assistant.wait_for_the_cluster()
    assistant.expect_what_was_kept()


def test_a_changed_password_reaches_the_database_and_the_runtime(assistant: Assistant) -> None:
    kube, before = assistant.kube, assistant.pods()
    old = kube.secret(SECRET)["password"]
    kube.run("patch", "secret", SECRET, "--type=merge", '-p={"stringData":{"password":"changed-by-hand"}}')
    eventually(lambda: not _may_connect(kube, old), "the old password is refused")
    assert _may_connect(kube, "changed-by-hand")
    eventually(lambda: (now := assistant.pods()) and not now & before, "the runtime's pods are new", timeout=120)
    assistant.wait()
    assistant.expect_what_was_kept()


def test_the_cluster_outlives_the_assistant_untouched(assistant: Assistant, nodes: Cluster) -> None:
    kube = assistant.kube
    selector = f"cnpg.io/cluster={REF['name']}"

    def state() -> object:
        cluster = kube.must(KIND, REF["name"])
        kept = kube.list("pods,pvc,secrets,services", selector)
        return cluster["metadata"]["uid"], cluster["spec"], sorted(each["metadata"]["uid"] for each in kept)

    before = state()
    kube.run("delete", "aia", NAME, timeout=120)
    eventually(lambda: not kube.list("pods", f"app.kubernetes.io/instance={NAME}"), "no pod", timeout=120)
    assert state() == before
    assert _used(nodes) == {"list", "watch"}


def _may_connect(kube: Kube, password: str) -> bool:
    """Tell whether the primary takes a password of the application's user."""

    async def connect() -> bool:
        address = kube.must("service", f"{REF['name']}-rw")["spec"]["clusterIP"]
        try:
            connection = await asyncpg.connect(host=address, user="app", password=password, database="app")
        except asyncpg.InvalidPasswordError:
            return False
        await connection.close()
        return True

    return asyncio.run(connect())


def _used(nodes: Cluster) -> set[str]:
    """Return the verbs that this project's operator has used on CloudNativePG's kinds."""
    with nodes.audit_log.open() as log:
        entries = [json.loads(line) for line in log]
    return {
        entry["verb"]
        for entry in entries
        if entry["user"]["username"].startswith(OPERATOR) and (entry.get("objectRef") or {}).get("apiGroup") == GROUP
    }
