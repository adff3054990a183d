"""Binaries are built again when, and only when, what they are made from has changed."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from devcluster import gomodule, state
from devcluster.errors import DevclusterError
from devcluster.gomodule import Go, GoModule
from devcluster.toolchain import Toolchain

GO = "go1.26.6"


@pytest.fixture
def module(tmp_path: Path) -> GoModule:
    folder = tmp_path / "go"
    (folder / "pause").mkdir(parents=True)
    (folder / "go.mod").write_text("module m\n\ngo 1.25.0\n\nrequire (\n\texample.com/n v1.35.4 // indirect\n)\n")
    (folder / "go.sum").write_text("sum\n")
    (folder / "main.go").write_text("package main\n")
    (folder / "pause" / "main.go").write_text("package main\n")
    return GoModule("programs", folder, (".", "./pause"), "bin")


@pytest.mark.parametrize("file", ["go.mod", "go.sum", "main.go", "pause/main.go", "new.go"])
def test_the_key_changes_with_each_input(module: GoModule, file: str) -> None:
    before = module.cache_key(GO)
    with (module.source / file).open("a") as handle:
        handle.write("// changed\n")
    assert module.cache_key(GO) != before


@pytest.mark.parametrize("change", [{"packages": (".",)}, {"linker_flags": "-s"}])
def test_the_key_changes_with_what_is_asked_of_the_build(module: GoModule, change: dict[str, Any]) -> None:
    assert replace(module, **change).cache_key(GO) != module.cache_key(GO)


def test_the_key_changes_with_the_version_of_go(module: GoModule) -> None:
    assert module.cache_key(GO) != module.cache_key("go1.27.0")


def test_the_key_ignores_what_is_not_compiled(module: GoModule) -> None:
    before = module.cache_key(GO)
    (module.source / "README.md").write_text("text")
    assert module.cache_key(GO) == before


def test_the_key_does_not_depend_on_where_the_sources_are(module: GoModule, tmp_path: Path) -> None:
    before = module.cache_key(GO)
    moved = replace(module, source=module.source.rename(tmp_path / "elsewhere"))
    assert moved.cache_key(GO) == before


def test_versions_are_read_from_the_module(module: GoModule) -> None:
    assert module.minimum == "1.25.0"
    assert gomodule.required(module.source, "example.com/n") == "v1.35.4"
    with pytest.raises(DevclusterError, match="has no line like"):
        gomodule.required(module.source, "example.com/other")


def _complete(_: Path, run: Callable[..., str]) -> None:
    run("complete")


@pytest.mark.parametrize("fails", ["build", "complete"])
def test_a_build_that_fails_leaves_nothing_and_shows_what_go_said(module: GoModule, tmp_path: Path, fails: str) -> None:
    go = tmp_path / "program"
    go.write_text(f'#!/bin/sh\n[ "$1" != {fails} ] || {{ echo no such package >&2; exit 1; }}\n')
    go.chmod(0o755)
    folder = tmp_path / "bin" / "key"
    failing = replace(module, complete=_complete)
    with pytest.raises(DevclusterError, match="no such package"):
        gomodule._build(failing, Toolchain(go, GO), folder)
    assert list(folder.parent.iterdir()) == []


def test_a_build_appears_with_what_belongs_beside_the_programs(module: GoModule, tmp_path: Path) -> None:
    go = tmp_path / "program"
    go.write_text("#!/bin/sh\necho said\n")
    go.chmod(0o755)

    def complete(folder: Path, run: Go) -> None:
        (folder / "beside").write_text(run("list"))

    gomodule._build(replace(module, complete=complete), Toolchain(go, GO), tmp_path / "bin" / "key")
    assert (tmp_path / "bin" / "key" / "beside").read_text() == "said\n"


def test_binaries_go_when_no_cluster_runs_on_them_and_they_are_a_day_old(cache: Path) -> None:
    current, used, young, old = (cache / "bin" / name for name in ("current", "used", "young", "old"))
    for folder in (current, used, young, old):
        folder.mkdir(parents=True)
    for folder in (current, used, old):
        os.utime(folder, (0, 0))
    state.files("dev").make()
    state.write(state.Record("dev", state.boot_id(), str(used), "", (), None))
    gomodule._remove_unused(current)
    assert {folder.name for folder in current.parent.iterdir()} == {"current", "used", "young"}
