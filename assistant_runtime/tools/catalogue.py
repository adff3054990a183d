"""Which tools the settings ask for: an explicit table, each SDK imported only where its tool is used."""

from collections.abc import Iterator

from assistant_runtime.memory import MemoryShares
from assistant_runtime.providers.json_client import JsonClient
from assistant_runtime.providers.reranker import Reranker
from assistant_runtime.rag.extraction import Extraction
from assistant_runtime.rag.library import Library
from assistant_runtime.settings import Settings
from assistant_runtime.tools.base import Toolset
from assistant_runtime.tools.mcp_server import McpServer
from assistant_runtime.tools.retrieval import SearchDocuments
from assistant_runtime.tools.searxng import SearXNG
from assistant_runtime.tools.toolbox import SingleTools


def toolsets(
    settings: Settings, reranker: Reranker | None, library: Library | None = None, memory: MemoryShares | None = None
) -> Iterator[Toolset]:
    """Give the configured tools; none where TOOL_CALLING_ENABLED is false.

    Parameters
    ----------
    reranker
        For search results; opened and closed by whoever gives it.
    library
        The clients' documents; None where none can be kept.
    memory
        Hands out memory to all that read files.
    """
    if not settings.tool_calling_enabled:
        return
    if settings.searxng_url and settings.searxng_tool_enabled:
        yield SearXNG(
            JsonClient(
                "the search engine",
                settings.searxng_url,
                ca_file=settings.searxng_ca_file,
                ca_setting="SEARXNG_CA_FILE",
                timeout=settings.tool_execution_timeout,
                probed="/healthz",
            ),
            reranker,
        )
    yield from _page_readers(settings, reranker, memory)
    if library is not None and settings.retrieval_tool_enabled:
        yield SingleTools(SearchDocuments(library, settings.retrieval_limit))
    for server in settings.mcp_servers:
        yield McpServer(server)


def _page_readers(settings: Settings, reranker: Reranker | None, memory: MemoryShares | None) -> Iterator[Toolset]:
    """Give the tool that reads web pages, under the guard: Firecrawl, or else a fetch of our own."""
    if settings.firecrawl_url and settings.firecrawl_tool_enabled:
        from assistant_runtime.security.fetch_guard import FetchGuard  # noqa: PLC0415 - imported only where it is used
        from assistant_runtime.tools.firecrawl import Firecrawl  # noqa: PLC0415

        yield Firecrawl(
            JsonClient(
                "Firecrawl",
                settings.firecrawl_url,
                key=settings.firecrawl_api_key,
                ca_file=settings.firecrawl_ca_file,
                ca_setting="FIRECRAWL_CA_FILE",
                timeout=settings.tool_execution_timeout,
            ),
            FetchGuard(settings.fetch_allowed_hosts),
            reranker,
        )
    elif settings.fetch_tool_enabled:
        from assistant_runtime.security.fetch_guard import FetchGuard  # noqa: PLC0415 - imported only where it is used
        from assistant_runtime.tools.fetch import FetchPage  # noqa: PLC0415

        yield SingleTools(FetchPage(FetchGuard(settings.fetch_allowed_hosts), Extraction(0, 0, memory)))
