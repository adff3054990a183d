"""Do the real pods serve? One assistant, from the minimal sample to nothing left, asked by OpenAI's own client.

The tests of this module tell one story, in order, about one assistant.
"""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Self

import httpx
import httpx2
import openai
import pytest
import yaml
from openai.types.chat import ChatCompletionMessageParam

from devcluster.demo.recipes import ROOT
from tests.e2e import outside as program
from tests.support.kube import Kube, eventually

# The first test waits for images, which are built when they are not there yet.
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]

NAME = "demo"
MODEL = "smollm2-135m-instruct"
SCRIPTED = {"name": "outside", "baseURL": f"http://outside:{program.PORT}/v1", "model": program.MODEL}
FACT = "The lighthouse of Genoa is 77 metres high."
OTHER = "Parents may take twelve weeks of paid leave."
QUESTION: list[ChatCompletionMessageParam] = [
    {"role": "user", "content": "What is the capital of France? Answer in one sentence."}
]


@pytest.fixture(scope="module")
def assistant(kube: Kube, outside: str, record_testsuite_property: Callable[[str, object], None]) -> Kube:
    """The minimal sample with three pods, one more provider, and volumes that go with it. Applied and Ready."""
    sample = yaml.safe_load((ROOT / "manifests/samples/minimal.yaml").read_text())
    sample["spec"] |= {"replicas": 3, "deletionPolicy": "Delete"}
    sample["spec"]["providers"]["items"].append(SCRIPTED)
    started = time.monotonic()
    kube.apply(sample)
    kube.run("wait", "--for=condition=Ready", f"aia/{NAME}", "--timeout=180s", timeout=190)
    record_testsuite_property("seconds from apply to Ready", round(time.monotonic() - started, 1))
    return kube


@pytest.fixture(scope="module")
def url(assistant: Kube) -> str:
    """The Service's address within the cluster, which this machine has a route to."""
    return f"http://{assistant.must('service', NAME)['spec']['clusterIP']}"


@pytest.fixture(scope="module")
def client(assistant: Kube, url: str) -> Iterator[openai.OpenAI]:
    key = assistant.secret(f"{NAME}-api-keys")["api-key"]
    with openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0, timeout=120) as made:
        yield made


class Traffic:
    """Short requests one after another, each a connection of its own, until told to stop; keeps what failed."""

    def __init__(self, url: str, key: str) -> None:
        self._url, self._key = url, key
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.answered = 0
        self.failures: list[str] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        body = {"messages": QUESTION, "max_tokens": 4, "temperature": 0}
        headers = {"Authorization": f"Bearer {self._key}"}
        while not self._stop.is_set():
            try:
                answer = httpx.post(f"{self._url}/v1/chat/completions", json=body, headers=headers, timeout=60)
                if answer.status_code == 200:
                    self.answered += 1
                elif answer.status_code != 429:
                    self.failures.append(f"{answer.status_code} {answer.text[:200]}")
            except httpx.HTTPError as error:
                self.failures.append(repr(error))
            self._stop.wait(1)  # all tests together stay below the limit of 100 a minute


@pytest.fixture
def traffic(assistant: Kube, url: str) -> Traffic:
    return Traffic(url, assistant.secret(f"{NAME}-api-keys")["api-key"])


def _pods(kube: Kube, component: str) -> list[dict[str, Any]]:
    return kube.list("pods", f"app.kubernetes.io/instance={NAME},app.kubernetes.io/name={component}")


def _ready_pods(kube: Kube, component: str) -> set[str]:
    return {
        pod["metadata"]["uid"]
        for pod in _pods(kube, component)
        if not pod["metadata"].get("deletionTimestamp")
        and any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))
    }


def test_every_component_is_ready(assistant: Kube) -> None:
    for condition in ("Ready", "RuntimeReady", "RedisReady", "MongoDBReady", "MilvusReady", "SearXNGReady"):
        assert assistant.condition(NAME, condition)["status"] == "True"
    header, row = assistant.run("get", "aia", NAME).splitlines()
    assert row.split()[:4] == [NAME, "True", "Ready", "3"], header


def test_chat(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="default", messages=QUESTION, temperature=0)
    assert "Paris" in str(answer.choices[0].message.content)
    assert answer.usage
    assert answer.usage.completion_tokens > 0


def test_stream(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(model=MODEL, messages=QUESTION, stream=True, temperature=0)
    pieces = [chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices]
    assert len(pieces) > 2
    assert "Paris" in "".join(pieces)


def test_models(client: openai.OpenAI) -> None:
    assert any(model.id.endswith(MODEL) for model in client.models.list())


def test_documents_are_found_by_the_model_in_the_runtimes_pods(assistant: Kube, url: str) -> None:
    """No provider embeds here."""
    headers = {"Authorization": f"Bearer {assistant.secret(f'{NAME}-api-keys')['api-key']}"}
    with httpx.Client(base_url=url, headers=headers, timeout=60) as asking:
        for name, text in (("towers.txt", FACT), ("leave.txt", OTHER)):
            kept = asking.post("/v1/documents", json={"name": name, "text": text})
            assert kept.is_success, kept.text
            assert kept.json()["status"] == "ready"
        found = asking.post("/v1/search", json={"query": "How tall is the tower by the sea?", "limit": 1})
    assert [passage["text"] for passage in found.json()["data"]] == [FACT]


def test_an_identical_request_is_answered_from_redis_whichever_pod_it_meets(
    assistant: Kube, client: openai.OpenAI
) -> None:
    # A connection of its own for each request, so that the Service picks a pod each time.
    fresh = client.with_options(http_client=httpx2.Client(limits=httpx2.Limits(max_keepalive_connections=0)))
    for _ in range(12):
        answer = fresh.chat.completions.with_raw_response.create(model="default", messages=QUESTION, temperature=0)
        assert answer.headers["x-cache"] == "hit"
    asked = assistant.run("logs", "-l", f"app.kubernetes.io/instance={NAME}", "--prefix", "--tail=-1")
    pods = {line.split("]")[0] for line in asked.splitlines() if "/v1/chat/completions" in line}
    assert len(pods) > 1


def test_a_wrong_key_is_refused(url: str) -> None:
    with (
        openai.OpenAI(base_url=f"{url}/v1", api_key="wrong", max_retries=0) as stranger,
        pytest.raises(openai.AuthenticationError),
    ):
        stranger.chat.completions.create(model="default", messages=QUESTION)


def test_no_secret_is_in_any_log(assistant: Kube, operator: Kube) -> None:
    logs = operator.run("logs", "-l", "app.kubernetes.io/name=assistant-operator", "--tail=-1")
    logs += assistant.run("logs", "-l", f"app.kubernetes.io/instance={NAME}", "--all-containers", "--tail=-1")
    names = ("redis", "mongodb", "milvus", "searxng", "runtime", "api-keys")
    secrets = [assistant.secret(f"{NAME}-{name}") for name in names]
    # "root" is Milvus' own name for its first user, and many a log's word.
    values = [value for secret in secrets for key, value in secret.items() if key != "username"]
    assert "request_processed" in logs
    assert not [value for value in values if value in logs]
    assert "capital of France" not in logs


def test_no_request_fails_when_a_runtime_pod_is_deleted(assistant: Kube, traffic: Traffic) -> None:
    before = _ready_pods(assistant, "runtime")
    victim = assistant.list("pods", f"app.kubernetes.io/instance={NAME},app.kubernetes.io/name=runtime")[0]
    with traffic:
        assistant.run("delete", "pod", victim["metadata"]["name"], "--wait=false")
        eventually(
            lambda: len(now := _ready_pods(assistant, "runtime")) == 3 and now != before, "three pods again", timeout=90
        )
        assistant.run("wait", "--for=condition=Ready", f"aia/{NAME}", "--timeout=120s", timeout=130)
    assert traffic.failures == []
    assert traffic.answered > 0


def test_no_request_fails_while_redis_is_away_and_its_data_is_there_after(
    assistant: Kube, traffic: Traffic, client: openai.OpenAI
) -> None:
    before = _ready_pods(assistant, "redis")
    with traffic:
        assistant.run("delete", "pod", f"{NAME}-redis-0", "--wait=false")
        eventually(lambda: (now := _ready_pods(assistant, "redis")) and now != before, "Redis is back")
        assistant.run("wait", "--for=condition=Ready", f"aia/{NAME}", "--timeout=120s", timeout=130)
    assert traffic.failures == []
    assert traffic.answered > 0

    def cached() -> bool:
        answer = client.chat.completions.with_raw_response.create(model="default", messages=QUESTION, temperature=0)
        return answer.headers["x-cache"] == "hit"

    eventually(cached, "what was cached before is answered from the cache")


def test_a_stream_outlives_the_rolling_update_it_began_before(
    assistant: Kube, client: openai.OpenAI, outside: str
) -> None:
    story: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Go on and on."}]
    chunks = iter(client.chat.completions.create(model=f"outside/{program.MODEL}", messages=story, stream=True))
    next(chunks)
    reader = httpx.get(f"{outside}/reader").json()["reader"]
    (pod,) = (pod for pod in _pods(assistant, "runtime") if pod["status"].get("podIP") == reader)
    assistant.run("rollout", "restart", f"deployment/{NAME}-runtime")
    eventually(
        lambda: assistant.must("pod", pod["metadata"]["name"])["metadata"].get("deletionTimestamp"),
        "the stream's pod is going",
        timeout=180,
    )
    httpx.get(f"{outside}/release")
    rest = [chunk.choices[0] for chunk in chunks if chunk.choices]
    assert rest[-2].delta.content == "over."
    assert rest[-1].finish_reason == "stop"
    assistant.run("rollout", "status", f"deployment/{NAME}-runtime", "--timeout=180s", timeout=190)
    assistant.run("wait", "--for=condition=Ready", f"aia/{NAME}", "--timeout=120s", timeout=130)


def test_kubectl_scale(assistant: Kube) -> None:
    assistant.run("scale", f"aia/{NAME}", "--replicas=1")
    eventually(lambda: assistant.must("aia", NAME)["status"]["replicas"] == 1, "one replica is reported")
    assistant.run("wait", "--for=condition=Ready", f"aia/{NAME}", "--timeout=120s", timeout=130)
    assert len(_ready_pods(assistant, "runtime")) == 1
    # No budget for one pod: it could only block a drain for ever.
    eventually(lambda: not assistant.list("pdb"), "the disruption budget is gone")


def test_an_image_that_can_not_be_had_is_named_and_the_old_pods_serve_on(
    assistant: Kube, client: openai.OpenAI
) -> None:
    assistant.run("patch", "aia", NAME, "--type=merge", '-p={"spec":{"image":{"tag":"missing"}}}')

    def refused() -> dict[str, str] | None:
        found = assistant.condition(NAME, "RuntimeReady")
        return found if found.get("reason") in ("ErrImagePull", "ImagePullBackOff") else None

    found = eventually(refused, "the condition names the image", last=lambda: assistant.condition(NAME, "RuntimeReady"))
    assert "missing" in found["message"]
    assert client.chat.completions.create(model="default", messages=QUESTION, temperature=0).choices
    assistant.run("patch", "aia", NAME, "--type=json", '-p=[{"op":"remove","path":"/spec/image/tag"}]')
    assistant.run("wait", "--for=condition=Ready", f"aia/{NAME}", "--timeout=120s", timeout=130)


def test_the_operator_reports_on_itself(operator: Kube) -> None:
    service = next(s for s in operator.list("services") if any(p["name"] == "metrics" for p in s["spec"]["ports"]))
    port = next(p["port"] for p in service["spec"]["ports"] if p["name"] == "metrics")
    scraped = httpx.get(f"http://{service['spec']['clusterIP']}:{port}/metrics").text
    assert 'assistant_operator_assistants{phase="Ready"} 1.0' in scraped


def test_deletion_leaves_nothing(assistant: Kube) -> None:
    assistant.run("delete", "aia", NAME)
    kinds = "deployments,statefulsets,services,configmaps,secrets,serviceaccounts,pdb,pvc,pods"
    given = ("model-server", "outside", "kubernetes", "kube-root-ca.crt", "default")

    def left() -> list[str]:
        found = [(body["kind"], body["metadata"]["name"]) for body in assistant.list(kinds)]
        return [f"{kind}/{name}" for kind, name in found if not name.startswith(given)]

    eventually(lambda: not left(), "nothing is left", timeout=120, last=left)
    eventually(lambda: not Kube(assistant.cluster).list("pv"), "no volume is left")
