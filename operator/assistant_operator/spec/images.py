"""Where the spec may name an image, and the rule that those of production are pinned."""

from typing import Any

from pydantic.alias_generators import to_snake

from assistant_operator.spec.base import Image

IMAGES = (
    "image",
    "ui.image",
    "redis.managed.image",
    "mongodb.managed.image",
    "postgresql.managed.image",
    "milvus.managed.image",
    "searxng.managed.image",
    "firecrawl.managed.image",
    "firecrawl.managed.browser.image",
    "firecrawl.managed.redis.image",
    "firecrawl.managed.postgresql.image",
    "reranker.managed.image",
)
"""Where the spec may name an image, as the path of its fields."""


def unpinned(path: str) -> str:
    """Return the CEL expression that holds where the image at `path` is given as `latest` without a digest."""
    parts = ["self", *path.split(".")]
    given = [f"has({'.'.join(parts[: end + 1])})" for end in range(2, len(parts))]
    image = ".".join(parts)
    return " && ".join([*given, f"has({image}.tag)", f"{image}.tag == 'latest'", f"!has({image}.digest)"])


def _image_at(spec: Any, path: str) -> Image | None:
    block: Any = spec
    for field in path.split("."):
        block = getattr(block, to_snake(field), None)
    image: Image | None = block
    return image


def images_pinned(spec: Any) -> bool:
    """Tell whether no image of a spec for production is given as `latest` without a digest."""
    images = [image for path in IMAGES if (image := _image_at(spec, path))]
    return spec.environment != "production" or all(image.tag != "latest" or image.digest for image in images)
