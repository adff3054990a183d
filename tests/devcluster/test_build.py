"""What a cluster's programs are built from, and what they say of themselves."""

from pathlib import Path

from devcluster import build


def test_every_program_of_the_multi_call_binary_is_linked_by_its_name(tmp_path: Path) -> None:
    declared = (build.SOURCE / "main.go").read_text()
    assert all(f'"{program}":' in declared for program in build.PROGRAMS)
    build._link_programs(tmp_path, lambda *_: "")
    assert {each.name: str(each.readlink()) for each in tmp_path.iterdir()} == dict.fromkeys(
        build.PROGRAMS, build.MULTI_CALL
    )


def test_programs_report_the_version_that_is_required_and_helm_renders_for_it(tmp_path: Path) -> None:
    (tmp_path / "go.mod").write_text("module m\n\ngo 1.25.0\n\nrequire (\n\tk8s.io/kubernetes v1.35.4\n)\n")
    assert build.kubernetes_version(tmp_path) == "v1.35.4"
    flags = build.module(tmp_path).linker_flags
    assert "-X k8s.io/component-base/version.gitVersion=v1.35.4 " in flags
    assert "-X helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor=35 " in flags


def test_the_required_version_has_a_checksum() -> None:
    assert f"k8s.io/kubernetes {build.kubernetes_version()} h1:" in (build.SOURCE / "go.sum").read_text()
