"""Tests that need real pods run or are missed: they never disappear silently. And a summary of what ran.

Where containers can't run, end-to-end tests are skipped and the run fails, because a green run means that everything
was tried. E2E=off says that this is known, and turns that failure off.
"""

import functools
import os
import subprocess
from collections import defaultdict

import pytest

MARKER = "e2e"


@functools.cache
def reason_to_skip() -> str | None:
    """Say why no pod can run here, or None when it can."""
    if os.environ.get("E2E") == "off":
        return "E2E=off"
    if os.geteuid() != 0:
        return "real pods need root: run this as root, or set E2E=off to go without these tests"
    probe = subprocess.run(["unshare", "--net", "--mount", "true"], capture_output=True, text=True, check=False)
    if probe.returncode != 0:
        return f"no namespaces can be made here ({probe.stderr.strip()}): set E2E=off to go without these tests"
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what can't run, cheaply: before any fixture."""
    wanting = [item for item in items if item.get_closest_marker(MARKER)]
    if wanting and (reason := reason_to_skip()):
        for item in wanting:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run that missed end-to-end tests without being told to."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped: list[pytest.TestReport] = reporter.stats.get("skipped", []) if reporter else []
    unknown = any(MARKER in report.keywords for report in skipped) and reason_to_skip() not in (None, "E2E=off")
    if unknown and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print, for each folder of tests, how many ran and for how long; pytest's own counts follow as the last line."""
    outcomes: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    seconds: dict[str, float] = defaultdict(float)
    for outcome in ("passed", "failed", "error", "skipped"):
        for report in terminalreporter.stats.get(outcome, []):
            outcomes[_folder(report.nodeid)][outcome] += 1
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                seconds[_folder(report.nodeid)] += report.duration
    if len(outcomes) > 1:
        terminalreporter.section("by folder")
        for folder, counts in sorted(outcomes.items()):
            listed = ", ".join(f"{count} {outcome}" for outcome, count in counts.items())
            terminalreporter.line(f"{folder:24} {seconds[folder]:7.1f} s  {listed}")


def _folder(node: str) -> str:
    return "/".join(node.split("::", maxsplit=1)[0].split("/")[:2])
