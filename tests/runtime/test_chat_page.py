"""The chat page in a real browser: what a person does with it, and what it shows when something is wrong."""

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser, FilePayload, Page, expect

from assistant_runtime.ui.client import Event, ProblemError, Source, Step, Text, read_event
from assistant_runtime.ui.transcript import Transcript, past
from tests.support.browser import PHONE, open_page, run_browser, screenshot
from tests.support.json_server import run_json_server
from tests.support.runtime import Runtime, eventually, run_runtime
from tests.support.server import free_port
from tests.support.tool_calls import calls, says
from tests.support.upstream import Upstream

KEY = "key-of-a-person"

START_SECONDS = 240.0
"""Gradio takes seconds of processor time to import, and a busy machine gives few of them."""

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with run_browser() as running:
        yield running


def page_settings(**settings: Any) -> dict[str, Any]:
    return {"gradio_enabled": True, "gradio_host": "127.0.0.1", "gradio_port": free_port(), **settings}


async def shown(browser: Browser, settings: dict[str, Any], runtime: Runtime, **options: Any) -> tuple[Page, list[str]]:
    """Open the page once it is served."""
    url = f"http://127.0.0.1:{settings['gradio_port']}/"

    async def served() -> bool:
        try:
            async with runtime.client.get(url) as answer:
                return answer.status == 200
        except OSError:
            return False

    await eventually(served, seconds=START_SECONDS)
    page, asked = await open_page(browser, url, **options)
    await expect(page.locator("#message textarea")).to_be_visible()
    return page, asked


async def say(page: Page, text: str) -> None:
    box = page.locator("#message textarea")
    await box.fill(text)
    await box.press("Enter")


async def test_a_person_asks_and_comes_back_later(browser: Browser, upstream: Upstream) -> None:
    settings = page_settings()
    async with run_json_server() as search, run_runtime(upstream, searxng_url=search.url, **settings) as runtime:
        results = [{"title": "Weather in Paris", "url": "https://weather.example/paris", "content": "Sunny, 21 °C."}]
        search.answer("GET", "/search", {"query": "weather", "results": results, "unresponsive_engines": []})
        picture = "![](http://127.0.0.2:9/what-was-said)"
        answer = f"It is **sunny** [1]. {picture}"
        upstream.script = [calls(("1", "web_search", {"query": "weather in Paris"})), says(answer)]
        page, asked = await shown(browser, settings, runtime)
        refused: list[str] = []
        page.on("console", lambda message: refused.append(message.text))
        await say(page, "How is the weather in Paris?")
        await expect(page.locator("#chat strong", has_text="sunny")).to_be_visible()
        await expect(page.locator("#chat").get_by_text("web_search")).to_be_visible()
        link = page.locator("#chat a", has_text="Weather in Paris")
        await expect(link).to_have_attribute("href", "https://weather.example/paris")
        await eventually(lambda: any("Content Security Policy" in text and picture[4:-1] in text for text in refused))
        await screenshot(page, "chat")
        await page.emulate_media(color_scheme="dark")
        await page.reload()
        await page.locator("#chats label", has_text="How is the weather in Paris?").click()
        await expect(page.locator("#chat strong", has_text="sunny")).to_be_visible()
        await screenshot(page, "chat-reopened-dark")
        await page.locator("#delete-chat").click()
        await expect(page.locator("#chats label")).to_have_count(0)
        others = {url for url in asked if url.startswith("http") and urlsplit(url).hostname != "127.0.0.1"}
        assert others <= {picture[4:-1]}, "the browser asks nobody else"


async def test_a_key_is_asked_for_and_stays_in_the_browser(browser: Browser, upstream: Upstream) -> None:
    settings = page_settings(api_keys=KEY, secret_key="s" * 32)
    async with run_runtime(upstream, **settings) as runtime:
        page, _ = await shown(browser, settings, runtime)
        await expect(page.get_by_text("Enter your API key under Settings")).to_be_visible()
        await screenshot(page, "key-missing")
        await page.locator("#settings button").first.click()
        await page.locator("#api-key input").fill(KEY)
        await page.locator("#api-key input").blur()
        await expect(page.get_by_text("Enter your API key under Settings")).to_have_count(0)
        await say(page, "What is the capital of France?")
        await expect(page.locator("#chat").get_by_text("Paris is the capital of France.")).to_be_visible()
        file: FilePayload = {"name": "note.txt", "mimeType": "text/plain", "buffer": b"A note."}
        async with page.expect_file_chooser() as choosing:
            await page.locator("#add-documents").click()
        await (await choosing.value).set_files(file)
        await expect(page.locator("#chat").get_by_text("Document: note.txt")).to_be_visible()
        stored = await page.evaluate("JSON.stringify(localStorage)")
        assert "assistant-api-key" in stored
        assert KEY not in stored


async def test_it_works_on_a_phone_and_tells_of_a_provider_that_is_down(browser: Browser, upstream: Upstream) -> None:
    settings = page_settings()
    async with run_runtime(upstream, **settings) as runtime:
        page, _ = await shown(browser, settings, runtime, size=PHONE)
        await expect(page.locator("#new-chat")).not_to_be_in_viewport()
        upstream.script = [says("A short answer.")]
        await say(page, "Hello?")
        await expect(page.locator("#chat").get_by_text("A short answer.")).to_be_visible()
        width = await page.evaluate("document.documentElement.scrollWidth")
        assert width <= PHONE[0], "nothing sticks out to the side"
        await screenshot(page, "phone")
        upstream.script = [_down]
        await say(page, "And now?")
        await expect(page.locator("#chat").get_by_text("That did not work")).to_be_visible()
        await screenshot(page, "phone-problem")


async def _down(_: Upstream, request: Any, __: dict[str, Any]) -> Any:
    from aiohttp import web  # noqa: PLC0415 - the only use

    return web.json_response({"error": {"message": "no GPU is left"}}, status=500)


def test_a_transcript_shows_steps_before_the_text_and_sources_after_it() -> None:
    transcript = Transcript()
    step = Step("1", "web_search", "running", "query: rain")
    found = [Source(1, "A [page]", "https://a.example/x>y"), Source(2, "A [page]", snippet="It *rains*.")]
    events: list[Event] = [step, Text("It "), Text("rains [2]."), *found]
    for event in events:
        transcript.take(event)
    transcript.take(Step("1", "web_search", "done", "query: rain", 0.5))
    first, answer = transcript.messages()
    assert first["metadata"] == {"title": "web_search", "status": "done", "duration": 0.5}
    assert answer["content"].split("\n") == [
        "It rains [2].",
        "",
        "**Sources**",
        "",
        "1. [A &#91;page&#93;](<https://a.example/x%3Ey>)",
        "2. A &#91;page&#93;  ",
        "   It &#42;rains&#42;&#46;",
    ]


def test_a_step_is_shown_while_it_runs() -> None:
    transcript = Transcript()
    for status in ("running", "done"):
        told = {"id": "1", "name": "web_search", "arguments": {"query": "rain"}, "status": status, "seconds": 0.5}
        for event in read_event({"choices": [{"delta": {}}], "assistant": {"step": told}}):
            transcript.take(event)
        (message,) = transcript.messages()
        assert message["metadata"]["status"] == ("pending" if status == "running" else "done")


@pytest.mark.parametrize("url", ["javascript:alert(1)", "data:text/html,x", "", "/etc/passwd"])
def test_only_web_addresses_become_links(url: str) -> None:
    transcript = Transcript()
    transcript.take(Text("x"))
    transcript.take(Source(1, "title", url))
    assert url == "" or url not in transcript.messages()[-1]["content"]


def test_what_a_tool_was_asked_is_shown_as_it_is() -> None:
    transcript = Transcript()
    transcript.take(Step("1", "fetch", "failed", "```\n# loud <script>"))
    (message,) = transcript.messages()
    assert message["content"] == "```text\n\n# loud <script>\n```"
    assert message["metadata"] == {"title": "⚠️ fetch"}, "it stays unfolded"


def test_a_broken_stream_tells_why() -> None:
    with pytest.raises(ProblemError, match="The answer is truncated: x"):
        read_event({"error": {"message": "The answer is truncated: x."}})


def test_the_past_shows_what_was_said_and_no_tool_calls() -> None:
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]},
        {"role": "tool", "content": "42", "tool_call_id": "1"},
        {"role": "assistant", "content": "Hello."},
    ]
    assert [(each["role"], each["content"]) for each in past(messages)] == [("user", "Hi"), ("assistant", "Hello.")]
