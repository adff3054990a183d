"""Does the chat page's own pod serve people? A person's browser, from the page's Service to the model's answer."""

from collections.abc import Iterator

import pytest
from playwright.async_api import expect

from devcluster import cluster as devcluster
from devcluster import images
from devcluster.demo.recipes import UI
from tests.support.browser import open_page, run_browser, screenshot
from tests.support.kube import Kube

# The fixture waits for an image, which is built when it is not there yet.
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]

NAME = "chat"
SMALL = {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"cpu": "2", "memory": "1Gi"}}
SPEC = {
    "replicas": 1,
    "resources": SMALL,
    "providers": {
        "items": [{"name": "local", "baseURL": "http://model-server:8080/v1", "model": "smollm2-135m-instruct"}]
    },
    # Where the page's sessions are kept is the other tests' matter.
    **{server: {"enabled": False} for server in ("redis", "mongodb", "milvus", "searxng")},
}


@pytest.fixture(scope="module")
def page(nodes: devcluster.Cluster, kube: Kube) -> Iterator[str]:
    """An assistant with its chat page, Ready; gives the page's address, which this machine has a route to."""
    nodes.load(images.build(UI.reference(), UI.dockerfile, UI.context, target=UI.target))
    repository, _, tag = UI.reference().rpartition(":")
    ui = {"enabled": True, "image": {"repository": repository, "tag": tag}, "resources": SMALL}
    head = {"apiVersion": "aiassistant.dev/v1alpha1", "kind": "AIAssistant", "metadata": {"name": NAME}}
    kube.apply({**head, "spec": {**SPEC, "ui": ui, "deletionPolicy": "Delete"}})
    kube.run("wait", "--for=condition=Ready", f"aia/{NAME}", "--timeout=300s", timeout=310)
    yield f"http://{kube.must('service', f'{NAME}-ui')['spec']['clusterIP']}/"
    kube.run("delete", "aia", NAME)


async def test_a_person_enters_the_key_and_is_answered(page: str, kube: Kube) -> None:
    assert kube.condition(NAME, "UIReady")["status"] == "True"
    async with run_browser() as browser:
        shown, _ = await open_page(browser, page)
        await expect(shown.get_by_text("Enter your API key under Settings")).to_be_visible()
        await shown.locator("#settings button").first.click()
        await shown.locator("#api-key input").fill(kube.secret(f"{NAME}-api-keys")["api-key"])
        await shown.locator("#api-key input").blur()
        await expect(shown.get_by_text("Enter your API key under Settings")).to_have_count(0)
        box = shown.locator("#message textarea")
        await box.fill("What is the capital of France? Answer in one sentence.")
        await box.press("Enter")
        await expect(shown.locator("#chat .bot").get_by_text("Paris").first).to_be_visible()
        await expect(shown.locator("#chats label")).to_have_count(1)
        await screenshot(shown, "chat-in-the-cluster")
