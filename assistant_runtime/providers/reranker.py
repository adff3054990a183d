"""The client of a reranker that speaks Jina's API: it scores how well each document answers a query.

Jina's own cloud, and servers that imitate it, take `POST /v1/rerank` with `model`, `query` and `documents`, and answer
with `results` of `index` and `relevance_score`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from assistant_runtime.errors import ProviderError
from assistant_runtime.providers.base import Payer, Usage
from assistant_runtime.providers.json_client import JsonClient
from assistant_runtime.settings import Settings

PATH = "/v1/rerank"

TIMEOUT_SECONDS = 15.0
"""A cross-encoder scores a hundred passages in seconds on a CPU; an answer waits for it."""

MAX_DOCUMENTS = 1000
"""More can't be scored in the time that an answer has."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """One document's place."""

    index: int
    """Position among the documents given."""
    score: float
    """The reranker's relevance score; higher is better, and the scale is the model's."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """Documents in order, the best first, and what it cost."""

    results: tuple[Ranked, ...]
    model: str
    total_tokens: int | None = None
    """Tokens that the reranker counted; None where it does not count."""


class Reranker:
    """A reranker; `async with` opens and closes its connections.

    Parameters
    ----------
    client
        The server; its URL is Jina's root, or ends in /v1 or /rerank.
    model
        The model to ask for, unless a request names one.
    """

    def __init__(self, client: JsonClient, model: str) -> None:
        self._client = client
        self.model = model
        self._path = PATH
        if client.base_url.endswith("/rerank"):
            self._path = ""
        elif client.base_url.endswith("/v1"):
            self._path = "/rerank"

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.__aexit__()

    def check(self) -> dict[str, Any]:
        """Give the readiness check."""
        return self._client.check()

    async def watch(self) -> None:
        """Find out whether the reranker is there, until cancelled."""
        await self._client.watch()

    async def rerank(
        self,
        query: str,
        documents: Sequence[str],
        account: Payer,
        top_n: int | None = None,
        model: str | None = None,
    ) -> Ranking:
        """Order documents by how well they answer the query.

        Parameters
        ----------
        documents
            At most MAX_DOCUMENTS.
        account
            Pays, where the reranker counts its tokens.
        top_n
            How many of the best to give; None: all.

        Raises
        ------
        ProviderError
            The reranker failed, or its answer makes no sense.
        """
        asked: dict[str, Any] = {"model": model or self.model, "query": query, "documents": list(documents)}
        if top_n is not None:
            asked["top_n"] = top_n
        await account.hold(asked)
        answer = await self._client.post(self._path, asked | {"return_documents": False})
        results = answer.get("results") if isinstance(answer, dict) else None
        if not isinstance(results, list):
            raise _bad_answer(self._client.name)
        ranked = sorted((self._read(result, len(documents)) for result in results), key=lambda each: -each.score)
        usage = answer.get("usage")
        tokens = usage.get("total_tokens") if isinstance(usage, dict) else None
        counted = tokens if isinstance(tokens, int) else None
        if counted is not None:
            account.spend(asked["model"], Usage(counted, 0))
        return Ranking(tuple(ranked[:top_n]), str(answer.get("model") or asked["model"]), counted)

    def _read(self, result: Any, count: int) -> Ranked:
        index = result.get("index") if isinstance(result, dict) else None
        score = result.get("relevance_score") if isinstance(result, dict) else None
        if not isinstance(index, int) or not 0 <= index < count or not isinstance(score, int | float):
            raise _bad_answer(self._client.name)
        return Ranked(index, float(score))


def reranker_of(settings: Settings) -> Reranker | None:
    """Give the reranker that the settings name; None without one. Whether it is used by itself is for them to say."""
    if settings.jina_reranker_url is None:
        return None
    client = JsonClient(
        "the reranker",
        settings.jina_reranker_url,
        key=settings.jina_reranker_api_key,
        ca_file=settings.jina_reranker_ca_file,
        ca_setting="JINA_RERANKER_CA_FILE",
        timeout=TIMEOUT_SECONDS,
    )
    return Reranker(client, settings.jina_reranker_model)


def _bad_answer(name: str) -> ProviderError:
    return ProviderError(502, f"{name} sent an answer without results in Jina's form", code="provider_bad_response")
