"""A cluster is on record before anything is started, and a damaged record is none."""

from pathlib import Path

import pytest

from devcluster import blocks, cgroups, cluster, paths, state, teardown
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


@pytest.mark.parametrize("name", ["", "..", ".", "a/../b"])
def test_down_removes_nothing_that_is_no_cluster(cache: Path, name: str) -> None:
    state.files("dev").make()
    beside = cache / "images"
    beside.mkdir()
    assert main(["down", name]) == 1
    assert beside.exists()
    assert state.names() == ["dev"]


def test_a_folder_of_another_name_is_not_taken_for_a_cluster(cache: Path) -> None:
    state.files("dev").make()
    (cache / "clusters" / "lost+found").mkdir()
    assert state.names() == ["dev"]


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


def test_the_hierarchies_of_this_machine_are_found() -> None:
    roots = cgroups.hierarchies()
    assert roots
    assert all((root / "cgroup.procs").exists() for root in roots)


def test_a_controller_that_is_not_handed_down_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroups, "hierarchies", lambda: [tmp_path])
    monkeypatch.setattr("devcluster.paths.MACHINE_LOCK", tmp_path / "lock")
    cgroup = cgroups.path(3, "node-0")
    inside = tmp_path / cgroup.lstrip("/")
    inside.mkdir(parents=True)
    (tmp_path / "cgroup.controllers").write_text("cpu memory\n")
    (inside / "cgroup.controllers").write_text("cpu\n")
    with pytest.raises(DevclusterError, match="no controller memory:"):
        cgroups.make(cgroup)
    (inside / "cgroup.controllers").write_text("cpu memory pids\n")
    cgroups.make(cgroup)


def test_a_block_is_one_clusters_until_it_is_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "RUN_DIR", tmp_path / "run")
    monkeypatch.setattr("devcluster.paths.MACHINE_LOCK", tmp_path / "lock")
    first, second = blocks.take(tmp_path / "a"), blocks.take(tmp_path / "b")
    assert first != second
    assert blocks.held_by(tmp_path / "b") == [second]
    blocks.release(first)
    assert blocks.held_by(tmp_path / "a") == []
    blocks.release(second)
    assert not (tmp_path / "run").exists()


def test_a_lock_in_a_cache_of_another_user_is_refused_with_what_to_do(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(file: Path, *_: object) -> None:
        raise PermissionError(13, "Permission denied", str(file))

    # Root, who runs these tests in places, may open everything.
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DevclusterError, match=r"locks/x belongs to another user.*DEVCLUSTER_CACHE"), paths.lock("x"):
        pytest.fail("the lock was given")


def test_a_relative_general_cache_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DEVCLUSTER_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "cache")
    assert paths.cache_dir() == Path.home() / ".cache" / "ai-assistant-devcluster"
