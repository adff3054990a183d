"""What the page's own server does for whom: uploads for those with a key and within bounds, and no file for anybody.

Gradio serves more than this page uses, and takes uploads from everyone. What the page does not use is not there. An
upload needs the key that its file is going to be given to the API with, and the API is asked whether it knows the key.
"""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

GRADIO_API = "/gradio_api/"

USED = frozenset(
    {
        *("upload", "upload_progress", "queue", "heartbeat", "cancel", "reset", "startup-events"),
        *("info", "app_id", "theme.css"),
    }
)
"""First words of the paths below GRADIO_API that the page's scripts ask for."""

UPLOAD = "upload"

MAX_UPLOAD_BYTES = 64 * 1024 * 1024
"""Of the files that are chosen at once, together."""

MAX_KEPT_BYTES = 96 * 1024 * 1024
"""Of files that wait to be given to the API. With what is being uploaded it stays below the 256Mi of the page's pod."""

UPLOADS_AT_ONCE = 2

KEEP_SECONDS = 900
"""For how long a file that was attached and not sent is kept."""

ASK_SECONDS = 10.0


class PageGuard:
    """Stands before Gradio's application.

    Parameters
    ----------
    app
        The page.
    base_url
        The API's root, ending in /v1.
    folder
        Where Gradio keeps uploads.
    """

    def __init__(self, app: ASGIApp, base_url: str, folder: Path) -> None:
        self._app = app
        self._base_url = base_url
        self._folder = folder
        self._uploads = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request that the page's own scripts would send."""
        # Wherever it stands: Gradio takes its paths with GRADIO_ROOT_PATH before them and without.
        _, found, path = scope.get("path", "").partition(GRADIO_API)
        if scope["type"] != "http" or not found:
            await self._app(scope, receive, send)
        elif path.partition("/")[0] not in USED:
            await PlainTextResponse("Not found", 404)(scope, receive, send)
        elif path.rstrip("/") == UPLOAD:
            await self._upload(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _upload(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        refused = self._too_much(headers) or await self._unknown(headers.get("authorization"))
        if refused is not None:
            await refused(scope, receive, send)
            return
        self._uploads += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._uploads -= 1

    def _too_much(self, headers: Headers) -> PlainTextResponse | None:
        """Refuse what there is no room for, before any of it is read."""
        length = headers.get("content-length", "")
        if not length.isdecimal():
            return PlainTextResponse("Send the upload's length.", 411)
        if int(length) > MAX_UPLOAD_BYTES:
            return PlainTextResponse(f"Choose files of at most {MAX_UPLOAD_BYTES // 2**20} MiB together.", 413)
        if self._uploads >= UPLOADS_AT_ONCE or sum(_sizes(self._folder)) > MAX_KEPT_BYTES:
            busy = "Too many files are being uploaded. Try again in a moment."
            return PlainTextResponse(busy, 503, {"retry-after": "10"})
        return None

    async def _unknown(self, authorization: str | None) -> PlainTextResponse | None:
        """Refuse whom the API does not know."""
        headers = {"authorization": authorization} if authorization else {}
        try:
            async with httpx.AsyncClient(timeout=ASK_SECONDS, trust_env=False) as client:
                answer = await client.get(f"{self._base_url}/models", headers=headers)
        except httpx.HTTPError:
            return PlainTextResponse("The assistant can't be reached. Try again in a moment.", 503)
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            return PlainTextResponse("Enter your API key under Settings: the assistant asks for one.", 401)
        # A key that may not list models is known as well.
        if answer.is_success or answer.status_code == httpx.codes.FORBIDDEN:
            return None
        return PlainTextResponse("The assistant does not take files now. Try again in a moment.", 503)


def forget(upload: Path) -> None:
    """Delete an upload, with the folder that Gradio made for it alone."""
    with suppress(OSError):
        upload.unlink()
        upload.parent.rmdir()


def _sizes(folder: Path) -> Iterator[int]:
    for file in folder.rglob("*"):
        try:
            yield file.stat().st_size if file.is_file() else 0
        except OSError:
            # It was deleted meanwhile.
            continue
