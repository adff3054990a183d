"""Does what an assistant keeps outlive the pods of its servers, and the assistant itself?

The tests of this module tell one story, in order, about one assistant with every server that it may have: it becomes
Ready, each server is used through the runtime's own API, the servers' pods are killed, the AIAssistant is deleted with
its volumes kept and created again, and what each server kept is still there.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import httpx
import pytest

from devcluster.addons import FIXED_STORAGE_CLASS
from devcluster.demo.recipes import MILVUS_LITE
from tests.e2e import outside as program
from tests.support.every_backend import CONDITIONS, STATEFUL, image, providers, servers
from tests.support.kube import Kube, eventually
from tests.support.searxng import PAGES, engine

# The first test waits for images, which are built when they are not there yet.
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]

NAME = "full"
RUNTIME_PODS = f"app.kubernetes.io/instance={NAME},app.kubernetes.io/name=runtime"
SITE = f"http://outside:{program.PORT}"
SCRIPTED = f"outside/{program.MODEL}"
FACT = "The lighthouse of Genoa is 77 metres high."
OTHER = "Parents may take twelve weeks of paid leave."
QUESTION = [{"role": "user", "content": "What is the capital of France? Answer in one sentence."}]


SEARCH = {
    # Nothing here asks the internet: its one engine is the index outside.
    "use_default_settings": {"engines": {"keep_only": []}},
    "engines": [engine(SITE)],
}


def _spec(loaded: dict[str, str]) -> dict[str, Any]:
    provider = {"name": "outside", "baseURL": f"{SITE}/v1", "model": program.MODEL}
    return {
        "providers": providers(NAME, provider),
        "rateLimit": {"requests": 100_000},  # the tests ask again and again until what they wait for is there
        # What the site outside says may be read, though its address is not public.
        "tools": {"allowedHosts": ["outside"]},
        **servers(loaded, SEARCH),
        # The class of the others lets volumes grow.
        "redis": {"managed": {"storage": {"size": "1Gi", "storageClassName": FIXED_STORAGE_CLASS}}},
    }


@dataclass
class Assistant:
    """The assistant, asked by HTTP, and what it has been given to keep."""

    kube: Kube
    spec: dict[str, Any]
    session: str = ""
    client_key: str = ""
    crawl: str = ""
    spent: list[dict[str, Any]] = field(default_factory=list)

    def apply(self) -> None:
        """Apply it."""
        head = {"apiVersion": "aiassistant.dev/v1alpha1", "kind": "AIAssistant", "metadata": {"name": NAME}}
        self.kube.apply({**head, "spec": self.spec})

    def wait(self) -> None:
        """Wait until it is Ready."""
        self.kube.run("wait", "--for=condition=Ready", f"aia/{NAME}", "--timeout=300s", timeout=310)

    def resize(self, server: str, size: str) -> None:
        """Ask for another size of a server's volume; Firecrawl's two servers are named as their pods are."""
        name, _, inner = server.partition("-")
        managed = self.spec[name]["managed"]
        (managed[inner] if inner else managed)["storage"]["size"] = size

    def pods(self) -> dict[str, tuple[str, int]]:
        """Give the UID of each pod that runs, and how often its containers were started again."""
        return {
            pod["metadata"]["name"]: (
                pod["metadata"]["uid"],
                sum(container["restartCount"] for container in pod["status"]["containerStatuses"]),
            )
            for pod in self.kube.list("pods", f"app.kubernetes.io/instance={NAME}")
            if pod["status"]["phase"] == "Running"
        }

    def delete(self) -> None:
        """Delete it and wait until its pods are gone."""
        self.kube.run("delete", "aia", NAME, "--ignore-not-found")
        eventually(lambda: not self.kube.list("pods", f"app.kubernetes.io/instance={NAME}"), "no pod", timeout=180)

    def request(self, method: str, path: str, body: object = None, *, key: str = "") -> httpx.Response:
        """Send a request to the runtime's API, by the generated key or another."""
        address = self.kube.must("service", NAME)["spec"]["clusterIP"]
        headers = {"Authorization": f"Bearer {key or self.kube.secret(f'{NAME}-api-keys')['api-key']}"}
        return httpx.request(method, f"http://{address}{path}", json=body, headers=headers, timeout=60)

    def ask(self, method: str, path: str, body: object = None, *, key: str = "") -> Any:
        """Send a request that must be answered well, and give the answer."""
        answer = self.request(method, path, body, key=key)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json()

    def use(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """Let the model call a tool; give the answer, which repeats what the tool gave, once the tool did well."""
        body = {"model": SCRIPTED, "messages": [{"role": "user", "content": json.dumps([tool, arguments])}]}

        last: dict[str, Any] = {}

        def done() -> dict[str, Any] | None:
            # The tools' connections may take a moment to be made anew.
            nonlocal last
            last = self.ask("POST", "/v1/chat/completions", body)
            return last if [step["status"] for step in last["assistant"]["steps"]] == ["done"] else None

        return eventually(done, f"{tool} does well", last=lambda: f"{last}\n{self.logs()}")

    def logs(self) -> str:
        """Give the end of what Firecrawl's pods and the runtime wrote."""
        parts = "runtime,firecrawl,firecrawl-nuq-worker,firecrawl-browser"
        which = f"app.kubernetes.io/instance={NAME},app.kubernetes.io/name in ({parts})"
        return self.kube.run("logs", "-l", which, "--prefix", "--tail=15") + self.kube.run("get", "pods")

    def firecrawl(self, method: str, path: str, body: object = None) -> Any:
        """Ask Firecrawl itself, of which the runtime uses no crawls."""
        address = self.kube.must("service", f"{NAME}-firecrawl")["spec"]["clusterIP"]
        return httpx.request(method, f"http://{address}:3002{path}", json=body, timeout=60).raise_for_status().json()

    def find(self, query: str) -> dict[str, Any]:
        """Search the documents."""
        found: dict[str, Any] = self.ask("POST", "/v1/search", {"query": query, "limit": 1})
        return found


@pytest.fixture(scope="module")
def assistant(kube: Kube, loaded: dict[str, str], outside: str) -> Iterator[Assistant]:
    made = Assistant(kube, _spec(loaded))
    made.apply()
    made.wait()
    yield made
    made.delete()
    kube.run("delete", "pvc,secret", "-l", f"app.kubernetes.io/instance={NAME}")


def test_every_server_is_ready(assistant: Assistant) -> None:
    for name in CONDITIONS:
        assert assistant.kube.condition(NAME, f"{name}Ready")["status"] == "True"
    # A runtime that started before its servers asks for them again within seconds.
    eventually(lambda: assistant.ask("GET", "/ready")["degraded"] == [], "the runtime misses no server")


def test_searxng_is_used_by_a_tool(assistant: Assistant) -> None:
    answer = assistant.use("web_search", query="anything")
    assert {source["url"] for source in answer["assistant"]["sources"]} == {page["url"] for page in PAGES}


def test_firecrawl_is_used_by_tools(assistant: Assistant) -> None:
    page = assistant.use("scrape_page", url=f"{SITE}/towers")
    assert "The lighthouse of Genoa is **77 metres** high." in page["choices"][0]["message"]["content"]
    site = assistant.use("map_site", url=f"{SITE}/")
    assert f"{SITE}/towers" in site["choices"][0]["message"]["content"]


def test_the_reranker_puts_texts_in_order(assistant: Assistant) -> None:
    body = {"query": "How tall is the lighthouse?", "documents": [OTHER, FACT]}
    answer = assistant.ask("POST", "/v1/rerank", body)
    assert answer["method"] == "reranker"
    assert [result["index"] for result in answer["results"]] == [1, 0]


def test_every_server_keeps_something(assistant: Assistant) -> None:
    # Redis: an answer. MongoDB: a conversation.
    chat = {"messages": QUESTION, "temperature": 0, "max_tokens": 8}
    assert assistant.request("POST", "/v1/chat/completions", chat).headers["x-cache"] == "miss"
    assistant.session = assistant.ask("POST", "/v1/sessions", {"title": "kept"})["id"]
    assistant.ask("POST", "/v1/chat/completions", {**chat, "assistant": {"session": assistant.session}})
    # Milvus: two documents.
    for name, text in (("towers.txt", FACT), ("leave.txt", OTHER)):
        assert assistant.ask("POST", "/v1/documents", {"name": name, "text": text})["status"] == "ready"
    # PostgreSQL: a key, and what it spent.
    key = assistant.ask("POST", "/v1/keys", {"name": "kept", "scopes": ["chat"]})
    assistant.client_key = key["key"]
    assistant.ask("POST", "/v1/chat/completions", chat, key=assistant.client_key)
    usage = f"/v1/usage?key_id={key['id']}"
    assistant.spent = eventually(lambda: assistant.ask("GET", usage)["data"], "the ledger is written")
    assert assistant.spent[0]["requests"] == 1
    # Firecrawl's own PostgreSQL and Redis: a crawl.
    assistant.crawl = assistant.firecrawl("POST", "/v2/crawl", {"url": f"{SITE}/", "limit": 5})["id"]
    _expect_what_was_kept(assistant)


def test_volumes_grow_under_their_servers(assistant: Assistant) -> None:
    kube, growing = assistant.kube, [server for server in STATEFUL if server != "redis"]
    before = assistant.pods()
    for server in growing:
        assistant.resize(server, "2Gi")
    assistant.apply()

    def sizes() -> dict[str, str]:
        claims = [kube.must("pvc", f"data-{NAME}-{server}-0") for server in growing]
        return {claim["metadata"]["name"]: claim["status"]["capacity"]["storage"] for claim in claims}

    eventually(lambda: set(sizes().values()) == {"2Gi"}, "every volume has grown", last=sizes)
    eventually(lambda: not kube.condition(NAME, "Reconciling"), "nothing is under way")
    assert kube.condition(NAME)["status"] == "True"
    assert not kube.condition(NAME, "Stalled")
    assert assistant.pods() == before
    _expect_what_was_kept(assistant)


def test_a_volume_does_not_shrink_and_everything_serves_on(assistant: Assistant) -> None:
    told = _stalled(assistant, "firecrawl-postgresql", "1Gi", reason="ImmutableField", former="2Gi")
    field = "spec.firecrawl.managed.postgresql.storage.size"
    assert told.startswith(f"{field}: a volume can't shrink. Set it back to 2Gi or more")


def test_a_volume_does_not_grow_where_its_class_does_not_let_it_and_everything_serves_on(assistant: Assistant) -> None:
    told = _stalled(assistant, "redis", "2Gi", reason="ResizeRefused", former="1Gi")
    assert told.startswith(f"spec.redis.managed.storage.size: volume claim data-{NAME}-redis-0 can't grow to 2Gi: ")
    assert f"Set it back to 1Gi, or have StorageClass {FIXED_STORAGE_CLASS} allow it" in told


def _is_new(kube: Kube, pod: str, before: str) -> bool:
    now = kube.get("pod", pod)
    return now is not None and now["metadata"]["uid"] != before


def test_what_was_kept_outlives_the_servers_pods(assistant: Assistant) -> None:
    kube = assistant.kube
    pods = [f"{NAME}-{server}-0" for server in STATEFUL]
    killed = {pod: kube.must("pod", pod)["metadata"]["uid"] for pod in pods}
    kube.run("delete", "pod", *pods, "--grace-period=0", "--force")
    for pod in pods:
        eventually(partial(_is_new, kube, pod, killed[pod]), f"{pod} is new")
        kube.run("wait", "--for=condition=Ready", f"pod/{pod}", "--timeout=300s", timeout=310)
    assistant.wait()
    _expect_what_was_kept(assistant)
    assistant.use("scrape_page", url=f"{SITE}/towers")


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
    _expect_what_was_kept(assistant)
    assert kube.must("pod", f"{NAME}-mongodb-0")["metadata"]["uid"] == server


def test_what_was_kept_outlives_the_assistant(assistant: Assistant) -> None:
    assistant.delete()
    assistant.apply()
    assistant.wait()
    _expect_what_was_kept(assistant)


def test_a_milvus_of_another_kind_by_its_image_alone(assistant: Assistant, loaded: dict[str, str]) -> None:
    """Milvus Lite's server has what 2.3.5 has not: search by vectors and keywords. It begins empty."""
    assistant.spec["milvus"]["managed"]["image"] = image(loaded[MILVUS_LITE.name])
    before = assistant.kube.must("pod", f"{NAME}-milvus-0")["metadata"]["uid"]
    assistant.apply()
    eventually(
        lambda: (now := assistant.kube.get("pod", f"{NAME}-milvus-0")) and now["metadata"]["uid"] != before,
        "Milvus has a new pod",
        timeout=120,
    )
    assistant.wait()
    _eventually_ok(assistant, "POST", "/v1/documents", {"name": "towers.txt", "text": FACT})
    found = assistant.find("lighthouse")
    assert (found["retrieval"], found["data"][0]["text"]) == ("hybrid", FACT)


def _stalled(assistant: Assistant, server: str, size: str, *, reason: str, former: str) -> str:
    """Ask for a size that a volume can't have, and for the former one again; give what was said of it."""
    kube, before = assistant.kube, assistant.pods()
    assistant.resize(server, size)
    assistant.apply()
    told: str = kube.wait_for_reason(NAME, reason, "Stalled")["message"]
    _expect_what_was_kept(assistant)
    assistant.resize(server, former)
    assistant.apply()
    eventually(lambda: not kube.condition(NAME, "Stalled"), "it goes on")
    assistant.wait()
    assert assistant.pods() == before
    return told


def _eventually_ok(assistant: Assistant, method: str, path: str, body: object = None) -> Any:
    """Give the answer to a request once it is a good one: the runtime may take a moment to connect anew."""
    answer = eventually(
        lambda: answer if (answer := assistant.request(method, path, body)).is_success else None,
        f"{method} {path} is answered",
        last=lambda: assistant.request(method, path, body).text,
    )
    return answer.json()


def _expect_what_was_kept(assistant: Assistant) -> None:
    """Fail unless each server has what it was given."""
    messages = _eventually_ok(assistant, "GET", f"/v1/sessions/{assistant.session}/messages")["data"]
    assert [message["message"]["role"] for message in messages] == ["user", "assistant"]
    _eventually_ok(assistant, "POST", "/v1/search", {"query": "lighthouse"})
    found = assistant.find("How tall is the lighthouse?")
    assert (found["retrieval"], found["reranked"], found["data"][0]["text"]) == ("dense", True, FACT)
    usage = f"/v1/usage?key_id={assistant.spent[0]['key_id']}"
    assert _eventually_ok(assistant, "GET", usage)["data"] == assistant.spent
    assistant.ask("GET", "/v1/models", key=assistant.client_key)
    chat = {"messages": QUESTION, "temperature": 0, "max_tokens": 8}
    eventually(
        lambda: assistant.request("POST", "/v1/chat/completions", chat).headers["x-cache"] == "hit",
        "the answer is in Redis",
    )
    crawl = eventually(
        lambda: told if (told := assistant.firecrawl("GET", f"/v2/crawl/{assistant.crawl}"))["data"][1:] else None,
        "the crawl is over",
        last=lambda: assistant.firecrawl("GET", f"/v2/crawl/{assistant.crawl}"),
    )
    assert [page["metadata"]["title"] for page in crawl["data"]] == ["Home", "Towers"]
