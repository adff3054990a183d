"""The demo's images: what each is built from, and a tag that changes when that does.

A tag by content makes a second run cheap (an image that is there is not built again) and makes pods roll when, and
only when, what is in their image changed.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
"""The project's folder: the demo builds from its sources and applies its samples."""

CHART = ROOT / "helm" / "assistant-operator"
OWN_IMAGES = ROOT / "devcluster" / "images"
LOCAL = "localhost"
"""Registry in the name of an image that is on this machine only."""


@dataclass(frozen=True)
class Recipe:
    """How an image is built."""

    name: str
    context: Path
    inputs: tuple[str, ...]
    """Files and folders of the context that the build reads."""
    target: str | None = None
    """Stage of the Dockerfile; None for its last."""
    version: str | None = None
    """Tag that a manifest names; None for a tag by content."""

    @property
    def dockerfile(self) -> Path:
        """Return the file with the steps."""
        return self.context / "Dockerfile"

    def tag(self) -> str:
        """Return the image's tag: its version, or a hash of all that the build reads."""
        if self.version:
            return self.version
        digest = hashlib.sha256()
        for file in self._files():
            digest.update(
                f"{file.relative_to(self.context)} {hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode()
            )
        return digest.hexdigest()[:12]

    def reference(self, registry: str = LOCAL) -> str:
        """Return the image's full name in a registry."""
        return f"{registry}/{self.name}:{self.tag()}"

    def _files(self) -> list[Path]:
        found: set[Path] = set()
        for each in (self.context / name for name in ("Dockerfile", *self.inputs)):
            found.update(each.rglob("*") if each.is_dir() else [each])
        return sorted(file for file in found if file.is_file() and "__pycache__" not in file.parts)


def _program(name: str, folder: str) -> Recipe:
    """Return the recipe of one of the project's own images: a stage of its Dockerfile."""
    locks = ("requirements/build.txt", f"requirements/{name}.txt")
    return Recipe(f"assistant-{name}", ROOT, ("pyproject.toml", "README.md", *locks, folder), target=name)


def _server(name: str, *inputs: str) -> Recipe:
    """Return the recipe of a server's image, built from packages in place of the vendor's."""
    return Recipe(name, OWN_IMAGES / name, inputs)


OPERATOR = _program("operator", "operator")
RUNTIME = _program("runtime", "assistant_runtime")
UI = _program("ui", "assistant_runtime")
MODEL_SERVER = Recipe("model-server", OWN_IMAGES / "model-server", ("requirements.txt", "serve.py"), version="0.1.0")
REDIS = Recipe("redis", OWN_IMAGES / "redis", (), version="7.0.15")
MONGODB = _server("mongodb", "requirements.txt", "entrypoint.py", "mongosh.py")
MILVUS = _server("milvus", "requirements.txt", "entrypoint.py")
SEARXNG = _server("searxng", "requirements.txt")
POSTGRESQL = _server("postgresql", "entrypoint.sh")
RERANKER = _server("reranker", "requirements.txt", "serve.py")
FIRECRAWL = _server("firecrawl", "requirements.txt", "program")
MILVUS_LITE = _server("milvus-lite", "requirements.txt", "entrypoint.py")

SERVERS = (REDIS, MONGODB, MILVUS, SEARXNG, POSTGRESQL, RERANKER, FIRECRAWL)
"""By the names of their blocks in an AIAssistant and of their images in the chart."""

OTHERS = (MILVUS_LITE,)
"""Servers that only an AIAssistant's own `image` names."""


def known_to_the_chart() -> list[Recipe]:
    """Return the servers for which the chart has a default image of that name."""
    known = yaml.safe_load((CHART / "values.yaml").read_text())["defaultImages"]
    return [recipe for recipe in SERVERS if recipe.name in known]


def on_by_default() -> list[Recipe]:
    """Return the servers that an AIAssistant has unless it says otherwise."""
    definition = yaml.safe_load((CHART / "files" / "crd.yaml").read_text())
    schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    blocks = {name: block.get("properties", {}) for name, block in schema["properties"].items()}
    return [recipe for recipe in SERVERS if blocks.get(recipe.name, {}).get("enabled", {}).get("default")]


@dataclass(frozen=True)
class References:
    """Full names of the images that the demo runs."""

    operator: str
    runtime: str
    model_server: str
    servers: Mapping[str, str] = field(default_factory=dict)
    """By name in the chart's `defaultImages`; without those whose own vendor's image is pulled."""
