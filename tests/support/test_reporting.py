"""A run that could not try real pods is no green run, unless that was said to be known."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import cast

import pytest

from tests.support import reporting


@pytest.fixture(autouse=True)
def fresh_answer() -> Iterator[None]:
    reporting.reason_to_skip.cache_clear()
    yield
    reporting.reason_to_skip.cache_clear()


def run_of(*markers: str) -> pytest.Session:
    """Return a run in which a test with each of these markers was skipped."""
    skipped = [SimpleNamespace(keywords={marker: 1}) for marker in markers]
    reporter = SimpleNamespace(stats={"skipped": skipped})
    config = SimpleNamespace(pluginmanager=SimpleNamespace(get_plugin=lambda name: reporter))
    return cast("pytest.Session", SimpleNamespace(config=config, exitstatus=pytest.ExitCode.OK))


@pytest.mark.parametrize(
    ("user", "setting", "markers", "status"),
    [
        (1000, "", ["e2e"], pytest.ExitCode.TESTS_FAILED),
        (1000, "off", ["e2e"], pytest.ExitCode.OK),
        (1000, "", ["cluster"], pytest.ExitCode.OK),
    ],
)
def test_a_run_without_its_end_to_end_tests_fails_unless_told(
    user: int, setting: str, markers: list[str], status: pytest.ExitCode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: user)
    monkeypatch.setenv("E2E", setting)
    session = run_of(*markers)
    reporting.pytest_sessionfinish(session)
    assert session.exitstatus == status


def test_the_reason_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("E2E", raising=False)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    reason = reporting.reason_to_skip()
    assert reason is not None
    assert "root" in reason
    assert "E2E=off" in reason
