"""Retrieval as a tool: the model searches the documents of whoever asks it."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from assistant_runtime.errors import ApiError, ProviderError, StoreUnavailableError, ToolError
from assistant_runtime.rag.library import Library
from assistant_runtime.security.principal import Scope
from assistant_runtime.tools.base import Arguments, Source, ToolCall, ToolResult, parameters_of, parse_arguments

MAX_PASSAGES = 20


class SearchDocumentsArguments(Arguments):
    """What the model gives."""

    query: str = Field(min_length=1, max_length=1000, description="What to look for, as a question or keywords.")
    top_k: int | None = Field(None, ge=1, le=MAX_PASSAGES, description="How many passages to give.")


class SearchDocuments:
    """The tool `search_documents`.

    Parameters
    ----------
    library
        The documents.
    limit
        Passages, where the model asks for no number.
    """

    name = "search_documents"
    scope: Scope | None = "documents"
    description = (
        "Search the user's own documents. Use it for questions about their content, and cite the passages by number."
    )
    parameters: Mapping[str, Any] = parameters_of(SearchDocumentsArguments)

    def __init__(self, library: Library, limit: int) -> None:
        self._library = library
        self._limit = min(limit, MAX_PASSAGES)

    async def run(self, arguments: Mapping[str, Any], call: ToolCall) -> ToolResult:
        """Search for the tenant of the call."""
        asked = parse_arguments(SearchDocumentsArguments, arguments)
        try:
            findings = await self._library.search(call.tenant, asked.query, asked.top_k or self._limit, call.account)
        except StoreUnavailableError:
            raise ToolError("the documents can't be searched now: their store does not answer") from None
        except (ApiError, ProviderError) as error:
            raise ToolError(f"the documents can't be searched: {error}") from None
        if not findings.passages:
            return ToolResult("No passage was found: there are no documents.")
        sources = tuple(
            Source(
                title=passage.record.title or passage.record.name,
                url=passage.record.source,
                document_id=passage.document,
                span=(passage.start, passage.end),
                snippet=passage.text,
            )
            for passage in findings.passages
        )
        return ToolResult("\n\n".join(_told(index, each) for index, each in enumerate(sources, 1)), sources)


def _told(number: int, source: Source) -> str:
    return f"[[{number}]] {source.title}\n{source.snippet}"
