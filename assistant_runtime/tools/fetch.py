"""`fetch_page`: read one public page, through the guard."""

import asyncio
from collections.abc import Mapping
from typing import Any

from pydantic import Field

from assistant_runtime.errors import ApiError, ToolError
from assistant_runtime.rag.extraction import Extraction
from assistant_runtime.security.fetch_guard import FetchGuard, Page
from assistant_runtime.security.principal import Scope
from assistant_runtime.tools.base import Arguments, Source, ToolCall, ToolResult, parameters_of, parse_arguments


class FetchArguments(Arguments):
    """What the model gives."""

    url: str = Field(min_length=1, max_length=4096, description="Address of the page, http:// or https://.")


class FetchPage:
    """The tool.

    Parameters
    ----------
    guard
        Fetches.
    extraction
        Reads pages, in a process of its own: whoever writes a page can write one that takes its reader hours.
    """

    name = "fetch_page"
    scope: Scope | None = None
    description = "Read the text of one public web page."
    parameters = parameters_of(FetchArguments)

    def __init__(self, guard: FetchGuard, extraction: Extraction) -> None:
        self._guard = guard
        self._extraction = extraction

    async def run(self, arguments: Mapping[str, Any], call: ToolCall) -> ToolResult:
        """Fetch the page, and give its title and text."""
        url = parse_arguments(FetchArguments, arguments).url
        left = call.deadline - asyncio.get_running_loop().time()
        page = await self._guard.fetch(url, seconds=left)
        title, text = await self._read(page)
        title = title or page.url
        return ToolResult(f"[[1]] {title}\n{page.url}\n\n{text}", (Source(title, page.url, snippet=text[:300]),))

    async def _read(self, page: Page) -> tuple[str, str]:
        """Give title and text; a page that is not HTML is its own text."""
        try:
            return await self._extraction.read_page(page.body, page.charset, is_html="html" in page.content_type)
        except ApiError as error:
            raise ToolError(str(error)) from None
