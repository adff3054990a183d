"""Firecrawl: pages as Markdown (`scrape_page`), a site's addresses (`map_site`), and web search where nothing else is.

One's own Firecrawl and its cloud speak the same API. Version 2 is tried first; a server that does not know its paths is
asked by version 1 from then on. What the model wants fetched is checked by the guard before Firecrawl hears of it;
Firecrawl resolves the name again by itself, so that its own network policy has to keep it off the cluster as well.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Self

from pydantic import Field

from assistant_runtime.errors import ProviderError, ToolError
from assistant_runtime.providers.json_client import NOT_FOUND, JsonClient
from assistant_runtime.providers.reranker import Reranker
from assistant_runtime.security.fetch_guard import FetchGuard
from assistant_runtime.security.principal import Scope
from assistant_runtime.tools.base import Arguments, Source, Tool, ToolCall, ToolResult, parameters_of, parse_arguments
from assistant_runtime.tools.search_results import Found, best, shown

VERSIONS = ("v2", "v1")

MAX_LINKS = 200
"""Addresses of a site that a model is given."""

MARGIN_SECONDS = 1.0
"""So that Firecrawl gives up, and says why, before the call ends."""


class PageArguments(Arguments):
    """What the model gives to read a page."""

    url: str = Field(min_length=1, max_length=4096, description="Address of the page, http:// or https://.")


class SiteArguments(Arguments):
    """What the model gives to see a site's pages."""

    url: str = Field(min_length=1, max_length=4096, description="Address of the site.")
    search: str | None = Field(None, max_length=200, description="Only addresses that have to do with this.")


class SearchArguments(Arguments):
    """What the model gives to search."""

    query: str = Field(min_length=1, max_length=500, description="What to search for.")
    max_results: int = Field(8, ge=1, le=20, description="How many results to give.")


class FirecrawlServer:
    """A Firecrawl, whichever version it speaks.

    Parameters
    ----------
    client
        The server.
    """

    def __init__(self, client: JsonClient) -> None:
        self.client = client
        self._versions = list(VERSIONS)

    async def ask(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Send a request, and give the answer; raises ToolError."""
        try:
            answer = await self.client.post(f"/{self._versions[0]}/{path}", body)
        except ProviderError as error:
            if error.status == NOT_FOUND and len(self._versions) > 1:
                del self._versions[0]
                return await self.ask(path, body)
            raise ToolError(error.message) from None
        if not isinstance(answer, dict) or answer.get("success") is False:
            reason = answer.get("error") if isinstance(answer, dict) else None
            raise ToolError(f"{self.client.name} failed: {str(reason or 'no reason given')[:300]}")
        return answer


class ScrapePage:
    """Reads one page."""

    name = "scrape_page"
    scope: Scope | None = None
    description = "Read one public web page, as Markdown."
    parameters = parameters_of(PageArguments)

    def __init__(self, server: FirecrawlServer, guard: FetchGuard) -> None:
        self._server = server
        self._guard = guard

    async def run(self, arguments: Mapping[str, Any], call: ToolCall) -> ToolResult:
        """Scrape the page."""
        url = await self._guard.check(parse_arguments(PageArguments, arguments).url)
        left = call.deadline - asyncio.get_running_loop().time() - MARGIN_SECONDS
        asked = {"url": url, "formats": ["markdown"], "onlyMainContent": True, "timeout": max(1000, int(left * 1000))}
        data = (await self._server.ask("scrape", asked)).get("data")
        text = data.get("markdown") if isinstance(data, dict) else None
        if not isinstance(text, str):
            raise ToolError("the page has no text")
        metadata = data.get("metadata") if isinstance(data, dict) else None
        title = str((metadata or {}).get("title") or url)
        return ToolResult(f"[[1]] {title}\n{url}\n\n{text}", (Source(title, url, snippet=text[:300]),))


class MapSite:
    """Lists a site's pages."""

    name = "map_site"
    scope: Scope | None = None
    description = "List the addresses of a public web site's pages."
    parameters = parameters_of(SiteArguments)

    def __init__(self, server: FirecrawlServer, guard: FetchGuard) -> None:
        self._server = server
        self._guard = guard

    async def run(self, arguments: Mapping[str, Any], _: ToolCall) -> ToolResult:
        """Map the site."""
        wanted = parse_arguments(SiteArguments, arguments)
        asked: dict[str, Any] = {"url": await self._guard.check(wanted.url), "limit": MAX_LINKS}
        answer = await self._server.ask("map", asked | ({"search": wanted.search} if wanted.search else {}))
        links = answer.get("links")
        found = [_link(link) for link in links] if isinstance(links, list) else []
        return ToolResult("\n".join(filter(None, found[:MAX_LINKS])) or "No page was found.")


class FirecrawlSearch:
    """Searches the web."""

    name = "web_search"
    scope: Scope | None = None
    description = "Search the web. Gives titles, addresses and snippets of the best results."
    parameters = parameters_of(SearchArguments)

    def __init__(self, server: FirecrawlServer, reranker: Reranker | None) -> None:
        self._server = server
        self._reranker = reranker

    async def run(self, arguments: Mapping[str, Any], call: ToolCall) -> ToolResult:
        """Search."""
        wanted = parse_arguments(SearchArguments, arguments)
        limit = wanted.max_results * (3 if self._reranker else 1)
        data = (await self._server.ask("search", {"query": wanted.query, "limit": limit})).get("data")
        results = data.get("web") if isinstance(data, dict) else data
        found = [
            Found(Source(str(each.get("title") or each["url"]), each["url"]), str(each.get("description") or ""))
            for each in (results if isinstance(results, list) else ())
            if isinstance(each, dict) and str(each.get("url") or "").startswith(("http://", "https://"))
        ]
        if not found:
            return ToolResult("Nothing was found.")
        return shown(await best(found, wanted.query, wanted.max_results, self._reranker, call.account))


class Firecrawl:
    """The tools of one Firecrawl; `async with` opens and closes its connections.

    Parameters
    ----------
    client
        The server.
    guard
        Checks what the model wants fetched.
    reranker
        Puts search results in order; None: Firecrawl's own order.
    """

    check_name = "firecrawl"

    def __init__(self, client: JsonClient, guard: FetchGuard, reranker: Reranker | None) -> None:
        server = FirecrawlServer(client)
        self._client = client
        self._tools = (ScrapePage(server, guard), MapSite(server, guard), FirecrawlSearch(server, reranker))

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.__aexit__()

    def check(self) -> dict[str, Any]:
        """Give the readiness check."""
        return self._client.check()

    async def watch(self) -> None:
        """Find out whether the server is there, until cancelled."""
        await self._client.watch()

    def tools(self) -> Sequence[Tool]:
        """Give the tools."""
        return self._tools


def _link(link: Any) -> str:
    """Write a link: version 1 gives addresses, version 2 objects."""
    if isinstance(link, dict):
        title = link.get("title")
        return f"{link.get('url') or ''} {title}".strip() if title else str(link.get("url") or "")
    return str(link)
