"""Runs that go on at once keep out of each other's way, and the groups of tests are those that are there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import scheduling
from tests.support.apart import own_number

ROOT = Path(__file__).parents[2]


def test_every_module_and_group_that_is_named_is_there() -> None:
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "tests").rglob("test_*.py")}
    folders = {module.rpartition("/")[0] for module in modules}
    assert set(scheduling.TOGETHER) <= modules | folders
    assert set(scheduling.LONGEST_FIRST) <= {scheduling.group_of(module) for module in modules}


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        ("tests/cluster/test_jobs.py::test_a", "tests/cluster/test_health.py::test_b", True),
        ("tests/e2e/test_backends.py::test_a", "tests/e2e/test_assistant.py::test_b", False),
        ("tests/runtime/test_keys.py::test_a[x::y]", "tests/runtime/test_keys.py::test_b", True),
        ("tests/runtime/test_keys.py::test_a", "tests/runtime/test_chat.py::test_b", False),
    ],
)
def test_what_shares_servers_stays_with_one_worker(one: str, other: str, together: bool) -> None:
    assert (scheduling.group_of(one) == scheduling.group_of(other)) is together


HOLD = """
import sys
from tests.support.apart import own_number
with own_number(sys.argv[1], 2) as number:
    print(number, flush=True)
    input()
"""


def test_a_number_is_one_processs_until_that_is_killed() -> None:
    of = f"test-{os.getpid()}"
    command = [sys.executable, "-c", HOLD, of]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "0\n"
        with own_number(of, 2) as number:
            assert number == 1
        with pytest.raises(RuntimeError, match=f"1 processes of tests have all {of}"), own_number(of, 1):
            pytest.fail("it was given twice")
        other.kill()
    with own_number(of, 2) as number:
        assert number == 0
