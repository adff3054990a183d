"""What the programs' images hold."""

from pathlib import Path

import pytest

from devcluster import images
from devcluster.demo.recipes import OPERATOR, RUNTIME, UI, Recipe
from devcluster.paths import lock

pytestmark = pytest.mark.e2e

WITHOUT_BYTECODE = r"""
import importlib, importlib.util, os, sys

for name in sys.argv[1:]:
    importlib.import_module(name)
sources = {getattr(module, "__file__", None) or "" for module in list(sys.modules.values())} - {__file__}
wanted = (importlib.util.cache_from_source(source) for source in sources if source.endswith(".py"))
missing = sorted(path for path in wanted if not os.path.exists(path))
sys.exit("\n".join(["without bytecode:", *missing]) if missing else 0)
"""
"""Imports modules, and tells which of all that this loads have no bytecode."""

LATER = (
    "assistant_runtime.stores.mongodb",
    "assistant_runtime.stores.redis_client",
    "assistant_runtime.stores.sql",
    "aiosqlite",
    "asyncpg",
    "mcp.client.streamable_http",
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "pymilvus",
    "pypdf",
)
"""What the runtime imports when it is first used."""


def build(tag: str, dockerfile: Path, context: Path, *options: str) -> str:
    """Build an image that no node needs, and give its tag."""
    with lock(images.BUILD_LOCK):
        images._build(["--tag", tag, "--file", str(dockerfile), *options], context)
    return tag


def assert_bytecode(image: str, folder: Path, *modules: str) -> None:
    """Import modules as an image's Python does, without writing."""
    (folder / "check.py").write_text(WITHOUT_BYTECODE)
    command = ["python3", "-B", "/tmp/check.py", *modules]
    steps = [f"FROM {image}", "COPY check.py /tmp/", "USER 0", f"RUN {' '.join(command)}"]
    (folder / "Dockerfile").write_text("\n".join(steps) + "\n")
    build("localhost/devcluster-test:bytecode", folder / "Dockerfile", folder)


@pytest.mark.parametrize(
    ("recipe", "modules"),
    [
        (OPERATOR, ("assistant_operator.cli", "assistant_operator.engine.process")),
        (RUNTIME, ("assistant_runtime.cli", "assistant_runtime.server", *LATER)),
        (UI, ("assistant_runtime.cli", "assistant_runtime.ui.server")),
    ],
    ids=lambda it: it.name if isinstance(it, Recipe) else "",
)
def test_an_image_has_the_bytecode_of_all_that_its_program_imports(
    recipe: Recipe, modules: tuple[str, ...], tmp_path: Path
) -> None:
    images.build(recipe.reference(), recipe.dockerfile, recipe.context, target=recipe.target)
    assert_bytecode(recipe.reference(), tmp_path, *modules)


def test_a_base_whose_python_has_no_bytecode_gets_it(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(
        f"FROM {images.base()}\nRUN find /usr/lib/python3* -name __pycache__ -prune -exec rm -r {{}} +\n"
    )
    bare = build("localhost/devcluster-test:bare", tmp_path / "Dockerfile", tmp_path)
    options = ("--target=final", f"--build-arg={images.BASE_ARGUMENT}={bare}")
    final = build("localhost/devcluster-test:final", RUNTIME.dockerfile, RUNTIME.context, *options)
    assert_bytecode(final, tmp_path, "asyncio", "email.headerregistry", "http.server", "sqlite3", "xml.dom.minidom")
