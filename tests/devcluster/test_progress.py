"""A log is told that a long step still runs."""

import pytest

from devcluster import progress
from tests.devcluster.support import eventually


def test_a_log_is_told_that_a_step_still_runs_and_when_it_ended(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "LOG_INTERVAL_SECONDS", 0.01)
    written = ""

    def is_told() -> bool:
        nonlocal written
        written += capsys.readouterr().err
        return "s so far)" in written

    with progress.Terminal().step("Building"):
        eventually(is_told, "a line")
    written += capsys.readouterr().err
    assert written.startswith("... Building\n")
    assert "\nok  Building (" in written
