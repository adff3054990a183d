"""What stands for Firecrawl's browser service: it loads a page without a browser, and runs no script of it."""

import os
import urllib.error
import urllib.request
from http import HTTPStatus
from typing import Any

from serving import AnswerError, Body, not_found, serve

MAX_PAGE_BYTES = 8 * 1024 * 1024
DEFAULT_TIMEOUT_MS = 15_000


def main() -> None:
    """Serve."""
    serve(int(os.environ.get("PORT", "3000")), route)


def route(method: str, path: str, body: Body) -> Any:
    """Answer a request."""
    match method, path:
        case "GET", "/health":
            return {"status": "healthy"}
        case "POST", "/scrape":
            return load(str(body.get("url")), float(body.get("timeout") or DEFAULT_TIMEOUT_MS) / 1000)
    raise not_found(path)


def load(url: str, seconds: float) -> Any:
    """Load a page."""
    if not url.startswith(("http://", "https://")):
        raise AnswerError(HTTPStatus.BAD_REQUEST, "BAD_REQUEST", "url: must be an address, http:// or https://")
    request = urllib.request.Request(url, headers={"User-Agent": "firecrawl-stand-in"})  # noqa: S310 - checked above
    try:
        with urllib.request.urlopen(request, timeout=seconds) as answer:  # noqa: S310
            return _loaded(answer.read(MAX_PAGE_BYTES), answer.status, answer.headers.get_content_charset())
    except urllib.error.HTTPError as error:
        return _loaded(error.read(MAX_PAGE_BYTES), error.code, error.headers.get_content_charset())


def _loaded(content: bytes, status: int, charset: str | None) -> dict[str, Any]:
    return {"content": content.decode(charset or "utf-8", "replace"), "pageStatusCode": status}
