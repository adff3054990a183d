"""`web_search` by SearXNG, in the reranker's order where there is one."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

from pydantic import Field

from assistant_runtime.errors import ProviderError, ToolError
from assistant_runtime.providers.json_client import JsonClient
from assistant_runtime.providers.reranker import Reranker
from assistant_runtime.security.principal import Scope
from assistant_runtime.tools.base import Arguments, Source, Tool, ToolCall, ToolResult, parameters_of, parse_arguments
from assistant_runtime.tools.search_results import Found, best, shown


class SearchArguments(Arguments):
    """What the model gives."""

    query: str = Field(min_length=1, max_length=500, description="What to search for.")
    max_results: int = Field(8, ge=1, le=20, description="How many results to give.")
    time_range: Literal["day", "month", "year"] | None = Field(None, description="Only results of the last one.")


class SearXNG:
    """The search engine, as a toolset of one tool; `async with` opens and closes its connections.

    Parameters
    ----------
    client
        The server.
    reranker
        Puts the results in order; None: SearXNG's own order.
    """

    name = "web_search"
    scope: Scope | None = None
    check_name = "searxng"
    description = "Search the web. Gives titles, addresses and snippets of the best results."
    parameters = parameters_of(SearchArguments)

    def __init__(self, client: JsonClient, reranker: Reranker | None = None) -> None:
        self._client = client
        self._reranker = reranker

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
        """Give the one tool."""
        return (self,)

    async def run(self, arguments: Mapping[str, Any], call: ToolCall) -> ToolResult:
        """Search."""
        wanted = parse_arguments(SearchArguments, arguments)
        params = {"q": wanted.query, "format": "json"}
        if wanted.time_range:
            params["time_range"] = wanted.time_range
        try:
            answer = await self._client.get("/search", params)
        except ProviderError as error:
            raise ToolError(f"{error.message}{_remedy(error)}") from None
        found = _results(answer)
        if not found:
            return ToolResult(_nothing(answer))
        return shown(await best(found, wanted.query, wanted.max_results, self._reranker, call.account))


def _results(answer: Any) -> list[Found]:
    results = answer.get("results") if isinstance(answer, dict) else None
    if not isinstance(results, list):
        raise ToolError("the search engine sent an answer without results")
    return [
        Found(Source(str(result.get("title") or result["url"]), result["url"]), str(result.get("content") or ""))
        for result in results
        if isinstance(result, dict) and str(result.get("url") or "").startswith(("http://", "https://"))
    ]


def _nothing(answer: Mapping[str, Any]) -> str:
    """Tell the difference between nothing found and no engine that answered."""
    silent = answer.get("unresponsive_engines")
    if isinstance(silent, list) and silent:
        return f"Nothing was found; {len(silent)} of the search engines did not answer."
    return "Nothing was found."


def _remedy(error: ProviderError) -> str:
    if error.code == "provider_auth_error":
        return "; its settings must have json among search.formats"
    return ""
