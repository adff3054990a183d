"""POST /v1/rerank, in Jina's shape."""

from typing import Any

from fastapi import APIRouter, Request

from assistant_runtime.api.context import context_of
from assistant_runtime.api.request_body import parse
from assistant_runtime.api.retrieval_schemas import RerankAnswer, RerankRequest
from assistant_runtime.api.schemas import ErrorAnswer
from assistant_runtime.errors import ApiError
from assistant_runtime.providers.base import Payer
from assistant_runtime.providers.reranker import Ranked, Ranking, Reranker
from assistant_runtime.rag.embedder import Embedder, similarity

MAX_SIMILARITIES = 100
"""Texts that are put in order without a reranker: each is embedded while the client waits."""

ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"model": ErrorAnswer, "description": "The request is malformed; `param` names the field."},
    501: {"model": ErrorAnswer, "description": "Neither a reranker nor an embedding model is configured."},
    502: {"model": ErrorAnswer, "description": "The reranker, or the embedding model's provider, failed."},
    504: {"model": ErrorAnswer, "description": "The model or reranker did not answer in time."},
}


def rerank_router(reranker: Reranker | None, embedder: Embedder | None) -> APIRouter:
    """Give the route: by the reranker, else by the embedding model, which the answer says."""
    router = APIRouter(tags=["rerank"])

    @router.post(
        "/v1/rerank",
        summary="Sort documents by relevance to a query",
        responses=ERRORS,
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": RerankRequest.model_json_schema()}},
            }
        },
    )
    async def rerank(request: Request) -> RerankAnswer:
        asked = RerankRequest.model_validate(parse(await request.body(), RerankRequest))
        texts = [_text(document, index) for index, document in enumerate(asked.documents)]
        account = context_of(request.scope).account
        if reranker is not None:
            ranking = await reranker.rerank(asked.query, texts, account, asked.top_n, asked.model)
        else:
            ranking = await _by_similarity(embedder, asked, texts, account)
        return _answer(ranking, texts, asked, method="bi-encoder" if reranker is None else "reranker")

    return router


def _text(document: Any, index: int) -> str:
    text = document.get("text") if isinstance(document, dict) else document
    if not isinstance(text, str):
        raise ApiError(
            400, f"documents[{index}]: write a text, or an object with a `text`.", param=f"documents[{index}]"
        )
    return text


async def _by_similarity(embedder: Embedder | None, asked: RerankRequest, texts: list[str], account: Payer) -> Ranking:
    if embedder is None:
        raise ApiError(
            501,
            "There is no reranker. Set JINA_RERANKER_URL, or EMBEDDING_MODEL to use an embedding model instead.",
            error_type="server_error",
            code="reranker_not_configured",
        )
    if len(texts) > MAX_SIMILARITIES:
        raise ApiError(
            400, f"documents: without a reranker (JINA_RERANKER_URL) at most {MAX_SIMILARITIES}.", param="documents"
        )
    scores = await similarity(embedder, asked.query, texts, account)
    ranked = sorted((Ranked(index, score) for index, score in enumerate(scores)), key=lambda each: -each.score)
    return Ranking(tuple(ranked[: asked.top_n]), embedder.model)


def _answer(ranking: Ranking, texts: list[str], asked: RerankRequest, *, method: str) -> RerankAnswer:
    tokens = ranking.total_tokens or 0
    results: list[dict[str, Any]] = [{"index": each.index, "relevance_score": each.score} for each in ranking.results]
    if asked.return_documents:
        results = [result | {"document": {"text": texts[result["index"]]}} for result in results]
    return RerankAnswer.model_validate(
        {
            "model": ranking.model,
            "method": method,
            "usage": {"total_tokens": tokens, "prompt_tokens": tokens},
            "results": results,
        }
    )
