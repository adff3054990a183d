"""Results of a search engine, whichever: in order, and as text for a model."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import structlog

from assistant_runtime.errors import ProviderError
from assistant_runtime.providers.base import Payer
from assistant_runtime.providers.reranker import Reranker
from assistant_runtime.tools.base import Source, ToolResult

MAX_RERANKED = 50
"""Results that the reranker is given: a search engine's first pages."""

MAX_TEXT_CHARACTERS = 1000
"""Of each result; whoever needs more reads the page."""


@dataclass(frozen=True, slots=True)
class Found:
    """One result."""

    source: Source
    text: str


async def best(
    found: Sequence[Found], query: str, count: int, reranker: Reranker | None, account: Payer
) -> list[Found]:
    """Give the `count` best results; without a reranker, or while it fails, the first ones."""
    if reranker is None or len(found) <= 1:
        return list(found[:count])
    candidates = found[:MAX_RERANKED]
    try:
        texts = [f"{each.source.title}\n{each.text}"[:MAX_TEXT_CHARACTERS] for each in candidates]
        ranking = await reranker.rerank(query, texts, account, count)
    except ProviderError as error:
        structlog.get_logger(__name__).warning("rerank_failed", reason=error.message)
        return list(found[:count])
    return [candidates[result.index] for result in ranking.results]


def shown(found: Sequence[Found]) -> ToolResult:
    """Write results as text, each with its source's number."""
    entries = [
        f"[[{place}]] {each.source.title}\n{each.source.url}\n{each.text[:MAX_TEXT_CHARACTERS]}".rstrip()
        for place, each in enumerate(found, start=1)
    ]
    sources = tuple(replace(each.source, snippet=each.text[:MAX_TEXT_CHARACTERS]) for each in found)
    return ToolResult("\n\n".join(entries), sources)
