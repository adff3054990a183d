"""What the demo shows: every step with its time, in a log as plain lines and on a terminal as a list."""

import io
import re

import pytest
from rich.console import Console

from devcluster.demo.checklist import Checklist


def printed(output: io.StringIO) -> str:
    return re.sub(r"\d+\.\d s", "N s", output.getvalue())


@pytest.fixture
def output() -> io.StringIO:
    return io.StringIO()


def test_a_log_gets_a_line_when_a_step_begins_and_one_when_it_ends(output: io.StringIO) -> None:
    with Checklist(Console(file=output)) as checklist, checklist.step("Cluster"):
        checklist.note("already running")
        with checklist.step("Node"):
            pass
    assert printed(output).splitlines() == [
        "... Cluster",
        "    Cluster: already running",
        "  ... Node",
        "  ok  Node (N s)",
        "ok  Cluster (N s)",
    ]


def test_a_step_that_fails_is_shown_as_failed_and_the_error_goes_on(output: io.StringIO) -> None:
    checklist = Checklist(Console(file=output))
    with pytest.raises(OSError, match="disk full"), checklist.step("Image"):
        raise OSError("disk full")
    assert "FAILED Image" in output.getvalue()


def test_a_detail_is_told_once(output: io.StringIO) -> None:
    with Checklist(Console(file=output)) as checklist, checklist.step("Assistant"):
        row = checklist.add("Redis")
        for _ in range(3):
            checklist.describe(row, "0/1 pods are ready.")
        checklist.end(row)
    assert output.getvalue().count("0/1 pods") == 1


def test_a_terminal_gets_a_list_with_marks(output: io.StringIO) -> None:
    with Checklist(Console(file=output, force_terminal=True, width=100)) as checklist:
        checklist.end(checklist.begin("Cluster"))
        checklist.end(checklist.begin("Assistant"), succeeded=False)
    assert re.search(r"✔\S* Cluster", output.getvalue())
    assert re.search(r"✘\S* Assistant", output.getvalue())
