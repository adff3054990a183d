"""The chat page's server: uploads with a key and within bounds, no file for anybody, and nothing that stays."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from gradio.utils import get_upload_folder

from assistant_runtime.settings.ui import PageSettings
from assistant_runtime.ui import guard
from assistant_runtime.ui.client import AssistantClient
from assistant_runtime.ui.page import _upload
from assistant_runtime.ui.server import launch
from tests.support.runtime import Runtime, run_runtime
from tests.support.server import free_port
from tests.support.upstream import Upstream

KEY = "key-of-a-person"
WITH_KEY = {"authorization": f"Bearer {KEY}"}

pytestmark = pytest.mark.timeout(600)


class Page:
    """The page of one runtime."""

    def __init__(self, client: aiohttp.ClientSession, url: str, folder: Path) -> None:
        self._client = client
        self.url = url
        self.folder = folder

    async def get(self, path: str) -> int:
        async with self._client.get(f"{self.url}{path}", headers=WITH_KEY) as answer:
            await answer.read()
            return answer.status

    async def upload(
        self, *files: bytes, headers: dict[str, str] = WITH_KEY, below: str = "", **more: str
    ) -> tuple[int, Any]:
        form = aiohttp.FormData()
        for number, content in enumerate(files):
            form.add_field("files", content, filename=f"file{number}.txt")
        url = f"{self.url}{below}/gradio_api/upload"
        async with self._client.post(url, data=form, headers={**headers, **more}) as answer:
            return answer.status, await answer.json(content_type=None) if answer.ok else await answer.text()

    def kept(self) -> list[Path]:
        return [file for file in self.folder.rglob("*") if file.is_file()]


@pytest.fixture
async def runtime(upstream: Upstream) -> AsyncIterator[Runtime]:
    async with run_runtime(upstream, api_keys=KEY) as running:
        yield running


@pytest.fixture
async def page(runtime: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Page]:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    assert Path(get_upload_folder()) == tmp_path
    port = free_port()
    blocks = launch(
        PageSettings(
            gradio_host="127.0.0.1", gradio_port=port, gradio_root_path="/chat", assistant_url=f"{runtime.url}/v1"
        )
    )
    try:
        yield Page(runtime.client, f"http://127.0.0.1:{port}", tmp_path)
    finally:
        blocks.close()


async def test_a_file_is_taken_from_who_has_a_key_and_given_to_nobody(page: Page) -> None:
    for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "Basic x"}):
        for below in ("", "/chat"):
            status, told = await page.upload(b"a document", headers=headers, below=below)
            assert status == 401
            assert "API key" in told
    assert page.kept() == []
    status, (path,) = await page.upload(b"a document")
    assert status == 200
    for read in (
        f"/gradio_api/file={path}",
        f"/chat/gradio_api/file={path}",
        f"/gradio_api/%66ile={path}",
        f"/gradio_api/file/{path}",
        f"/file={path}",
        "/gradio_api/file=/etc/passwd",
    ):
        assert await page.get(read) == 404
    # What the page does not use is not there.
    unused = (
        "proxy=http://127.0.0.1:9/x",
        "file=http://127.0.0.1:9/x",
        "custom_component/a/b/c/d",
        "stream/x",
        "vibe-code",
    )
    assert {await page.get(f"/gradio_api/{path}") for path in (*unused, "nothing", "api/x", "run/x")} == {404}
    assert {await page.get(path) for path in ("/", "/config", "/gradio_api/info", "/robots.txt")} == {200}


async def gone(runtime: Runtime) -> None:
    runtime.server.servers[0].close()
    for connection in list(runtime.server.server_state.connections):
        connection.shutdown()


async def test_uploads_are_bounded_and_deleted(page: Page, runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "MAX_UPLOAD_BYTES", 50_000)
    monkeypatch.setattr(guard, "MAX_KEPT_BYTES", 60_000)
    status, told = await page.upload(b"x" * 30_000, b"y" * 30_000)
    assert (status, "at most" in told) == (413, True)
    paths = [path for content in (b"1", b"2", b"3") for path in (await page.upload(content * 30_000))[1]]
    status, told = await page.upload(b"4" * 30_000)
    assert (status, "Try again" in told) == (503, True)
    assert sum(file.stat().st_size for file in page.kept()) <= 60_000 + 50_000
    # What was given on, or refused, goes at once.
    async with AssistantClient(f"{runtime.url}/v1", KEY) as client:
        steps = [step async for step in _upload(client, [*paths, str(page.folder / "never" / "there.txt")])]
    assert page.kept() == []
    assert [step.status for step in steps][1::2] == ["failed"] * 4, "this runtime keeps no documents"
    assert "Attach it again" in steps[-1].detail
    await gone(runtime)
    status, told = await page.upload(b"a document")
    assert (status, "Try again" in told) == (503, True)
    assert page.kept() == []
