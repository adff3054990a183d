"""Children of the runtime: started again when they end, and never left behind."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from assistant_runtime import children
from assistant_runtime.children import ChildProcess, without_secrets
from tests.support.runtime import eventually

CHILD = """
import os, pathlib, signal, sys
from assistant_runtime.children import end_with_parent
end_with_parent()
pathlib.Path(sys.argv[1], str(os.getpid())).touch()
signal.pause()
"""

STUBBORN = """
import os, pathlib, signal, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
pathlib.Path(sys.argv[1], str(os.getpid())).touch()
while True:
    signal.pause()
"""

PARENT = """
import asyncio, sys
from assistant_runtime.children import ChildProcess
asyncio.run(ChildProcess("c", [sys.executable, "-c", sys.argv[1], sys.argv[2]]).run())
"""


def child(program: str, folder: Path) -> ChildProcess:
    return ChildProcess("child", [sys.executable, "-c", program, str(folder)])


def pids(folder: Path) -> set[int]:
    return {int(file.name) for file in folder.iterdir()}


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_what_a_terminal_interrupts_is_the_parent_alone(tmp_path: Path) -> None:
    task = asyncio.create_task(child(CHILD, tmp_path).run())
    (pid,) = await eventually(lambda: pids(tmp_path))
    assert os.getpgid(pid) != os.getpgid(0)
    await cancel(task)
    assert not alive(pid)


async def test_a_child_that_ends_is_started_again(tmp_path: Path) -> None:
    task = asyncio.create_task(child(CHILD, tmp_path).run())
    await eventually(lambda: len(pids(tmp_path)) == 1)
    os.kill(pids(tmp_path).pop(), signal.SIGKILL)
    await eventually(lambda: len(pids(tmp_path)) == 2)
    await cancel(task)
    assert not any(alive(pid) for pid in pids(tmp_path))


async def test_a_child_that_ignores_the_signal_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "STOP_SECONDS", 0.1)
    task = asyncio.create_task(child(STUBBORN, tmp_path).run())
    await eventually(lambda: len(pids(tmp_path)) == 1)
    await cancel(task)
    assert not alive(pids(tmp_path).pop())


async def test_a_child_is_killed_where_its_end_is_cancelled_too(tmp_path: Path) -> None:
    task = asyncio.create_task(child(STUBBORN, tmp_path).run())
    (pid,) = await eventually(lambda: pids(tmp_path))
    task.cancel()
    await asyncio.sleep(0.1)
    assert alive(pid)
    await cancel(task)
    assert not alive(pid)


async def test_a_child_goes_when_its_parent_is_killed(tmp_path: Path) -> None:
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", PARENT, CHILD, str(tmp_path))
    try:
        await eventually(lambda: len(pids(tmp_path)) == 1)
    finally:
        parent.kill()
        await parent.wait()
    await eventually(lambda: not alive(pids(tmp_path).pop()))


HIDING = """
import ctypes, os, sys
from assistant_runtime.children import PR_SET_DUMPABLE, hide_from_children

def child_reads():
    pid = os.fork()
    if not pid:
        try:
            open(f"/proc/{os.getppid()}/environ", "rb").read()
        except PermissionError:
            os._exit(1)
        os._exit(0)
    return os.waitpid(pid, 0)[1] == 0

if os.getuid() == 0:  # whom nothing is hidden from
    os.setuid(65534)
    ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)
before = child_reads()
hide_from_children()
print(before, child_reads())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="Linux's prctl")
async def test_a_child_cant_read_its_parents_environment() -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", HIDING, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    assert output.split() == [b"True", b"False"]


def test_a_child_that_reads_what_clients_send_gets_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "of the runtime")
    assert "SECRET_KEY" not in without_secrets()
    assert "PATH" in without_secrets()
