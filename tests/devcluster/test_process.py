"""A signal reaches the process that was started, and never another one that has its number now."""

import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from devcluster.process import Process, is_alive, kill, only_child, parse_stat, recorded, spawn
from tests.devcluster.support import eventually


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[Process]:
    process = spawn(["sleep", "600"], pidfile=tmp_path / "pid", log=tmp_path / "log")
    yield process
    kill(process)


def test_fields_are_found_behind_a_name_with_blanks_and_brackets() -> None:
    stat = "4242 (a) R (b)) S " + " ".join(str(number) for number in range(4, 53))
    assert parse_stat(stat) == (Process(pid=4242, start_ticks=22), "S")


def test_a_spawned_program_is_on_record_and_in_a_session_of_its_own(sleeper: Process, tmp_path: Path) -> None:
    assert recorded(tmp_path / "pid") == sleeper
    assert is_alive(sleeper)
    assert os.getsid(sleeper.pid) == sleeper.pid != os.getsid(0)


def test_what_a_program_writes_is_in_its_log(tmp_path: Path) -> None:
    process = spawn(["sh", "-c", "echo out; echo err >&2"], pidfile=tmp_path / "pid", log=tmp_path / "log")
    eventually(lambda: not is_alive(process), "its end")
    assert (tmp_path / "log").read_text() == "out\nerr\n"


def test_the_environment_is_the_given_one_only(tmp_path: Path) -> None:
    log = tmp_path / "log"
    argv = ["sh", "-c", "env; exec sleep 600"]
    process = spawn(argv, pidfile=tmp_path / "pid", log=log, env={"PATH": os.environ["PATH"], "A": "b"})
    environment = Path(f"/proc/{process.pid}/environ").read_text()
    kill(process)
    assert {line.split("=")[0] for line in environment.strip("\0").split("\0")} <= {"PATH", "A", "PWD"}


def test_a_killed_process_has_gone_when_kill_returns(sleeper: Process) -> None:
    assert kill(sleeper)
    assert not is_alive(sleeper)


def test_a_process_with_the_same_number_but_another_start_is_not_hit(sleeper: Process) -> None:
    earlier = replace(sleeper, start_ticks=sleeper.start_ticks - 1)
    assert not is_alive(earlier)
    assert kill(earlier)
    assert is_alive(sleeper)


def test_killing_what_has_gone_is_no_error(sleeper: Process) -> None:
    assert kill(sleeper)
    assert kill(sleeper)


def test_a_process_that_waits_to_be_reaped_is_not_alive() -> None:
    with subprocess.Popen(["true"]) as child:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        zombie, state = parse_stat(Path(f"/proc/{child.pid}/stat").read_text())
        assert state == "Z"
        assert not is_alive(zombie)


def test_an_incomplete_record_is_no_record(tmp_path: Path) -> None:
    pidfile = tmp_path / "pid"
    assert recorded(pidfile) is None
    pidfile.write_text("42 (sle")
    assert recorded(pidfile) is None


def test_the_child_of_a_holder_is_found(tmp_path: Path) -> None:
    holder = spawn(["sh", "-c", "sleep 600; :"], pidfile=tmp_path / "pid", log=tmp_path / "log")

    def sleeping() -> Process | None:
        # For a moment its child may still be the one that puts it on record.
        child = only_child(holder)
        name = Path(f"/proc/{child.pid}/comm") if child else None
        return child if name and name.exists() and "sleep" in name.read_text() else None

    child = eventually(sleeping, "the child")
    assert is_alive(child)
    assert kill(child)
    assert kill(holder)
    assert only_child(holder) is None
