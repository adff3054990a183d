"""An image's tag follows its content: the same sources give the same tag, any change of what is built another one."""

from pathlib import Path

import pytest

from devcluster.demo.recipes import (
    LOCAL,
    MODEL_SERVER,
    OPERATOR,
    OTHERS,
    REDIS,
    ROOT,
    RUNTIME,
    SERVERS,
    UI,
    Recipe,
    known_to_the_chart,
    on_by_default,
)


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY source /\n")
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "main.py").write_text("print()\n")
    (tmp_path / "README").write_text("not built in\n")
    return Recipe("program", tmp_path, ("source",))


@pytest.mark.parametrize("changed", ["Dockerfile", "source/main.py", "source/new.py"])
def test_a_change_of_what_is_built_changes_the_tag(changed: str, recipe: Recipe) -> None:
    before = recipe.tag()
    (recipe.context / changed).write_text("something else\n")
    assert recipe.tag() != before


@pytest.mark.parametrize("changed", ["README", "source/__pycache__/main.cpython-311.pyc"])
def test_nothing_else_does(changed: str, recipe: Recipe) -> None:
    before = recipe.tag()
    (recipe.context / changed).parent.mkdir(exist_ok=True)
    (recipe.context / changed).write_text("something else\n")
    assert recipe.tag() == before


def test_two_files_do_not_pass_for_one_another(recipe: Recipe) -> None:
    before = recipe.tag()
    (recipe.context / "source" / "main.py").rename(recipe.context / "source" / "other.py")
    assert recipe.tag() != before


@pytest.mark.parametrize(
    "recipe", [OPERATOR, RUNTIME, UI, MODEL_SERVER, *SERVERS, *OTHERS], ids=lambda recipe: recipe.name
)
def test_every_input_of_the_demos_images_exists(recipe: Recipe) -> None:
    assert all((recipe.context / each).exists() for each in ("Dockerfile", *recipe.inputs))


def test_what_the_dockerfile_copies_is_what_decides_the_programs_tags() -> None:
    copied = set()
    for line in OPERATOR.dockerfile.read_text().splitlines():
        words = line.split()
        if words[:1] == ["COPY"] and not words[1].startswith("--from"):
            copied.update(words[1:-1])
    assert copied == {*OPERATOR.inputs, *RUNTIME.inputs, *UI.inputs}


def test_the_model_server_sample_names_the_image_that_is_built() -> None:
    manifest = (ROOT / "manifests" / "samples" / "model-server.yaml").read_text()
    assert f"image: {MODEL_SERVER.reference(LOCAL)}\n" in manifest


@pytest.mark.parametrize("recipe", [MODEL_SERVER, *SERVERS, *OTHERS], ids=lambda recipe: recipe.name)
def test_what_the_dockerfile_of_a_server_copies_decides_its_tag(recipe: Recipe) -> None:
    lines = [line.split() for line in recipe.dockerfile.read_text().splitlines()]
    copied = {words[-2] for words in lines if words[:1] == ["COPY"] and not words[1].startswith("--from")}
    assert copied == set(recipe.inputs)


def test_the_servers_that_an_assistant_has_by_default_have_an_image() -> None:
    assert REDIS in on_by_default()
    assert set(on_by_default()) <= set(known_to_the_chart())
