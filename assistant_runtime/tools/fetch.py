"""`fetch_page`: read one public page, through the guard."""

import asyncio
from collections.abc import Mapping
from typing import Any

from pydantic import Field

from assistant_runtime.security.fetch_guard import FetchGuard
from assistant_runtime.tools.base import Arguments, Source, ToolCall, ToolResult, parameters_of, parse_arguments
from assistant_runtime.tools.readable import title_and_text


class FetchArguments(Arguments):
    """What the model gives."""

    url: str = Field(min_length=1, max_length=4096, description="Address of the page, http:// or https://.")


class FetchPage:
    """The tool.

    Parameters
    ----------
    guard
        Fetches.
    """

    name = "fetch_page"
    description = "Read the text of one public web page."
    parameters = parameters_of(FetchArguments)

    def __init__(self, guard: FetchGuard) -> None:
        self._guard = guard

    async def run(self, arguments: Mapping[str, Any], call: ToolCall) -> ToolResult:
        """Fetch the page, and give its title and text."""
        url = parse_arguments(FetchArguments, arguments).url
        left = call.deadline - asyncio.get_running_loop().time()
        page = await self._guard.fetch(url, seconds=left)
        title, text = await asyncio.to_thread(title_and_text, page)
        return ToolResult(f"[[1]] {title}\n{page.url}\n\n{text}", (Source(title, page.url, snippet=text[:300]),))
