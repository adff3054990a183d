"""An AIAssistant with every server that it may have, small enough for two cores, and no image from a registry."""

from collections.abc import Mapping
from typing import Any

from devcluster.demo.recipes import FIRECRAWL, POSTGRESQL, RERANKER

STATEFUL = ("redis", "mongodb", "postgresql", "milvus", "firecrawl-redis", "firecrawl-postgresql", "reranker")
"""Parts whose pods are of a StatefulSet, and have a volume each."""
CONDITIONS = ("Redis", "MongoDB", "PostgreSQL", "Milvus", "SearXNG", "Firecrawl", "Reranker", "Runtime")
EMBEDDING_MODEL = "multilingual-e5-small"
"""Of the reranker's stand-in, which is an embedding model's server too."""


def small(memory: str) -> dict[str, Any]:
    """Return resources for one user's data on a small machine; the defaults are for many."""
    return {"requests": {"cpu": "20m", "memory": "64Mi"}, "limits": {"cpu": "2", "memory": memory}}


def image(reference: str) -> dict[str, str]:
    """Return an image as the resource names it."""
    repository, _, tag = reference.rpartition(":")
    return {"repository": repository, "tag": tag}


def providers(name: str, *more: Mapping[str, Any]) -> dict[str, Any]:
    """Return the providers of an assistant of that name: the samples' model server, `more`, and its own embedder."""
    return {
        "embeddingModel": f"embedder/{EMBEDDING_MODEL}",
        "items": [
            {"name": "local", "baseURL": "http://model-server:8080/v1", "model": "smollm2-135m-instruct"},
            *more,
            {"name": "embedder", "baseURL": f"http://{name}-reranker:8000/v1", "model": EMBEDDING_MODEL},
        ],
    }


def servers(loaded: Mapping[str, str], search: Mapping[str, Any]) -> dict[str, Any]:
    """Return the blocks of every server, the runtime's resources beside them.

    Parameters
    ----------
    loaded
        Full names of images by the names of their recipes.
    search
        Settings of SearXNG.
    """
    pods = {"resources": small("256Mi")}
    firecrawl = {
        **pods,
        "worker": pods,
        "nuqWorker": pods,
        "browser": {**pods, "image": image(loaded[FIRECRAWL.name])},
        "redis": _server("128Mi"),
        "postgresql": _server("512Mi", image=image(loaded[POSTGRESQL.name])),
    }
    return {
        "replicas": 1,
        "resources": small("512Mi"),
        "mongodb": {"managed": _server("512Mi")},
        "postgresql": {"enabled": True, "managed": _server("512Mi")},
        "milvus": {"managed": _server("2Gi")},
        "searxng": {"managed": {"resources": small("512Mi"), "settings": search}},
        "firecrawl": {"enabled": True, "managed": firecrawl},
        "reranker": {"enabled": True, "managed": _server("512Mi", image=image(loaded[RERANKER.name]))},
    }


def _server(memory: str, **fields: Any) -> dict[str, Any]:
    return {"resources": small(memory), "storage": {"size": "1Gi"}, **fields}
