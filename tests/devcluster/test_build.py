"""Binaries are built again when, and only when, what they are made from has changed."""

import os
from pathlib import Path

import pytest

from devcluster import build, state
from devcluster.errors import DevclusterError
from devcluster.toolchain import Toolchain

GO = "go1.26.6"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "go"
    (folder / "pause").mkdir(parents=True)
    (folder / "go.mod").write_text("module m\n\ngo 1.25.0\n\nrequire (\n\tk8s.io/kubernetes v1.35.4\n)\n")
    (folder / "go.sum").write_text("sum\n")
    (folder / "main.go").write_text("package main\n")
    (folder / "pause" / "main.go").write_text("package main\n")
    return folder


@pytest.mark.parametrize("file", ["go.mod", "go.sum", "main.go", "pause/main.go", "new.go"])
def test_the_key_changes_with_each_input(source: Path, file: str) -> None:
    before = build.cache_key(source, GO)
    with (source / file).open("a") as handle:
        handle.write("// changed\n")
    assert build.cache_key(source, GO) != before


def test_the_key_changes_with_the_version_of_go(source: Path) -> None:
    assert build.cache_key(source, GO) != build.cache_key(source, "go1.27.0")


def test_the_key_ignores_what_is_not_compiled(source: Path) -> None:
    before = build.cache_key(source, GO)
    (source / "README.md").write_text("text")
    assert build.cache_key(source, GO) == before


def test_the_key_does_not_depend_on_where_the_sources_are(source: Path, tmp_path: Path) -> None:
    before = build.cache_key(source, GO)
    assert build.cache_key(source.rename(tmp_path / "elsewhere"), GO) == before


def test_a_build_that_fails_leaves_nothing_and_shows_what_go_said(tmp_path: Path) -> None:
    go = tmp_path / "go"
    go.write_text("#!/bin/sh\necho no such package >&2\nexit 1\n")
    go.chmod(0o755)
    folder = tmp_path / "bin" / "key"
    with pytest.raises(DevclusterError, match="no such package"):
        build._build(Toolchain(go, GO), folder)
    assert list(folder.parent.iterdir()) == []


def test_every_program_of_the_multi_call_binary_is_linked_by_its_name() -> None:
    declared = (build.SOURCE / "main.go").read_text()
    assert all(f'"{program}":' in declared for program in build.PROGRAMS)


def test_programs_report_the_version_that_is_required_and_helm_renders_for_it(source: Path) -> None:
    assert build.kubernetes_version(source) == "v1.35.4"
    flags = build._linker_flags(source)
    assert "-X k8s.io/component-base/version.gitVersion=v1.35.4 " in flags
    assert "-X helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor=35 " in flags


def test_the_required_version_has_a_checksum() -> None:
    assert f"k8s.io/kubernetes {build.kubernetes_version()} h1:" in (build.SOURCE / "go.sum").read_text()


def test_binaries_go_when_no_cluster_runs_on_them_and_they_are_a_day_old(cache: Path) -> None:
    current, used, young, old = (cache / "bin" / name for name in ("current", "used", "young", "old"))
    for folder in (current, used, young, old):
        folder.mkdir(parents=True)
    for folder in (current, used, old):
        os.utime(folder, (0, 0))
    state.files("dev").make()
    state.write(state.Record("dev", state.boot_id(), str(used), "", (), None))
    build._remove_unused(current)
    assert {folder.name for folder in current.parent.iterdir()} == {"current", "used", "young"}
