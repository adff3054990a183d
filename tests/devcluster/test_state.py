"""A cluster is on record before anything is started, and a damaged record is none."""

from pathlib import Path

import pytest

from devcluster import cgroups, cluster, state, teardown
from devcluster.cli import main
from devcluster.errors import DevclusterError
from devcluster.state import Record

RECORD = Record(
    name="dev",
    boot="boot",
    binaries="/bin",
    server="https://127.0.0.1:1",
    nodes=("node-0", "node-1"),
    block=3,
    owner="run-7",
)


def test_a_record_is_read_as_it_was_written(cache: Path) -> None:
    state.files("dev").make()
    state.write(RECORD)
    assert state.read("dev") == RECORD
    assert state.names() == ["dev"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"name": "dev"}', '{"nodes": [], "unknown": 1}'])
def test_a_damaged_record_is_none(cache: Path, text: str) -> None:
    state.files("dev").make()
    state.files("dev").record.write_text(text)
    assert state.read("dev") is None


def test_only_the_owner_can_read_keys_and_kubeconfigs(cache: Path) -> None:
    files = state.files("dev")
    files.make()
    assert files.folder.stat().st_mode & 0o077 == 0


def test_a_cluster_of_an_earlier_boot_is_not_up_and_is_removed_without_any_signal(cache: Path) -> None:
    files = state.files("dev")
    files.make()
    state.write(RECORD)
    # The number belongs to this very test now.
    files.pidfile("etcd").write_text(Path("/proc/self/stat").read_text())
    assert cluster.get("dev") is None
    teardown.remove("dev")
    assert not files.folder.exists()


def test_what_is_no_cluster_can_be_taken_down_twice(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["down", "nothing"]) == 0
    assert main(["down", "nothing"]) == 0
    assert "no cluster nothing" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["", "Dev", "-a", "a-", "a/b", "a" * 21])
def test_a_name_that_can_not_be_part_of_paths_is_refused(cache: Path, name: str) -> None:
    with pytest.raises(DevclusterError, match="no name for a cluster"):
        cluster.up(name, control_plane_only=True)


@pytest.mark.parametrize("nodes", [0, 9, -1])
def test_a_number_of_nodes_that_has_no_addresses_is_refused(cache: Path, nodes: int) -> None:
    with pytest.raises(DevclusterError, match="1 to 8 nodes"):
        cluster.up("dev", nodes=nodes)


def test_nodes_without_root_are_refused_with_what_works(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(DevclusterError, match="--control-plane-only"):
        cluster.up("dev")


def test_commands_on_a_cluster_that_is_not_up_say_how_to_start_it(
    cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["kubeconfig", "dev"]) == 1
    assert "python -m devcluster up dev" in capsys.readouterr().err


def test_a_run_finds_its_own_clusters(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, owner in (("a", "run-7"), ("b", "run-8")):
        files = state.files(name)
        files.make()
        state.write(Record(name, state.boot_id(), "/bin", "", (), None, owner))
    assert main(["down", "--owner", "run-7"]) == 0
    assert state.names() == ["b"]


def test_every_hierarchy_of_this_machine_is_a_folder() -> None:
    assert all(root.is_dir() for root in cgroups.hierarchies())
    assert cgroups.path(3, "node-0") == "/devcluster/3/node-0"
